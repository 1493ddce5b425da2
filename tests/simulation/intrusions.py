"""Faults that come from outside: entries nobody can read, and what belongs to another account, login or deployment."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgpack

from services.gateway.core.evidence import BrokerExecution
from shared.messages.control import ControlAction
from shared.messages.orders import Side
from tests.simulation.kernel import NS, World
from tests.simulation.people import People
from tests.simulation.system import ACCOUNT, CON_IDS, DEPLOYMENT_ID, System

OTHER = "DUSIM0002"
KINDS = ("poison", "foreign_intent", "other_login", "two_accounts", "foreign_identity")


class Intrusions:
    """The part of the `Nemesis` that puts in what does not belong there."""

    _system: System
    _people: People
    _world: World
    _note: Callable[[str], None]

    planted: Callable[[int, str, str], None]
    """Told of every unreadable entry: server, stream, entry id."""
    given_back: Callable[[], None]
    """Told when Redis says again that the deployment is ours."""

    # -- entries nobody can read

    def poison(self) -> None:
        """Append an entry that cannot be read to a stream, past every script and lease."""
        rng, node, keys = self._world.rng, self._system.cluster.master, self._system.keys
        if not node.is_up:
            return
        stream = rng.choice(
            (keys.intents, keys.cancels, keys.commands, keys.cancel_commands, keys.orders, keys.fills, keys.account,
             keys.broker_status, keys.control)
        )  # fmt: skip
        kind = rng.choice(("garbage", "newer", "no body", "unknown type", "wrong fields", "no epoch"))
        fields = _unreadable(kind)
        entry_id = node.execute("add_ticks", (stream, fields), {})
        self._note(f"poison {stream} {entry_id} {kind}")
        self.planted(node.number, stream, entry_id)
        if stream == keys.control:  # it could have been a halt, and is taken for one
            self._world.after(self._world.between(1.0, 4.0), self._resume)

    def _resume(self) -> None:
        self._people.control(ControlAction.RESUME)

    # -- another account

    def foreign_intent(self) -> None:
        """Let somebody ask for an order of another account."""
        self._note("foreign_intent")
        self._people.foreign_wanted += 1

    def other_login(self) -> None:
        """Restart TWS with the login of another account, and later again with ours."""
        broker, world = self._system.broker, self._world
        if OTHER in broker.accounts:
            return
        duration = world.between(0.5, 5.0)
        self._note(f"other_login {duration / NS:.2f}s")
        broker.accounts = (OTHER,)
        broker.restart(world.between(0.1, 0.5), roll_back=0)

        def again() -> None:
            if broker.accounts == (OTHER,):
                broker.accounts = (ACCOUNT,)
                broker.restart(world.between(0.1, 0.5), roll_back=0)

        world.after(duration, again)

    def two_accounts(self) -> None:
        """Show executions and positions of a second account of the same login."""
        broker, rng = self._system.broker, self._world.rng
        if ACCOUNT not in broker.accounts:
            return
        broker.accounts = (ACCOUNT, OTHER)
        self._note("two_accounts")
        con_id, side = rng.choice(CON_IDS), rng.choice((Side.BUY, Side.SELL))
        number = len(broker.foreign_executions) + 1
        row = BrokerExecution(
            exec_id=f"0000ffff.{number:08x}.01.01", account=OTHER, con_id=con_id, side=side,
            shares=Decimal(7), price=Decimal(100), ts_ns=self._world.wall_ns(), perm_id=900_000 + number,
            client_id=self._system.options.trading_ids[0], order_id=50_000 + number, order_ref="",
            currency="USD", cumulative_quantity=Decimal(7), average_price=Decimal(100),
        )  # fmt: skip
        broker.tell_of_another(row)

    # -- another deployment

    def foreign_identity(self) -> None:
        """Let Redis say that the deployment is another account's, kill who leads, and take it back later."""
        system, world = self._system, self._world
        node = system.cluster.master
        identity = system.keys.identity
        if not node.is_up or node.is_full or not node.server.hashes.get(identity):
            return
        self._note("foreign_identity")
        self._write_identity("live", "U1234567")
        for name, gateway in system.gateways.items():
            if gateway.trading is not None:
                system.processes[name].crash()
                world.after(NS, lambda name=name: system.start(name))  # type: ignore[misc]
        world.after(world.between(2.0, 6.0), self._restore_identity)

    def _restore_identity(self) -> None:
        self._write_identity("sim", ACCOUNT)

    def _write_identity(self, mode: str, account: str) -> None:
        node, identity = self._system.cluster.master, self._system.keys.identity
        if not node.is_up or node.is_full:
            self._world.after(NS // 5, lambda: self._write_identity(mode, account))
            return
        own = account == ACCOUNT
        values = {"mode": mode, "account": account, "id": DEPLOYMENT_ID if own else f"live:sim:{account}"}
        node.execute("hash_set", (identity, values), {})
        if own:
            self.given_back()

    def _end_intrusions(self) -> None:
        """Give the login and the deployment back."""
        if "foreign_identity" in self._system.options.rates:
            self._restore_identity()
        broker = self._system.broker
        if ACCOUNT not in broker.accounts:
            broker.accounts = (ACCOUNT,)
            broker.restart(NS // 5, roll_back=0)


def _unreadable(kind: str) -> dict[str, bytes]:
    """Return the fields of an entry that nobody can read."""
    body = {
        "garbage": b"\xc1\xff\x00 not msgpack",
        "newer": msgpack.packb({"v": 99}),
        "wrong fields": msgpack.packb({"v": 1, "order_ref": ["x"], "intent_id": {}}),
    }.get(kind, b"\x80")
    fields = {"type": b"order_event", "key": b"", "id": b"", "source": b"stranger", "epoch": b"0", "body": body}
    if kind == "no body":
        del fields["body"]
    elif kind == "unknown type":
        fields["type"] = b"poem"
    elif kind == "no epoch":
        fields["epoch"] = b"many"
    return fields

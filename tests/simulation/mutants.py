"""Break the system on purpose, one safeguard at a time, to prove that the simulation would notice.

Each mutant replaces one seam of the services, of the bus's scripts or of the guard, for one run; production code knows
nothing of them. `make mutants` runs seeds until each is caught and prints how many it took.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import services.gateway.shell.commands as commands_module
import services.gateway.shell.leadership as leadership_module
from services.gateway.core.book import Change, OrderBook
from services.gateway.core.evidence import BrokerOrder
from services.gateway.core.ledger import ClaimedOrder, claim_request, claimed, was_claimed_now
from services.gateway.core.pacing import Lane
from services.gateway.core.takeover import Takeover
from services.gateway.shell.commands import Commands
from services.gateway.shell.handover import reason_of
from services.gateway.shell.identity import Accounts, check_identity
from services.gateway.shell.leadership import Gateway
from services.gateway.shell.trading import Trading
from services.guard.core.gate import Gate
from services.risk.core.legs import Leg
from services.risk.core.readiness import Readiness
from shared.bus.ports import ClaimResult, LeaseToken, LeaseView, LedgerRow
from shared.clock import SYSTEM_CLOCK
from shared.errors import BrokerUnavailable, ConfigError, Fenced, OutcomeUnknown, TransientError
from shared.leases.core import Holder
from shared.messages.orders import OrderEvent, OrderState
from tests.simulation.breaking import MUTANTS, Patches, mutant
from tests.simulation.bus import SimBus
from tests.simulation.kernel import NS
from tests.simulation.mutants_halts import FOCUS_OF_HALTS
from tests.simulation.options import Options, drawn
from tests.simulation.redis_model import NodeBus
from tests.simulation.run import Run

__all__ = ["FOCUS", "MUTANTS", "options_for"]

FOCUS: dict[str, dict[str, float]] = {
    **FOCUS_OF_HALTS,
    "lease_on_the_servers_ttl": {"redis_clock": 0.6, "pause": 0.3},
    "dedupe_by_order_id": {"cut_off": 1.2},
    "fence_after_tail": {"handover_late": 0.225},
    "modify_of_an_order_not_shown": {"wire_reset": 0.9, "wire_half_open": 0.45, "wire_late": 0.45},
    "unit_commit_in_two_steps": {"worker_crash": 0.45},
    "lease_dated_from_the_reply": {"bus_fading": 0.45},
    "guard_that_polls_redis": {"redis_split": 0.3, "pause": 0.3},
    "resend_on_unknown": {"cut_off": 0.75, "broker_silent": 0.45},
    "login_not_checked": {"other_login": 0.45},
    "identity_not_checked": {"foreign_identity": 0.45},
    "unreadable_entries_forgotten": {"poison": 0.75},
    "approvals_go_on_after_an_unreadable_entry": {"poison": 1.2, "broker_silent": 0.6},
    "no_fencing": {"handover_late": 0.45, "bus_late": 0.3},
}
"""Mutants that only certain faults can show: their runs have these instead of drawn ones."""


def options_for(name: str, seed: int) -> Options:
    """Return the run in which a mutant is looked for."""
    options = drawn(seed)
    if name in FOCUS:
        options.rates, options.gateways, options.has_guard = dict(FOCUS[name]), max(2, options.gateways), True
        options.broker["duplicate_on_modify"] = 0.8
        # One of them needs a change on its way at the moment that TWS is cut off.
        options.orders_per_s = 20.0 if name == "dedupe_by_order_id" else 8.0
    options.workers = max(options.workers, name == "unit_commit_in_two_steps")
    return options


@mutant
def no_fencing(_: Run, patches: Patches) -> None:
    """No script looks at lease or fence."""
    patches.put(NodeBus, "_check", lambda self, _token: self._server)


@mutant
def no_incarnation_check(run: Run, patches: Patches) -> None:
    """The server's incarnation never changes, so nothing of before a failover is refused after it."""
    patches.put(run.system.cluster, "shown_life", lambda _life: 1)


@mutant
def lease_dated_from_the_reply(_: Run, patches: Patches) -> None:
    """A holder counts its lease from when the answer came."""
    patches.put(Holder, "__init__", _dated_now(Holder.__init__))
    original = Holder.renewed
    patches.put(Holder, "renewed", lambda self, _sent_ns: original(self, SYSTEM_CLOCK.monotonic_ns()))


def _dated_now(original: Any) -> Any:
    def begin(self: Holder, token: LeaseToken, _sent_ns: int, timing: Any) -> None:
        original(self, token, SYSTEM_CLOCK.monotonic_ns(), timing)

    return begin


@mutant
def lease_on_the_servers_ttl(run: Run, patches: Patches) -> None:
    """The lease is a key that expires on the server's clock; a candidate takes it as soon as it is gone."""
    ttl_ns = int(run.options.lease_ttl_s * NS)
    renewed: dict[tuple[int, str], int] = {}
    original_view, original_renew, original_acquire = NodeBus.lease_view, NodeBus.renew_now, NodeBus.lease_acquire

    def key(bus: NodeBus, role: str) -> tuple[int, str]:
        return id(bus._server), role

    async def lease_view(self: NodeBus, role: str) -> LeaseView:
        view = await original_view(self, role)
        at_ns = renewed.get(key(self, role), 0)
        return replace(view, owner="") if self._server.clock.wall_ns() - at_ns > ttl_ns else view

    def renew_now(self: NodeBus, token: LeaseToken) -> LeaseView:
        view = original_renew(self, token)
        renewed[key(self, token.role)] = self._server.clock.wall_ns()
        return view

    async def lease_acquire(self: NodeBus, role: str, *args: Any, **kwargs: Any) -> LeaseToken | None:
        token = await original_acquire(self, role, *args, **kwargs)
        if token is not None:
            renewed[key(self, role)] = self._server.clock.wall_ns()
        return token

    patches.put(NodeBus, "lease_view", lease_view)
    patches.put(NodeBus, "renew_now", renew_now)
    patches.put(NodeBus, "lease_acquire", lease_acquire)


@mutant
def claim_after_send(_: Run, patches: Patches) -> None:
    """An order is written to the broker first, and claimed when it is out."""

    async def _place(self: Commands, command: Any, entry: Any) -> None:
        legs = len(command.intent.legs)
        await self._make_known(command.intent.con_id)
        await self._wait_for_turn(command, Lane.ORDER, legs)
        async with self.sending:
            trading = self._trading
            request = claim_request(
                command, entry_id=entry.entry_id, deployment_id=self._deployment_id, client_id=trading.client_id,
                order_ids=trading.ids.take(legs), now_ns=SYSTEM_CLOCK.wall_ns(),
            )  # fmt: skip
            rows = [
                LedgerRow(leg, ClaimResult.CLAIMED, trading.client_id, order_id, self._token.epoch, is_new=True)
                for leg, order_id in enumerate(request.order_ids)
            ]
            for event in request.if_claimed:
                self._book.restore(event)
            orders = claimed(command, rows, deployment_id=self._deployment_id)
            self._send(command, orders, is_same=True, is_modify=False)
            answer = await self._claim(request)
            if not was_claimed_now(answer, request, self._token.epoch):
                self._refused(request, answer)

    patches.put(Commands, "_place", _place)


@mutant
def resend_on_unknown(_: Run, patches: Patches) -> None:
    """An order that the broker does not show in time is sent again."""
    original = Trading._doubt_silent

    def _doubt_silent(self: Trading, now_ns: int) -> None:
        before = {track.key for track in self._book.open_tracks() if track.state is OrderState.UNKNOWN}
        original(self, now_ns)
        for track in self._book.open_tracks():
            if track.state is OrderState.UNKNOWN and track.key not in before and self.session is not None:
                again = ClaimedOrder(
                    self.ids.take(1)[0], track.order_ref, track.account, track.con_id, track.side, track.quantity,
                    track.order_type, track.limit_price, track.stop_price, track.tif, outside_rth=False, transmit=True,
                )  # fmt: skip
                with contextlib.suppress(BrokerUnavailable):
                    self.session.place([again], None)

    patches.put(Trading, "_doubt_silent", _doubt_silent)


@mutant
def dedupe_by_order_id(_: Run, patches: Patches) -> None:
    """An order is found by (client id, order id) before its own reference: two of one reference become one."""
    original = OrderBook._find

    def _find(self: OrderBook, order: BrokerOrder, change: Change) -> Any:
        known = self._by_id.get((order.client_id, order.order_id))
        return known if known is not None and order.order_id else original(self, order, change)

    patches.put(OrderBook, "_find", _find)


@mutant
def guard_that_polls_redis(run: Run, patches: Patches) -> None:
    """The guard admits whoever comes, and asks Redis twice a second whom to cut."""
    patches.put(Gate, "_refusal", lambda _self, _claim: None)
    patches.put(Gate, "_cut_lower", lambda _self, _claim: [])

    def poll() -> None:
        system = run.system
        server = system.cluster.master.server
        view = server.leases.get(system.keys.lease("gateway"), LeaseView())
        guard = system.guard
        if guard is not None and guard.process.is_alive and system.cluster.master.is_up:
            for number, claim in list(guard.gate.sessions.items()):
                if claim is not None and claim.epoch < view.epoch:
                    guard.cut(number)
        run.world.after(NS // 2, poll)

    run.world.after(NS // 2, poll)


@mutant
def fence_after_tail(_: Run, patches: Patches) -> None:
    """A new leader reads the streams first and raises its fence then: what comes in between is never read.

    The scripts compare the lease as well, which hides this: from the moment the lease is won nothing of an older epoch
    is taken, with whatever fence. So they look at the fence alone here; with the steps in their order that is enough.
    """

    def check(self: NodeBus, token: LeaseToken) -> Any:
        if self._server.fences.get(self._keys.fence(token.role), 0) != token.epoch:
            raise Fenced("a higher fence stands")
        return self._server

    patches.put(NodeBus, "_check", check)

    async def _lead(self: Gateway, token: LeaseToken, began_ns: int) -> str:
        try:
            await check_identity(self._bus, self._settings)
            takeover = Takeover()
            self._epoch_before = await self._epoch_on_redis()
            await self._check_incarnation()
            await self._follower.read_to_end()
            await self._bus.raise_fence(token)
            takeover.fenced()
            takeover.read()
            await self._run_leader(token, takeover, began_ns)
        except (Fenced, TransientError, OutcomeUnknown) as e:
            return str(e)
        except BaseExceptionGroup as group:
            return reason_of(group)
        return self.elector.loss_reason or "the loops ended"

    patches.put(Gateway, "_lead", _lead)


@mutant
def working_released_on_status(_: Run, patches: Patches) -> None:
    """Risk takes quantity out of "working" by a status, though the position only moves with the execution."""

    def apply_event(self: Leg, event: OrderEvent) -> None:
        self.is_shown = True
        self.state = event.state
        self.quantity = event.remaining if not event.state.is_final else event.quantity
        self.limit_price, self.stop_price = event.limit_price, event.stop_price
        self.tif, self.parent = event.tif, event.parent_leg
        self.is_open = not event.state.is_final
        if self.is_open:
            self._confirm((event.quantity, event.limit_price, event.stop_price))
        else:
            self.pending.clear()

    patches.put(Leg, "apply_event", apply_event)


@mutant
def claim_refusal_not_final(_: Run, patches: Patches) -> None:
    """A refusal leaves no row, so that the next claim of the same intent is judged anew."""
    original_claim, original_first = NodeBus.claim, NodeBus.cancel_first

    def forget(bus: NodeBus, intent_id: str) -> None:
        rows = bus._server.ledgers.get(intent_id, {})
        for leg in [leg for leg, row in rows.items() if row.result is not ClaimResult.CLAIMED]:
            del rows[leg]

    async def claim(self: NodeBus, token: LeaseToken, request: Any, *, source: str) -> list[LedgerRow]:
        answer = await original_claim(self, token, request, source=source)
        forget(self, request.intent_id)
        return answer

    async def cancel_first(self: NodeBus, token: LeaseToken, **values: Any) -> list[LedgerRow]:
        answer = await original_first(self, token, **values)
        forget(self, values["intent_id"])
        return answer

    patches.put(NodeBus, "claim", claim)
    patches.put(NodeBus, "cancel_first", cancel_first)


@mutant
def modify_of_an_order_not_shown(_: Run, patches: Patches) -> None:
    """A change is sent for any order that is thought to be open, shown in this session or not."""

    def why(_command: Any, target: Any, _session: int) -> str:
        return "" if target is not None and target.is_open else "no such order is open"

    patches.put(commands_module, "why_not_modify", why)


@mutant
def unit_commit_in_two_steps(_: Run, patches: Patches) -> None:
    """A unit's intents are appended first, and its state is saved in a second act: a crash in between repeats them."""

    async def commit_unit(self: SimBus, token: LeaseToken, commit: Any, *, source: str) -> bool:
        for intent in commit.intents:
            await self.call("append", (self.keys.intents, intent), {"source": source})
        for cancel in commit.cancels:
            await self.call("append", (self.keys.cancels, cancel), {"source": source})
        saved = await self.call("commit_unit", (token, replace(commit, intents=(), cancels=())), {"source": source})
        return bool(saved)

    patches.put(SimBus, "commit_unit", commit_unit)


@mutant
def login_not_checked(_: Run, patches: Patches) -> None:
    """Whatever TWS listens on the port is taken for ours."""
    patches.put(Accounts, "check", lambda _self, _accounts: "")


@mutant
def identity_not_checked(_: Run, patches: Patches) -> None:
    """A gateway leads whatever deployment Redis holds under the name."""

    async def check(bus: Any, settings: Any) -> None:
        with contextlib.suppress(ConfigError):
            await check_identity(bus, settings)

    patches.put(leadership_module, "check_identity", check)


@mutant
def unreadable_entries_forgotten(_: Run, patches: Patches) -> None:
    """What cannot be read is passed over, and nobody keeps it."""

    async def dead_letter(_self: SimBus, _entry: Any, **_: Any) -> None:
        return None

    patches.put(SimBus, "dead_letter", dead_letter)


@mutant
def approvals_go_on_after_an_unreadable_entry(_: Run, patches: Patches) -> None:
    """Risk decides on as if an order or fill that it could not read had never been."""
    patches.put(Readiness, "complaint", _without_unsafe(Readiness.complaint))


def _without_unsafe(original: Any) -> Any:
    def complaint(self: Readiness, incarnation: str) -> str | None:
        self._unsafe = ""
        found: str | None = original(self, incarnation)
        return found

    return complaint

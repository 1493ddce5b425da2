"""Carry out what `core/exits.py` finds: change or cancel exits that are larger than what their entry filled.

Only the leader that decides acts, and it asks like everybody else, through `intents` and `cancels`: the change is
decided by risk, claimed by the gateway and sent only if the present session has shown the order open. No strategy is
needed for it.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.exits import CancelExit, Exits, Key, Reduced, ResizeExit
from services.risk.core.rule import plain
from services.risk.shell.deciding import Deciding
from shared.clock import NS_PER_S
from shared.errors import BadInput, Refused
from shared.ids import intent_id
from shared.logs import get_logger
from shared.messages.codec import decode_body
from shared.messages.orders import CancelRequest, Intent, IntentAction, OrderEvent, OrderLeg, OrderType, TimeInForce

PERIOD_S = 0.25
VALID_NS = 4 * NS_PER_S


class ExitDesk:
    """Looks four times a second whether exits fit their entry."""

    def __init__(self, deciding: Deciding) -> None:
        self._deciding = deciding
        self._exits = Exits()
        self._number = 0
        self._read_in_epoch = -1
        self._stored: dict[Key, Reduced] = {}

    async def run(self) -> None:
        """Look for ever."""
        await self._deciding.again(self.look, PERIOD_S)

    async def look(self) -> None:
        """Ask once for what is due."""
        now_ns = self._deciding.clock.wall_ns()
        await self._recall()
        acts = self._exits.step(self._deciding.feed.book.groups.values(), now_ns)
        await self._store()  # before it is asked for: nothing is reduced that the next leader does not know of
        for act in acts:
            if isinstance(act, ResizeExit):
                await self._resize(act, now_ns)
            else:
                await self._cancel(act, now_ns)

    async def _recall(self) -> None:
        """Read what a leader before has reduced, once in each epoch; what cannot be read is only not grown again."""
        bus, epoch = self._deciding.bus, self._deciding.feed.book.epoch
        if self._read_in_epoch == epoch:
            return
        found: dict[Key, Reduced] = {}
        for field, body in (await bus.hash_get_all(bus.keys.risk_exits)).items():
            name, _, leg = field.rpartition(":")
            try:
                before, filled = body.decode().split()
                found[name, int(leg)] = Reduced(Decimal(before), Decimal(filled))
            except (ValueError, ArithmeticError):
                get_logger().warning("exit.unreadable", field=field)
        self._stored = found
        self._exits.remember(found)
        self._read_in_epoch = epoch

    async def _store(self) -> None:
        bus, reduced = self._deciding.bus, dict(self._exits.reduced)
        if reduced == self._stored:
            return
        gone = [f"{name}:{leg}" for name, leg in self._stored if (name, leg) not in reduced]
        rows = {f"{name}:{leg}": f"{one.before} {one.filled}" for (name, leg), one in reduced.items()}
        try:
            if rows:
                await bus.hash_set(bus.keys.risk_exits, rows)
            if gone:
                await bus.hash_delete(bus.keys.risk_exits, gone)
        except Refused as e:  # an ACL file of the user's without this key: reducing matters more than remembering
            get_logger().warning("exit.not_remembered", reason=str(e))
        self._stored = reduced

    async def _cancel(self, act: CancelExit, now_ns: int) -> None:
        request = CancelRequest(
            cancel_id=f"{act.intent_id}:{act.leg}:{now_ns}", intent_id=act.intent_id, leg=act.leg,
            strategy=act.strategy, account=self._deciding.feed.book.account, ts_init_ns=now_ns,
            reason="its entry has ended and left nothing to close",
        )  # fmt: skip
        await self._deciding.bus.append(self._deciding.bus.keys.cancels, request, source=self._deciding.source)
        get_logger().warning("exit.cancelling", intent_id=act.intent_id, leg=act.leg)

    async def _resize(self, act: ResizeExit, now_ns: int) -> None:
        shown = await self._shown(act)
        if shown is None:
            return  # the gateway does not list it as working: asked again if it still does not fit
        book, bus = self._deciding.feed.book, self._deciding.bus
        identity = await bus.hash_get_all(bus.keys.identity)
        self._number += 1
        name = intent_id(identity.get("id", b"").decode(), f"exits:{act.intent_id}:{book.epoch}", self._number, act.leg)
        leg = OrderLeg(
            leg=act.leg, side=shown.side, quantity=act.quantity, order_type=OrderType(shown.order_type),
            limit_price=shown.limit_price, stop_price=shown.stop_price, tif=TimeInForce(shown.tif),
            outside_rth=shown.outside_rth,
        )  # fmt: skip
        filled = f"{plain(act.filled)} of {plain(act.wanted)}"
        intent = Intent(
            intent_id=name, action=IntentAction.MODIFY, modifies=act.intent_id, legs=(leg,), con_id=shown.con_id,
            contract=shown.contract, strategy=shown.strategy, account=book.account, incarnation=book.incarnation,
            valid_until_ns=now_ns + VALID_NS, reason=f"exits follow their entry, which filled {filled}",
            ts_init_ns=now_ns,
        )  # fmt: skip
        await bus.append(bus.keys.intents, intent, source=self._deciding.source)
        get_logger().warning(
            "exit.resizing", intent_id=act.intent_id, leg=act.leg, quantity=str(act.quantity), filled=filled
        )

    async def _shown(self, act: ResizeExit) -> OrderEvent | None:
        """Return the exit's terms as the gateway lists them among the working orders."""
        for body in (await self._deciding.bus.hash_get_all(self._deciding.bus.keys.open_orders)).values():
            try:
                event = decode_body(OrderEvent.TYPE, body)
            except BadInput:
                continue
            if isinstance(event, OrderEvent) and (event.own_intent_id, event.leg) == (act.intent_id, act.leg):
                return event
        return None

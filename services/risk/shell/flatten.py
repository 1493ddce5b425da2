"""Carry out what breakers and people ask for beyond refusing: cancel entries, and flatten (`core/closing.py`).

Only the leader that decides acts. It asks like everybody else, through `intents` and `cancels`, so each close is
decided by risk, claimed by the gateway and passes the guard as an order that reduces. What is latched goes on after a
restart: the request is in `control`, the rest is seen from the book.
"""

from __future__ import annotations

from services.risk.core.closing import CancelOrder, CloseOrder, Closing, entries_of
from services.risk.shell.deciding import Deciding
from shared.clock import NS_PER_S
from shared.ids import intent_id
from shared.logs import get_logger
from shared.messages.orders import CancelRequest, Intent, OrderLeg, OrderType, TimeInForce

PERIOD_S = 0.1
VALID_NS = 5 * NS_PER_S
CANCEL_AGAIN_NS = 2 * NS_PER_S


class FlattenDesk:
    """Looks ten times a second whether something is to be cancelled or closed."""

    def __init__(self, deciding: Deciding) -> None:
        self._deciding = deciding
        self._closings: dict[str, Closing] = {}
        self._cancelled_ns: dict[str, int] = {}
        self._said: dict[int, str] = {}
        self._number = 0

    async def run(self) -> None:
        """Look for ever."""
        await self._deciding.again(self.look, PERIOD_S)

    async def look(self) -> None:
        """Ask once for what is due."""
        book, now_ns = self._deciding.feed.book, self._deciding.clock.wall_ns()
        wanted = book.breakers.flattens
        for control_id in [one for one in self._closings if one not in {row.control_id for row in wanted}]:
            del self._closings[control_id]
        for request in wanted:
            closing = self._closings.get(request.control_id)
            if closing is None:
                closing = Closing(request.control_id, request.scope, request.who, request.reason)
                self._closings[request.control_id] = closing
                get_logger().warning("flatten.started", scope=request.scope, who=request.who, reason=request.reason)
            for act in closing.step(book, self._deciding.limits(), now_ns):
                if isinstance(act, CloseOrder):
                    await self._close(closing, act, now_ns)
                else:
                    await self._cancel(act, f"flatten by {request.who}", now_ns)
            self._say(closing)
        await self._cancel_entries(now_ns)

    async def _cancel_entries(self, now_ns: int) -> None:
        """Cancel the entries of what is halted by itself, and of what a breaker of that rung stopped."""
        book = self._deciding.feed.book
        halted = [(scope, f"{scope} is halted") for scope in book.breakers.scopes]
        for name, trip in book.breakers.trips.items():
            strategy = name.partition(":")[2]
            if trip.rung == "cancel_entries":
                halted.append((f"strategy:{strategy}" if strategy else "account", f"breaker {name}"))
        for scope, reason in halted:
            for entry in entries_of(book, scope):
                await self._cancel(entry, reason, now_ns)

    def _say(self, closing: Closing) -> None:
        for con_id, reason in closing.waiting.items():
            if self._said.get(con_id) != reason:
                get_logger().error("flatten.waiting", con_id=con_id, reason=reason)
        self._said = dict(closing.waiting)

    async def _cancel(self, act: CancelOrder, reason: str, now_ns: int) -> None:
        if now_ns - self._cancelled_ns.get(act.intent_id, 0) < CANCEL_AGAIN_NS:
            return
        if len(self._cancelled_ns) > 1000:
            self._cancelled_ns.clear()
        self._cancelled_ns[act.intent_id] = now_ns
        request = CancelRequest(
            cancel_id=f"{act.intent_id}:{now_ns}", intent_id=act.intent_id, strategy=act.strategy,
            account=self._deciding.feed.book.account, reason=reason, ts_init_ns=now_ns,
        )  # fmt: skip
        await self._deciding.bus.append(self._deciding.bus.keys.cancels, request, source=self._deciding.source)

    async def _close(self, closing: Closing, act: CloseOrder, now_ns: int) -> None:
        book = self._deciding.feed.book
        info = book.contract(act.con_id).info
        identity = await self._deciding.bus.hash_get_all(self._deciding.bus.keys.identity)
        self._number += 1
        name = intent_id(
            identity.get("id", b"").decode(), f"flatten:{closing.control_id}:{book.epoch}", self._number, act.con_id
        )
        leg = OrderLeg(
            side=act.side, quantity=act.quantity, order_type=OrderType.LIMIT, limit_price=act.limit_price,
            tif=TimeInForce.IOC, outside_rth=True,
        )  # fmt: skip
        intent = Intent(
            intent_id=name, legs=(leg,), con_id=act.con_id, contract="" if info is None else info.name,
            strategy=act.strategy, account=book.account, incarnation=book.incarnation,
            valid_until_ns=now_ns + VALID_NS, reason=f"flatten by {closing.who}: {closing.reason}", ts_init_ns=now_ns,
        )  # fmt: skip
        closing.closes[name] = None
        await self._deciding.bus.append(self._deciding.bus.keys.intents, intent, source=self._deciding.source)
        get_logger().warning("flatten.closing", intent_id=name, con_id=act.con_id, quantity=str(act.quantity))

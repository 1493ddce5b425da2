"""Order what the broker can take, and keep at it: the author of intents appends them again until they are answered.

About half are market orders; the others are limit orders that fill, limit orders that are changed and cancelled, and
brackets. What rests is cancelled after a few seconds, so that the number of working orders stays bounded.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from copilot_quant.desk import Desk, OrderTicket
from shared.clock import NS_PER_S
from shared.errors import CqError
from shared.ids import intent_id
from shared.messages.market import ContractInfo
from shared.messages.orders import Group, Intent, IntentAction, OrderLeg, Side

SYMBOLS = ("AAPL", "MSFT", "GOOGL", "IBM", "SPY")
MAX_OPEN = 80
"""Intents without an answer at which no more are made: the system is away, and they would only expire."""
AGAIN_S = 6.0
VALID_S = 20.0
REST_S = (0.6, 3.0)


@dataclass
class Waiting:
    """An intent that has not been answered yet."""

    intent: Intent
    appended: float
    times: int = 1


@dataclass
class Counts:
    """What was asked for."""

    singles: int = 0
    brackets: int = 0
    modifies: int = 0
    cancels: int = 0
    again: int = 0
    errors: int = 0


@dataclass
class OrderSource:
    """One author of intents; `answered` is told by who reads the streams."""

    desk: Desk
    dice: random.Random
    rate_per_s: float
    account: str
    counts: Counts = field(default_factory=Counts)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    _contracts: list[ContractInfo] = field(default_factory=list)
    _prices: dict[int, Decimal] = field(default_factory=dict)
    _net: dict[int, Decimal] = field(default_factory=dict)
    _later: deque[tuple[float, str, Intent]] = field(default_factory=deque)
    _number: int = 0
    _incarnation: str = ""
    _identity: str = ""
    is_stopping: bool = False

    async def begin(self) -> None:
        """Find the contracts out, as soon as the leader has a data session too."""
        while len(self._contracts) < len(SYMBOLS):
            try:
                self._contracts = [await self.desk.resolve(symbol, limit_s=30.0) for symbol in SYMBOLS]
            except CqError:
                await asyncio.sleep(0.5)
        self._identity = (await self.desk.identity())["id"]

    def answered(self, intent: str) -> None:
        """Note that an intent has its decision or its end."""
        self.waiting.pop(intent, None)

    async def run(self) -> None:
        """Order until told to stop; an away Redis costs orders, nothing else."""
        refreshed = 0.0
        next_at = time.monotonic()
        while not self.is_stopping:
            try:
                if time.monotonic() - refreshed > 1.0:
                    await self._refresh()
                    refreshed = time.monotonic()
                await self._do_later()
                if len(self.waiting) < MAX_OPEN:
                    await self._order()
            except (CqError, OSError):
                self.counts.errors += 1
                await asyncio.sleep(0.2)
            next_at = max(next_at + 1.0 / self.rate_per_s, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    async def _refresh(self) -> None:
        """Ask for prices, learn which Redis it is, and append again what nobody answered."""
        bus = self.desk.bus
        self._incarnation = await bus.incarnation()
        until_ns = time.time_ns() + 60 * NS_PER_S
        await bus.hash_set(self.desk.keys.watches, {str(one.con_id): str(until_ns) for one in self._contracts})
        for one in self._contracts:
            last = await self.desk.last_price(one.con_id)
            price = last.get("last") or last.get("bid") or last.get("close")
            if price:
                self._prices[one.con_id] = Decimal(price)
        await self.repeat()

    async def repeat(self) -> None:
        """Append again what nobody answered in time."""
        now = time.monotonic()
        for waiting in list(self.waiting.values()):
            if now - waiting.appended > AGAIN_S:
                waiting.appended, waiting.times = now, waiting.times + 1
                self.counts.again += 1
                await self._append(waiting.intent)

    async def _append(self, intent: Intent) -> None:
        try:
            await self.desk.bus.append(self.desk.keys.intents, intent, source=self.desk.source)
        except CqError:
            self.counts.errors += 1  # it is appended again

    async def _order(self) -> None:
        contract = self.dice.choice(self._contracts)
        price = self._prices.get(contract.con_id)
        if price is None:
            return
        net = self._net.get(contract.con_id, Decimal(0))
        is_sell = net > 0 if self.dice.random() < 0.7 else self.dice.random() < 0.5
        side = Side.SELL if is_sell else Side.BUY
        quantity = Decimal(self.dice.randrange(1, 30))
        draw = self.dice.random()
        if draw < 0.5:
            await self._place(contract, OrderTicket(side, quantity))
        elif draw < 0.7:
            await self._place(contract, OrderTicket(side, quantity, limit_price=_off(price, side.sign, "0.01")))
        elif draw < 0.87:
            ticket = OrderTicket(side, quantity, limit_price=_off(price, -side.sign, "0.03"))
            intent = await self._place(contract, ticket)
            if draw < 0.78:
                self._plan("modify", intent)
            self._plan("cancel", intent)
        else:
            near = OrderTicket(
                side, quantity, take_profit=_off(price, side.sign, "0.002"), stop_loss=_off(price, -side.sign, "0.002")
            )
            self._plan("cancel", await self._place(contract, near))
        self._net[contract.con_id] = net + side.sign * quantity if draw < 0.7 else net

    def _plan(self, what: str, intent: Intent) -> None:
        after = self.dice.uniform(*REST_S) * (0.5 if what == "modify" else 1.0)
        self._later.append((time.monotonic() + after, what, intent))

    async def _do_later(self) -> None:
        now = time.monotonic()
        for _ in range(len(self._later)):
            at, what, intent = self._later.popleft()
            if at > now:
                self._later.append((at, what, intent))
            elif what == "cancel":
                self.counts.cancels += 1
                await self.desk.cancel(intent.intent_id, reason="chaos")
            else:
                await self._modify(intent)

    async def _place(self, contract: ContractInfo, ticket: OrderTicket) -> Intent:
        legs = ticket.legs()
        is_bracket = len(legs) > 1
        intent = self._intent(contract.con_id, contract.name, legs, Group.BRACKET if is_bracket else Group.SINGLE)
        self.counts.brackets += is_bracket
        self.counts.singles += not is_bracket
        await self._send(intent)
        return intent

    async def _modify(self, first: Intent) -> None:
        leg = first.legs[0]
        assert leg.limit_price is not None
        changed = leg.model_copy(update={"limit_price": _off(leg.limit_price, -leg.side.sign, "0.001")})
        self.counts.modifies += 1
        await self._send(self._intent(first.con_id, first.contract, (changed,), Group.SINGLE, first.intent_id))

    async def _send(self, intent: Intent) -> None:
        self.made.add(intent.intent_id)
        self.waiting[intent.intent_id] = Waiting(intent, time.monotonic())
        await self._append(intent)

    def _intent(self, con_id: int, name: str, legs: tuple[OrderLeg, ...], group: Group, modifies: str = "") -> Intent:
        self._number += 1
        now_ns = time.time_ns()
        return Intent(
            ts_init_ns=now_ns, intent_id=intent_id(self._identity, self.desk.source, self._number, 0), legs=legs,
            group=group, con_id=con_id, contract=name, strategy="manual", account=self.account,
            incarnation=self._incarnation, valid_until_ns=now_ns + int(VALID_S * NS_PER_S), modifies=modifies,
            action=IntentAction.MODIFY if modifies else IntentAction.PLACE, reason="chaos",
        )  # fmt: skip


def _off(price: Decimal, sign: int, share: str) -> Decimal:
    """Return a price so much above (sign 1) or below it, in cents."""
    return round(price * (1 + sign * Decimal(share)), 2)

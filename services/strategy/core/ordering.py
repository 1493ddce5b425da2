"""Turn what a strategy asks for into intents and cancels, kept until the unit commits.

Invariants:
1. An intent's id follows from (deployment, unit, number of the next commit, index): a repeated commit makes the same.
2. Prices are rounded to the tick on the passive side: limits of buys down, of sells up; stops to the side that
   triggers later, so that rounding never triggers one. `Rounding` tells otherwise.
3. What a handler asked for before it raised is taken back: half a plan is worse than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from services.strategy.core.book import Book, OrderRow
from shared.errors import BadInput
from shared.ids import intent_id
from shared.messages.market import ContractInfo
from shared.messages.orders import (
    CancelRequest,
    Group,
    Intent,
    IntentAction,
    OrderLeg,
    OrderType,
    Side,
    TimeInForce,
)
from shared.money import ZERO, decimal_of, is_on_tick, round_to_tick

NS_PER_S = 1_000_000_000
VALID_MARKET_S = 5.0
VALID_OTHER_S = 30.0

Number = int | float | str | Decimal


class Rounding(StrEnum):
    """What becomes of a price that lies between two ticks."""

    PASSIVE = "passive"
    """Limits of buys down and of sells up, stops to where they trigger later; the default."""
    AGGRESSIVE = "aggressive"
    """The other way: limits towards the market, stops to where they trigger earlier."""
    NEAREST = "nearest"
    EXACT = "exact"
    """It is a mistake."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What every intent of a unit carries."""

    deployment_id: str
    account: str
    strategy: str
    unit: str
    incarnation: str = ""

    @property
    def history(self) -> str:
        """Return what commit numbers count in: a Redis that lost commits begins to give their numbers again."""
        return f"{self.unit}\n{self.incarnation}"


@dataclass(slots=True)
class Moment:
    """Now, and what caused the call: set before each handler runs.

    `now_ns` is the bus's time of the event; `wall_ns` this machine's (0: unknown), to see that an event is stale.
    """

    now_ns: int = 0
    wall_ns: int = 0
    cause_id: str = ""
    cause_ts_ns: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """One of several orders that cancel each other, as authors write it; prices round like those of single orders."""

    side: Side
    quantity: Number
    limit: Number | None = None
    stop: Number | None = None
    tif: str = ""
    outside_rth: bool = False
    rounding: str = Rounding.PASSIVE


@dataclass(slots=True)
class Ticket:
    """One order as a strategy asks for it."""

    contract: ContractInfo
    side: Side
    quantity: Number
    limit: Number | None = None
    stop: Number | None = None
    tif: str = ""
    outside_rth: bool = False
    valid_for_s: float | None = None
    reason: str = ""
    take_profit: Number | None = None
    stop_loss: Number | None = None
    rounding: str = Rounding.PASSIVE


@dataclass(slots=True)
class Outbox:
    """Intents and cancels since the last commit."""

    identity: Identity
    book: Book
    commit: int
    """The number of the commit that these will be part of."""
    moment: Moment = field(default_factory=Moment)
    intents: list[Intent] = field(default_factory=list)
    cancels: list[CancelRequest] = field(default_factory=list)
    given_ids: Sequence[str] = ()
    """Ids for the first intents, in a replay: those that the recorded answers speak of; further ones get their own."""
    stale: int = 0
    """Orders not made because they would have been out of date before anybody read them."""

    def place(self, ticket: Ticket) -> str | None:
        """Make the intent of a ticket and return its id; None if it is out of date already.

        Raises:
            BadInput: a quantity or price that cannot be an order.
        """
        legs, group = _legs(ticket)
        return self._add(ticket, legs, group=group)

    def place_alternatives(
        self, contract: ContractInfo, orders: Sequence[Order], valid_for_s: float | None, reason: str
    ) -> str | None:
        """Make the intent of orders that cancel each other, and return its id.

        Raises:
            BadInput: fewer than two, or one that cannot be an order.
        """
        if len(orders) < 2:
            raise BadInput("orders that cancel each other are two or more")
        tickets = [
            Ticket(
                contract,
                order.side,
                order.quantity,
                limit=order.limit,
                stop=order.stop,
                tif=order.tif,
                outside_rth=order.outside_rth,
                valid_for_s=valid_for_s,
                reason=reason,
                rounding=order.rounding,
            )
            for order in orders
        ]
        legs = [_legs(ticket)[0][0].model_copy(update={"leg": number}) for number, ticket in enumerate(tickets)]
        return self._add(tickets[0], tuple(legs), group=Group.OCA)

    def modify(self, row: OrderRow, ticket: Ticket) -> str | None:
        """Make the intent that changes an order to a ticket's terms; None if nothing would change or it is too late.

        Raises:
            BadInput: the order has ended, is not ours to change, or would become another type of order.
        """
        if not row.is_open or not row.intent_id or row.order_type is None:
            raise BadInput(f"order {row.intent_id or '(not ours)'} leg {row.leg} cannot be changed: it is {row.state}")
        if row.wanted:
            return None
        leg = _legs(ticket)[0][0].model_copy(update={"leg": row.leg, "tif": row.tif, "outside_rth": row.outside_rth})
        if leg.order_type is not row.order_type:
            raise BadInput(
                f"a {row.order_type} order cannot become a {leg.order_type} order: cancel it and place another"
            )
        if leg.quantity <= row.executed:
            raise BadInput(
                f"{row.executed} of order {row.intent_id} are filled: a quantity of {leg.quantity} is too late"
            )
        if (leg.quantity, leg.limit_price, leg.stop_price) == (row.quantity, row.limit_price, row.stop_price):
            return None
        return self._add(ticket, (leg,), modifies=row.intent_id)

    def _add(
        self, ticket: Ticket, legs: tuple[OrderLeg, ...], *, group: Group = Group.SINGLE, modifies: str = ""
    ) -> str | None:
        usual_s = VALID_MARKET_S if legs[0].order_type is OrderType.MARKET else VALID_OTHER_S
        valid_s = usual_s if ticket.valid_for_s is None else ticket.valid_for_s
        until_ns = self.moment.now_ns + int(valid_s * NS_PER_S)
        if until_ns <= self.moment.wall_ns:
            self.stale += 1
            return None
        who = self.identity
        intent = Intent(
            action=IntentAction.MODIFY if modifies else IntentAction.PLACE,
            modifies=modifies,
            ts_init_ns=self.moment.wall_ns or self.moment.now_ns,
            intent_id=self._next_id(),
            group=group,
            legs=legs,
            con_id=ticket.contract.con_id,
            contract=ticket.contract.name,
            strategy=who.strategy,
            unit=who.unit,
            account=who.account,
            incarnation=who.incarnation,
            valid_until_ns=until_ns,
            reason=ticket.reason,
            cause_id=self.moment.cause_id,
            cause_ts_ns=self.moment.cause_ts_ns,
        )
        self.intents.append(intent)
        self.book.placed(intent)
        return intent.intent_id

    def _next_id(self) -> str:
        number = len(self.intents)
        if number < len(self.given_ids):
            return self.given_ids[number]
        return intent_id(self.identity.deployment_id, self.identity.history, self.commit, number)

    def cancel(self, target: str, leg: int | None, reason: str) -> None:
        """Ask for the cancel of an intent's working legs (`leg` None: all)."""
        who = self.identity
        number = len(self.cancels)
        self.cancels.append(
            CancelRequest(
                ts_init_ns=self.moment.wall_ns or self.moment.now_ns,
                cancel_id=intent_id(who.deployment_id, f"cancel\n{who.unit}", self.commit, number),
                intent_id=target,
                leg=leg,
                strategy=who.strategy,
                account=who.account,
                reason=reason,
            )
        )

    def mark(self) -> tuple[int, int]:
        """Return where the outbox stands, for `take_back`."""
        return len(self.intents), len(self.cancels)

    def take_back(self, mark: tuple[int, int]) -> None:
        """Drop what was asked for after `mark`."""
        for intent in self.intents[mark[0] :]:
            self.book.dropped(intent)
        del self.intents[mark[0] :]
        del self.cancels[mark[1] :]

    def prolong(self, mark: tuple[int, int], by_ns: int) -> None:
        """Let what was asked for after `mark` be valid longer: a person held its handler at a prompt meanwhile."""
        for number in range(mark[0], len(self.intents)):
            intent = self.intents[number]
            self.intents[number] = intent.model_copy(update={"valid_until_ns": intent.valid_until_ns + by_ns})


def _legs(ticket: Ticket) -> tuple[tuple[OrderLeg, ...], Group]:
    quantity = quantity_of(ticket.quantity)
    side = ticket.side
    limit = None if ticket.limit is None else _limit(ticket, side, ticket.limit)
    stop = None if ticket.stop is None else _stop(ticket, side, ticket.stop)
    kinds = {
        (False, False): OrderType.MARKET,
        (True, False): OrderType.LIMIT,
        (False, True): OrderType.STOP,
        (True, True): OrderType.STOP_LIMIT,
    }
    kind = kinds[limit is not None, stop is not None]
    default_tif = TimeInForce.GTC if stop is not None else TimeInForce.DAY
    first = OrderLeg(
        side=side,
        quantity=quantity,
        order_type=kind,
        limit_price=limit,
        stop_price=stop,
        tif=_tif(ticket.tif, default_tif),
        outside_rth=ticket.outside_rth,
    )
    children = _children(ticket, quantity)
    return (first, *children), Group.BRACKET if children else Group.SINGLE


def _children(ticket: Ticket, quantity: Decimal) -> Sequence[OrderLeg]:
    """Return the exits of a bracket, good till cancelled: they protect a position that outlives the day."""
    other = ticket.side.opposite
    legs: list[OrderLeg] = []
    common: dict[str, Any] = {"side": other, "quantity": quantity, "tif": TimeInForce.GTC, "parent_leg": 0}
    if ticket.take_profit is not None:
        price = _limit(ticket, other, ticket.take_profit)
        legs.append(OrderLeg(leg=1, order_type=OrderType.LIMIT, limit_price=price, **common))
    if ticket.stop_loss is not None:
        price = _stop(ticket, other, ticket.stop_loss)
        legs.append(OrderLeg(leg=len(legs) + 1, order_type=OrderType.STOP, stop_price=price, **common))
    return legs


def _tif(text: str, default: TimeInForce) -> TimeInForce:
    try:
        return TimeInForce(text) if text else default
    except ValueError as e:
        raise BadInput(f"tif {text!r} is unknown: write {', '.join(TimeInForce)}") from e


def _number(what: str, value: Number) -> Decimal:
    try:
        return decimal_of(value)
    except ValueError as e:
        raise BadInput(f"{what}: {e}") from e


def quantity_of(value: Number) -> Decimal:
    """Return a quantity as authors write it.

    Raises:
        BadInput: it is no positive number.
    """
    quantity = _number("quantity", value)
    if quantity <= 0:
        raise BadInput(f"quantity must be positive, got {quantity}: the side says buy or sell")
    return quantity


def _limit(ticket: Ticket, side: Side, value: Number) -> Decimal:
    return _on_tick(ticket, _number("limit price", value), "limit price", passive=side)


def _stop(ticket: Ticket, side: Side, value: Number) -> Decimal:
    """Round a stop to the side that triggers later: a sell stop down, a buy stop up, never into the market."""
    return _on_tick(ticket, _number("stop price", value), "stop price", passive=side.opposite)


def _on_tick(ticket: Ticket, price: Decimal, what: str, *, passive: Side) -> Decimal:
    try:
        rounding = Rounding(ticket.rounding)
    except ValueError as e:
        raise BadInput(f"rounding {ticket.rounding!r} is unknown: write {', '.join(Rounding)}") from e
    tick = ticket.contract.tick_at(price)
    if rounding is Rounding.EXACT:
        if not is_on_tick(price, tick):
            raise BadInput(f"{what} {price} of {ticket.contract.name} is between two ticks of {tick}")
        return price
    sides = {Rounding.PASSIVE: passive, Rounding.AGGRESSIVE: passive.opposite, Rounding.NEAREST: None}
    return round_to_tick(price, tick, side=sides[rounding])


def signed_order(difference: Decimal) -> tuple[Side, Decimal] | None:
    """Return side and quantity that change a position by `difference`, None for no change."""
    if difference == ZERO:
        return None
    return (Side.BUY if difference > 0 else Side.SELL), abs(difference)

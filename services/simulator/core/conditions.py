"""Watch what conditional orders wait for, and say when it has come.

Conditions are joined from left to right, each with the next by its own "and" or "or". An order waits with
PreSubmitted until they hold, or works until they hold and is then cancelled (`conditions_cancel_order`).

Invariants:
1. An order is told once; after that its conditions may change as they like.
2. Outside of the regular hours of the order's market nothing comes true unless `conditions_ignore_rth` is set.
3. A condition on a trade looks at trades of the order's account from the order's acceptance on.

Known limits: the margin cushion is looked at once a second; "double" trigger methods want two prices in a row on the
right side.

Source: IB's documentation of order conditions and trigger methods; ib-facts A.13, B.6.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from services.simulator.core.book import Book
from services.simulator.core.contracts import Instrument, Universe
from services.simulator.core.floor import Floor
from services.simulator.core.hours import Hours
from services.simulator.core.orders import BrokerOrder
from services.simulator.core.times import parse_tws_time
from shared.tws.order import (
    ExecutionCondition,
    MarginCondition,
    OrderCondition,
    PercentChangeCondition,
    PriceCondition,
    TimeCondition,
    TwsOrder,
    VolumeCondition,
)

NS_PER_S = 1_000_000_000
OnPrices = PriceCondition | VolumeCondition | PercentChangeCondition
DOUBLE_BID_ASK, LAST, DOUBLE_LAST, BID_ASK, LAST_OR_BID_ASK, MID = 1, 2, 3, 4, 7, 8
METHODS = frozenset({0, DOUBLE_BID_ASK, LAST, DOUBLE_LAST, BID_ASK, LAST_OR_BID_ASK, MID})
_BAD_TIME = "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx"
_INVALID = "Error validating request.-'bW' : cause - Invalid order condition: "


def check_conditions(order: TwsOrder, universe: Universe, zone: str) -> tuple[int, str] | None:
    """Return why TWS refuses an order's conditions, or None."""
    for condition in order.conditions:
        if condition.conjunction not in ("a", "o"):
            return 321, f"{_INVALID}conjunction '{condition.conjunction}'"
        if isinstance(condition, TimeCondition):
            if not _is_time(condition.time, zone):
                return 343, _BAD_TIME
        elif isinstance(condition, ExecutionCondition):
            if not condition.symbol:
                return 321, f"{_INVALID}a trade needs a symbol"
        else:
            complaint = _check_value(condition, universe)
            if complaint:
                return 321, _INVALID + complaint
    return None


def _is_time(text: str, zone: str) -> bool:
    try:
        return parse_tws_time(text, zone) is not None
    except ValueError:
        return False


def _check_value(condition: OnPrices | MarginCondition, universe: Universe) -> str:
    if isinstance(condition, OnPrices) and universe.by_id(condition.con_id) is None:
        return f"no contract with id {condition.con_id}"
    if isinstance(condition, PriceCondition) and condition.trigger_method not in METHODS:
        return f"trigger method {condition.trigger_method}"
    return "" if _threshold(condition) is not None else "the value is missing"


def _threshold(condition: OnPrices | MarginCondition) -> float | None:
    value: Decimal | int | None
    if isinstance(condition, PriceCondition):
        value = condition.price
    elif isinstance(condition, VolumeCondition):
        value = condition.volume
    elif isinstance(condition, PercentChangeCondition):
        value = condition.change_percent
    else:
        value = condition.percent
    return None if value is None else float(value)


class ConditionWatch:
    """The conditional orders that still wait."""

    def __init__(
        self,
        floor: Floor,
        hours: Hours,
        *,
        met: Callable[[BrokerOrder], None],
        cushion: Callable[[str], float],
    ) -> None:
        """`met` is told of an order whose conditions hold; `cushion` is an account's excess liquidity in percent."""
        self._floor = floor
        self._met = met
        self._cushion = cushion
        self._hours = hours
        self.by_contract: dict[int, dict[int, BrokerOrder]] = {}
        """The orders that look at a contract's prices, by conId and permId."""
        self._on_trades: dict[int, BrokerOrder] = {}
        self._on_margin: dict[int, BrokerOrder] = {}
        self._traded: set[tuple[int, int]] = set()
        """permId and number of conditions on trades that have come."""
        self._once: dict[tuple[int, int], bool] = {}
        """Whether the last price was on the right side, for double trigger methods."""

    # -------------------------------------------------------------------------------------------- registration
    def watch(self, order: BrokerOrder) -> None:
        """Look out for an order's conditions from now on."""
        floor = self._floor
        if not order.order.conditions or order.are_conditions_met:
            return
        for condition in order.order.conditions:
            if isinstance(condition, OnPrices):
                instrument = floor.universe.by_id(condition.con_id)
                if instrument is not None:
                    self.by_contract.setdefault(condition.con_id, {})[order.perm_id] = order
                    floor.watch(instrument)
            elif isinstance(condition, ExecutionCondition):
                self._on_trades[order.perm_id] = order
            elif isinstance(condition, MarginCondition):
                if not self._on_margin:
                    floor.later(NS_PER_S, self._look_at_margins)
                self._on_margin[order.perm_id] = order
            else:
                due_ns = parse_tws_time(condition.time, floor.config.time_zone) or 0
                if due_ns > floor.now_ns:
                    floor.later(due_ns - floor.now_ns, lambda: self.check(order))
        self.check(order)

    def forget(self, order: BrokerOrder) -> None:
        """Stop looking, as the order is done or was told."""
        number = order.perm_id
        self._on_trades.pop(number, None)
        self._on_margin.pop(number, None)
        self._traded = {each for each in self._traded if each[0] != number}
        self._once = {key: held for key, held in self._once.items() if key[0] != number}
        for con_id in [each for each, orders in self.by_contract.items() if number in orders]:
            del self.by_contract[con_id][number]
            if not self.by_contract[con_id]:
                del self.by_contract[con_id]
                self._floor.unneeded(con_id)

    # -------------------------------------------------------------------------------------------- events
    def on_market(self, con_id: int) -> None:
        """Look at the orders that wait for a contract's prices."""
        for order in list(self.by_contract.get(con_id, {}).values()):
            self.check(order)

    def on_execution(self, account: str, instrument: Instrument, exchange: str) -> None:
        """Take note of a trade in an account."""
        for order in list(self._on_trades.values()):
            for number, condition in enumerate(order.order.conditions):
                if (
                    isinstance(condition, ExecutionCondition)
                    and order.account == account
                    and condition.symbol.upper() == instrument.symbol
                    and condition.sec_type in ("", instrument.sec_type)
                    and condition.exchange in ("", "SMART", "*", exchange)
                ):
                    self._traded.add((order.perm_id, number))
            self.check(order)

    def _look_at_margins(self) -> None:
        for order in list(self._on_margin.values()):
            self.check(order)
        if self._on_margin:
            self._floor.later(NS_PER_S, self._look_at_margins)

    def check(self, order: BrokerOrder) -> None:
        """Tell of an order if its conditions hold now."""
        if order.is_done or order.are_conditions_met:
            self.forget(order)
            return
        if not order.order.conditions_ignore_rth and not self._hours.is_open(order.instrument, self._floor.now_ns):
            return
        if self._hold(order):
            order.are_conditions_met = True
            self.forget(order)
            self._met(order)

    # -------------------------------------------------------------------------------------------- truth
    def _hold(self, order: BrokerOrder) -> bool:
        conditions = order.order.conditions
        truths = [self._holds(order, number, condition) for number, condition in enumerate(conditions)]
        result = truths[0]
        for condition, truth in zip(conditions, truths[1:], strict=False):
            result = (result or truth) if condition.conjunction == "o" else (result and truth)
        return result

    def _holds(self, order: BrokerOrder, number: int, condition: OrderCondition) -> bool:
        floor = self._floor
        match condition:
            case ExecutionCondition():
                return (order.perm_id, number) in self._traded
            case TimeCondition():
                due_ns = parse_tws_time(condition.time, floor.config.time_zone) or 0
                return (floor.now_ns >= due_ns) == condition.is_more
            case MarginCondition():
                return _is_beyond(self._cushion(order.account), _threshold(condition), is_more=condition.is_more)
            case PriceCondition():
                return self._is_price_there(order, number, condition)
        book = floor.book(condition.con_id)
        if isinstance(condition, VolumeCondition):
            return _is_beyond(book.volume, _threshold(condition), is_more=condition.is_more)
        if not book.close or not book.last:
            return False
        change = (book.last / book.close - 1.0) * 100.0
        return _is_beyond(change, _threshold(condition), is_more=condition.is_more)

    def _is_price_there(self, order: BrokerOrder, number: int, condition: PriceCondition) -> bool:
        instrument = self._floor.universe.by_id(condition.con_id)
        method = condition.trigger_method or _default_method(instrument)
        level = _threshold(condition)
        prices = _prices(self._floor.book(condition.con_id), method, is_more=condition.is_more)
        is_there = any(_is_beyond(price, level, is_more=condition.is_more) for price in prices if price > 0)
        if method not in (DOUBLE_BID_ASK, DOUBLE_LAST):
            return is_there
        key = (order.perm_id, number)
        was_there, self._once[key] = self._once.get(key, False), is_there
        return is_there and was_there


def _is_beyond(value: float, threshold: float | None, *, is_more: bool) -> bool:
    return threshold is not None and (value >= threshold if is_more else value <= threshold)


def _default_method(instrument: Instrument | None) -> int:
    kind = instrument.sec_type if instrument is not None else ""
    return {"OPT": DOUBLE_BID_ASK, "CASH": BID_ASK}.get(kind, LAST)


def _prices(book: Book, method: int, *, is_more: bool) -> tuple[float, ...]:
    """Return the prices of which one has to be there."""
    side = book.bid if is_more else book.ask
    if method in (LAST, DOUBLE_LAST):
        return (book.last,)
    if method == MID:
        return (book.mid,)
    return (book.last, side) if method == LAST_OR_BID_ASK else (side,)

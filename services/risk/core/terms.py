"""Resolve the limits of one strategy in one contract, once, in the form in which the quick proof compares them."""

from __future__ import annotations

from decimal import Decimal
from math import floor, inf, nextafter
from typing import TYPE_CHECKING

from services.risk.core.limits import Limits, Stage
from services.risk.core.positions import ContractExposure
from services.risk.core.rates import TokenBucket
from services.risk.core.rule import FOREVER_NS
from shared.messages.orders import RuleResult
from shared.money import ZERO

if TYPE_CHECKING:
    from services.risk.core.exposure import Book

MINUTE_NS = 60_000_000_000
HUGE = Decimal(10) ** 12
"""Prices and quantities from here on are left to the rules."""
_INF = Decimal("Infinity")
_UNCOUNTED = 1 << 62
"""What stands for no limit where whole numbers are compared: with a float they compare slower."""


class Terms:
    """The limits of one strategy in one contract, resolved; unlimited is infinity.

    They hold for one `owner` and its limits, from `from_ns` until the first rule about terms could change its mind, and
    until the contract is defined anew. `power` and `money_max` hold for one state of the account's figures (`worth`):
    what may be needed in all, and what one contract may be worth; `value_max`, what one order may be worth, for one
    turnover of the day.
    """

    __slots__ = (
        "account_room", "answer", "bucket", "cash_min", "collar", "collar_ticks", "concentration", "currency",
        "currency_max", "data_age_ns", "due_ns", "duplicate_ns", "ends", "from_ns", "gross_max", "is_plain", "last_ns",
        "limit_book", "limits", "messages_max", "money_max", "net_max", "net_min", "notional_max", "open_max", "owner",
        "per_fill_max", "point", "position_max", "position_money", "power", "quantity_max", "quantity_min",
        "quantity_step", "rates", "repeats_max", "room", "self_cross", "share", "short_selling", "side_max", "slippage",
        "strategy", "strategy_max", "strategy_money", "takes_any_type", "tick", "trades_max", "turnover",
        "turnover_max", "until_ns", "value_max", "worth", "youngest_ns",
    )  # fmt: skip

    def __init__(
        self, owner: object, limit_book: Limits, strategy: str, contract: ContractExposure, book: Book, now_ns: int
    ) -> None:
        info = contract.info
        limits = limit_book.for_order(strategy, contract.con_id, info)
        self.owner, self.limit_book, self.limits = owner, limit_book, limits
        self.strategy = strategy
        self.answer = answer_to(strategy, contract.con_id, book.account, ())
        self.bucket = book.strategy_buckets.setdefault(strategy, TokenBucket())
        self.ends = contract.ends_of(strategy)
        self.last_ns = book.activity.last_of(strategy, contract.con_id)
        self.from_ns = now_ns - now_ns % MINUTE_NS
        self.until_ns = FOREVER_NS
        self.tick, self.quantity_step, self.quantity_min = contract.steps or (ZERO, ZERO, ZERO)
        self.point = contract.point or ZERO
        self.rates = limits.rates
        self.room, self.account_room = limits.rates[1] - 1, limits.rates[3] - 1
        """What may have been taken from a bucket where one more fits for certain."""
        self.is_plain = (
            limits.protection == "allow"
            and limits.what_if_margin_percent is None
            and contract.steps is not None
            and contract.point is not None
            and self.room >= 0
            and not limit_book.mistakes
            and limit_book.stage is not Stage.OBSERVE
        )
        """Whether orders can be proven at all: stops at the broker and its what-ifs are looked at by their rules."""
        self.takes_any_type = limits.takes_any_type
        self.currency = "" if info is None or info.currency == book.sums.base_currency else info.currency
        self.quantity_max = min(_most(limits.order_quantity_max), HUGE)
        self.notional_max = _most(limits.order_notional_max)
        self.collar = limits.price_collar_percent
        self.collar_ticks = limits.price_collar_ticks
        self.slippage = float_below(limits.market_slippage_percent)
        self.position_max = _most(limits.position_quantity_max)
        self.position_money = _most(limits.position_notional_max)
        self.strategy_max = _most(limits.strategy_position_quantity_max)
        self.strategy_money = _most(limits.strategy_position_notional_max)
        self.gross_max = _most(limits.exposure_gross_max)
        self.net_max = _most(limits.exposure_net_max)
        self.net_min = -self.net_max
        self.currency_max = _most(limits.exposure_currency_max)
        self.concentration = limits.concentration_percent
        self.share = limits.buying_power_share
        self.cash_min = limits.cash_min
        self.turnover_max = _most(limits.turnover_day_max)
        self.take_turnover(book.activity.turnover)
        self.trades_max = _count(limits.trades_day_max)
        self.open_max = _count(limits.open_orders_max)
        self.messages_max = _count(limits.messages_per_s_max)
        self.side_max = _count(limits.open_orders_side_max)
        self.per_fill_max = limits.orders_per_fill_max
        self.repeats_max = _UNCOUNTED if limits.repeats == "allow" else _count(limits.repeats_max)
        self.duplicate_ns = 0 if limits.duplicates == "allow" else limits.duplicate_window_ns
        self.self_cross = limits.self_cross != "allow"
        self.short_selling = limits.short_selling == "allow" or not (info is None or info.sec_type == "STK")
        age_ns = limits.data_age_max_ns
        self.data_age_ns = _UNCOUNTED if age_ns == inf else floor(age_ns)
        self.youngest_ns = -self.data_age_ns
        self.due_ns = 0 if limits.strategy_loss_max is not None else FOREVER_NS
        """When the strategy's profit is looked at again, or earlier."""
        self.worth = 0
        self.power: Decimal | None = None
        self.money_max = ZERO

    def take_worth(self, book: Book) -> None:
        """Resolve the limits that are shares of the account's figures."""
        self.worth = book.worth_seen
        power: Decimal | None = _INF
        if self.share is not None:
            power = None if book.buying_power is None else book.buying_power * self.share
        if self.cash_min is not None and power is not None:
            power = None if book.cash is None else min(power, book.cash - self.cash_min)
        self.power = power
        self.money_max = self.position_money
        if self.concentration is not None:
            worth = book.net_liquidation
            most = ZERO if worth is None or worth <= ZERO else (self.concentration * worth).scaleb(-2)
            self.money_max = min(self.money_max, most)
        if book.day_trades_left == ZERO:
            self.money_max = -_INF  # the rule about day trades is asked

    def take_turnover(self, turnover: Decimal) -> None:
        """Resolve what the day's turnover leaves for one order."""
        self.turnover = turnover
        self.value_max = min(self.notional_max, self.turnover_max - turnover)


def _most(bound: Decimal | None) -> Decimal:
    return _INF if bound is None else bound


def float_below(bound: Decimal | None) -> float | None:
    """Return the largest float that is not above a limit: a float is within one exactly if it is within the other."""
    if bound is None:
        return None
    most = float(bound)
    return most if Decimal(most) <= bound else nextafter(most, -inf)


def _count(bound: Decimal | None) -> int:
    """Return how many there may be: below a broken number its whole part."""
    return _UNCOUNTED if bound is None else floor(bound)


def answer_to(strategy: str, con_id: int, account: str, warned: tuple[RuleResult, ...]) -> dict[str, object]:
    """Return what every approval of a strategy in a contract says, in the form of a `Decision`."""
    return {
        "ts_init_ns": 0, "intent_id": "", "approved": True, "code": "", "text": "", "failed": (), "warned": warned,
        "con_id": con_id, "strategy": strategy, "account": account, "is_reducing": False, "intent_ts_ns": 0,
    }  # fmt: skip

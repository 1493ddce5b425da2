"""Prove in a few microseconds that no rule objects to an order: the way that nearly every approval takes.

Invariants:
1. Where a rule would object, nothing is proven: the same numbers are compared exactly, with the limits of one strategy
   in one contract resolved beforehand. `tests/property/services/risk/test_quick.py` compares both ways.
2. Nothing is said about what is wrong. Where the proof fails, the rules are asked, and they alone make findings.
3. Rules that are not in `COVERED`, a user's own among them, are asked by `decide.RuleBook` as ever.

The proof is for plain orders: one leg, limit or market, regular hours, calm system. Modifies, groups, stops and all
that happens in trouble go to the rules. It takes an order as if it did not reduce, so one that reduces where an entry
would be refused goes to the rules too.
"""

from __future__ import annotations

from decimal import Decimal
from math import floor, inf, nextafter
from typing import TYPE_CHECKING, Any

from services.risk.core.limits import Limits, Stage
from services.risk.core.positions import ContractExposure
from services.risk.core.quotes import Quote
from services.risk.core.rates import TokenBucket
from services.risk.core.rule import FOREVER_NS, Rule
from services.risk.core.rules_activity import (
    ENOUGH_ORDERS,
    Duplicate,
    OrderEfficiency,
    RepeatsMax,
    SelfCross,
    TradesDayMax,
    TurnoverDayMax,
    best_own,
)
from services.risk.core.rules_exposure import (
    BuyingPower,
    CashMin,
    Concentration,
    ExposureCurrencyMax,
    ExposureGrossMax,
    ExposureNetMax,
    OpenOrdersMax,
    PositionMax,
    StrategyPositionMax,
)
from services.risk.core.rules_margin import MarginAfter, MarginUnknown
from services.risk.core.rules_market import MarketSlippage
from services.risk.core.rules_order import (
    Account,
    Expired,
    Incarnation,
    OrderNotionalMax,
    OrderQuantityMax,
    PriceCollar,
    TickSize,
    TypeAllowed,
)
from services.risk.core.rules_permission import ProtectionRequired, ShortSale, ShortUnavailable
from services.risk.core.rules_state import DataStale, MoneyUnknown, OrderRate, WouldCrossZero
from shared.messages.orders import Intent, RuleResult, Side
from shared.money import ZERO

if TYPE_CHECKING:
    from services.risk.core.exposure import Book

COVERED: frozenset[type[Rule]] = frozenset({
    Incarnation, Expired, Account, TypeAllowed, TickSize, OrderQuantityMax, OrderNotionalMax, PriceCollar,
    MarketSlippage, WouldCrossZero, ShortSale, ShortUnavailable, ProtectionRequired, DataStale, MoneyUnknown,
    PositionMax, StrategyPositionMax, ExposureGrossMax, ExposureNetMax, ExposureCurrencyMax, Concentration, BuyingPower,
    CashMin, TurnoverDayMax, TradesDayMax, OpenOrdersMax, SelfCross, Duplicate, RepeatsMax, OrderEfficiency, OrderRate,
    MarginUnknown, MarginAfter,
})  # fmt: skip
"""The rules whose silence the proof shows; those about terms, for trouble, for modifies or groups come apart."""
MINUTE_NS = 60_000_000_000
_BUY = Side.BUY
_HUGE = Decimal(10) ** 12
_HUNDRED = Decimal(100)
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
        "limit_book", "limits", "money_max", "net_max", "net_min", "notional_max", "open_max", "owner", "per_fill_max",
        "point", "position_max", "position_money", "power", "quantity_max", "quantity_min", "quantity_step", "rates",
        "repeats_max", "room", "self_cross", "share", "short_selling", "side_max", "slippage", "strategy",
        "strategy_max", "strategy_money", "takes_any_type", "tick", "trades_max", "turnover", "turnover_max",
        "until_ns", "value_max", "worth", "youngest_ns",
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
        self.quantity_max = min(_most(limits.order_quantity_max), _HUGE)
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


def proves(
    intent: Intent,
    asked: dict[str, Any],
    leg: dict[str, Any],
    book: Book,
    contract: ContractExposure,
    terms: Terms,
    now_ns: int,
) -> bool | None:
    """Return whether a plain order only reduces, if it is certain that no covered rule objects to it; else None.

    Args:
        intent: a PLACE of one leg, without a stop price and within regular hours.
        asked: what is in it.
        leg: what is in its leg.
        book: the account, brought up to `now_ns`.
        contract: of the order, with its value up to date.
        terms: the limits that hold.
        now_ns: wall time.
    """
    quote, value, incarnation = contract.quote, contract.value, book.incarnation
    mark = quote.known_mark  # known since the value was brought up to date, if there is one
    if (
        mark is None
        or value is None
        # what a rule about trouble could object to, the limits' own state and day trades apart
        or not book.breakers.is_calm
        or quote.is_odd
        or contract.is_mismatched
        or contract.unexplained
        or book.readiness.settled_in != incarnation
    ):
        return None
    limit, quantity, is_buy = leg["limit_price"], leg["quantity"], leg["side"] is _BUY
    money = order_value = quantity * value
    if limit is None:
        is_fair = terms.slippage is None or _slips_little(quote, terms.slippage, is_buy)
    elif limit > mark:
        order_value = quantity * limit * terms.point
        is_fair = limit < _HUGE and not limit % terms.tick and (not is_buy or _in_collar(limit - mark, mark, terms))
    else:  # a mark is below what a price may be, and so is all below it
        is_fair = limit > ZERO and not limit % terms.tick
        if not is_buy and limit != mark:
            is_fair = is_fair and _in_collar(mark - limit, mark, terms)
    activity, account_bucket = book.activity, book.account_bucket
    if activity.turnover is not terms.turnover:
        terms.take_turnover(activity.turnover)
    if terms.worth != book.worth_seen:
        terms.take_worth(book)
    if is_buy:
        same_side, other_side = contract.open_buys, contract.open_sells
    else:
        same_side, other_side = contract.open_sells, contract.open_buys
    if (
        is_fair
        and asked["incarnation"] == incarnation
        and now_ns <= asked["valid_until_ns"]
        and asked["account"] == book.account
        and (
            terms.takes_any_type or (leg["order_type"] in terms.limits.order_types and leg["tif"] in terms.limits.tifs)
        )
        and terms.quantity_min <= quantity <= terms.quantity_max
        and not quantity % terms.quantity_step
        and order_value <= terms.value_max
        and terms.youngest_ns <= now_ns - quote.ts_ns <= terms.data_age_ns
        and not book.sums.unvalued
        and book.open_orders < terms.open_max
        and activity.trades < terms.trades_max
        and (terms.bucket.taken <= terms.room or _has_left(terms.bucket, terms.rates[0], terms.rates[1], now_ns))
        and (account_bucket.taken <= terms.account_room or _has_left(account_bucket, *terms.rates[2:], now_ns))
        and same_side < terms.side_max
        and (not other_side or not terms.self_cross or _misses(contract.best_own or _best_own(contract), limit, is_buy))
        and (
            activity.repeats_most < terms.repeats_max
            or activity.repeats.get((terms.strategy, contract.con_id, is_buy), 0) < terms.repeats_max
        )
        and (
            terms.last_ns[0] < now_ns - terms.duplicate_ns
            or not terms.duplicate_ns
            or not activity.seen_ns(intent, now_ns - terms.duplicate_ns)
        )
        and (
            activity.orders.get(terms.strategy, 0) < ENOUGH_ORDERS
            or terms.per_fill_max is None
            or activity.orders[terms.strategy] / (activity.filled.get(terms.strategy, 0) + 1) <= terms.per_fill_max
        )
    ):
        return _fits(quantity, money, book, contract, terms, value, is_buy)
    return None


def _has_left(bucket: TokenBucket, rate_per_s: float, burst: float, now_ns: int) -> bool:
    return bucket.left(rate_per_s, burst, now_ns) >= 1


def _in_collar(worse: Decimal, mark: Decimal, terms: Terms) -> bool:
    """Return whether a limit price is not too much worse than the market; ticks are left to the rule."""
    if terms.collar_ticks is not None:
        return False
    return terms.collar is None or worse * _HUNDRED <= terms.collar * mark


def _fits(
    quantity: Decimal,
    money: Decimal,
    book: Book,
    contract: ContractExposure,
    terms: Terms,
    value: Decimal,
    is_buy: bool,  # noqa: FBT001 - on the way of every order, where a keyword costs
) -> bool | None:
    """Return whether an order only reduces, if the worst case after it is within every limit, its strategy's own too.

    Without doubt about the position an order only reduces where the end it moves stays on the other side of zero.
    """
    sums, worst_value = book.sums, contract.worst_value
    up, down = terms.ends
    if is_buy:
        end, up = contract.top + quantity, up + quantity
        is_reducing = end <= ZERO
        if sums.net_high + money > terms.net_max or sums.net_low < terms.net_min:
            return None
    else:
        end, down = quantity - contract.bottom, down + quantity
        is_reducing = end <= ZERO
        if sums.net_low - money < terms.net_min or sums.net_high > terms.net_max:
            return None
        lendable = contract.lendable
        if not (is_reducing or (terms.short_selling and (lendable is None or end <= lendable))):
            return None
    if contract.is_ahead:
        is_reducing = quantity <= only_reduced(contract, 1 if is_buy else -1)
    if not is_reducing:
        own = contract.by_strategy.get(terms.strategy)
        if own and (own < ZERO) is is_buy and quantity <= abs(own):
            return None  # it may only close what the strategy holds and the account does not
    strategy_worst = up if up > down else down
    if strategy_worst > terms.strategy_max or strategy_worst * value > terms.strategy_money or worst_value is None:
        return None
    worst = contract.worst_quantity
    if end <= worst:  # nothing is added to the contract's worst case
        is_within = (
            worst <= terms.position_max
            and worst_value <= terms.money_max
            and sums.gross_worst <= terms.gross_max
            and (not terms.currency or sums.by_currency.get(terms.currency, ZERO) <= terms.currency_max)
        )
        return is_reducing if is_within else None
    end_value = end * value
    added = end_value - worst_value
    gross = sums.gross_worst + added
    is_within = (
        end <= terms.position_max
        and end_value <= terms.money_max
        and gross <= terms.gross_max
        and terms.power is not None
        and gross - sums.gross_position + book.filled_since <= terms.power
        and (not terms.currency or sums.by_currency.get(terms.currency, ZERO) + added <= terms.currency_max)
    )
    return is_reducing if is_within else None


def _misses(best: tuple[Decimal | None, Decimal | None], limit: Decimal | None, is_buy: bool) -> bool:  # noqa: FBT001
    """Return whether an order cannot trade with the best of our own on the other side."""
    if is_buy:
        return best[1] is None or (limit is not None and limit < best[1])
    return best[0] is None or (limit is not None and limit > best[0])


def _best_own(contract: ContractExposure) -> tuple[Decimal | None, Decimal | None]:
    best = contract.best_own = best_own(contract)
    return best


def _slips_little(quote: Quote, most: float, is_buy: bool) -> bool:  # noqa: FBT001
    """Return whether an order at the market costs no more than a share of the middle, in percent."""
    if not quote.bid or not quote.ask:
        return True
    middle = (quote.bid + quote.ask) / 2
    return (quote.ask - middle if is_buy else middle - quote.bid) * 100 / middle <= most


def only_reduced(contract: ContractExposure, sign: int) -> Decimal:
    """Return how much a plain order may have and only reduce in the worst case, where the books add up.

    0 or less means that none of this side reduces; `Case` says the same at more length.
    """
    return -contract.total - contract.buys if sign > 0 else contract.total - contract.sells

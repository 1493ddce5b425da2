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

from services.risk.core.limits import LimitSet
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


class Terms:
    """The limits of one strategy in one contract, resolved; unlimited is infinity.

    They hold from `from_ns` until the first rule about terms could change its mind. `power` and `money_max` hold for
    one state of the account's figures (`worth`): what may be needed in all, and what one contract may be worth.
    """

    __slots__ = (
        "answer", "bucket", "buy", "cash_min", "collar", "collar_ticks", "concentration", "currency", "currency_max",
        "data_age_ns", "duplicate_ns", "from_ns", "gross_max", "info", "is_plain", "is_stock", "key", "limits",
        "money_max", "net_max", "net_min", "notional_max", "open_max", "owner", "per_fill_max", "position_max",
        "position_money", "power", "quantity_max", "rates", "repeats_max", "self_cross", "sell", "share",
        "short_selling", "side_max", "slippage", "strategy", "strategy_max", "strategy_money", "takes_any_type",
        "trades_max", "turnover_max", "until_ns", "work", "worth",
    )  # fmt: skip

    def __init__(
        self, owner: object, limits: LimitSet, strategy: str, contract: ContractExposure, book: Book, now_ns: int
    ) -> None:
        self.owner = owner
        self.strategy = strategy
        self.key = (strategy, contract.con_id)
        self.buy, self.sell = (*self.key, True), (*self.key, False)
        self.answer = answer_to(strategy, contract.con_id, book.account, ())
        self.bucket = book.strategy_buckets.setdefault(strategy, TokenBucket())
        self.work = contract.strategy_work.setdefault(strategy, [ZERO, ZERO])
        self.limits = limits
        info = self.info = contract.info
        self.from_ns = now_ns - now_ns % MINUTE_NS
        self.until_ns = FOREVER_NS
        self.is_plain = limits.protection == "allow" and limits.what_if_margin_percent is None
        """Whether orders can be proven at all: stops at the broker and its what-ifs are looked at by their rules."""
        self.takes_any_type = limits.takes_any_type
        self.is_stock = info is None or info.sec_type == "STK"
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
        self.trades_max = _count(limits.trades_day_max)
        self.open_max = _count(limits.open_orders_max)
        self.side_max = _count(limits.open_orders_side_max)
        self.per_fill_max = limits.orders_per_fill_max
        self.repeats_max = inf if limits.repeats == "allow" else _count(limits.repeats_max)
        self.duplicate_ns = 0 if limits.duplicates == "allow" else limits.duplicate_window_ns
        self.self_cross = limits.self_cross != "allow"
        self.short_selling = limits.short_selling == "allow" or not self.is_stock
        self.data_age_ns = limits.data_age_max_ns
        self.rates = limits.rates
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


def _most(bound: Decimal | None) -> Decimal:
    return _INF if bound is None else bound


def float_below(bound: Decimal | None) -> float | None:
    """Return the largest float that is not above a limit: a float is within one exactly if it is within the other."""
    if bound is None:
        return None
    most = float(bound)
    return most if Decimal(most) <= bound else nextafter(most, -inf)


def _count(bound: Decimal | None) -> float:
    """Return how many there may be: below a broken number its whole part."""
    return inf if bound is None else float(floor(bound))


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
) -> bool:
    """Return whether it is certain that no covered rule objects to a plain order.

    Args:
        intent: a PLACE of one leg, without a stop price and within regular hours.
        asked: what is in it.
        leg: what is in its leg.
        book: the account, brought up to `now_ns`.
        contract: of the order, with its value up to date.
        terms: the limits that hold.
        now_ns: wall time.
    """
    quote, incarnation = contract.quote, book.incarnation
    mark, steps, value, point = quote.known_mark or quote.mark, contract.steps, contract.value, contract.point
    if (
        mark is None
        or steps is None
        or value is None
        or point is None
        # what a rule about trouble could object to, the limits' own state apart
        or not book.breakers.is_calm
        or quote.is_odd
        or contract.is_mismatched
        or contract.unexplained
        or book.readiness.settled_in != incarnation
        or (book.day_trades_left is not None and book.day_trades_left == ZERO)
    ):
        return False
    limit, quantity, is_buy = leg["limit_price"], leg["quantity"], leg["side"] is _BUY
    money = order_value = quantity * value
    tick, step, smallest = steps
    if limit is None:
        if terms.slippage is not None and not _slips_little(quote, terms.slippage, is_buy):
            return False
    elif limit % tick or limit <= ZERO:
        return False
    elif limit > mark:  # a mark is below what a price may be, and so is all below it
        if limit >= _HUGE:
            return False
        order_value = quantity * limit * point
        if is_buy and not _in_collar(limit - mark, mark, terms):
            return False
    elif not is_buy and limit != mark and not _in_collar(mark - limit, mark, terms):
        return False
    rates, activity, account_bucket = terms.rates, book.activity, book.account_bucket
    if is_buy:
        same_side, other_side, repeat = contract.open_buys, contract.open_sells, terms.buy
    else:
        same_side, other_side, repeat = contract.open_sells, contract.open_buys, terms.sell
    return (
        asked["incarnation"] == incarnation
        and now_ns <= asked["valid_until_ns"]
        and asked["account"] == book.account
        and (
            terms.takes_any_type or (leg["order_type"] in terms.limits.order_types and leg["tif"] in terms.limits.tifs)
        )
        and smallest <= quantity <= terms.quantity_max
        and not quantity % step
        and order_value <= terms.notional_max
        and -terms.data_age_ns <= now_ns - quote.ts_ns <= terms.data_age_ns
        and not book.sums.unvalued
        and book.open_orders < terms.open_max
        and activity.trades < terms.trades_max
        and activity.turnover + order_value <= terms.turnover_max
        and rates[1] >= 1
        and (rates[1] - terms.bucket.taken >= 1 or terms.bucket.left(rates[0], rates[1], now_ns) >= 1)
        and (rates[3] - account_bucket.taken >= 1 or account_bucket.left(rates[2], rates[3], now_ns) >= 1)
        and same_side < terms.side_max
        and (not other_side or not terms.self_cross or _misses(contract.best_own or _best_own(contract), limit, is_buy))
        and (terms.repeats_max == inf or activity.repeats.get(repeat, 0) < terms.repeats_max)
        and (
            not terms.duplicate_ns
            or activity.last_ns.get(terms.key, 0) < now_ns - terms.duplicate_ns
            or not activity.seen_ns(intent, now_ns - terms.duplicate_ns)
        )
        and (
            terms.per_fill_max is None
            or activity.orders.get(terms.strategy, 0) < ENOUGH_ORDERS
            or activity.orders[terms.strategy] / (activity.filled.get(terms.strategy, 0) + 1) <= terms.per_fill_max
        )
        and _fits(quantity, money, book, contract, terms, value, is_buy)
    )


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
) -> bool:
    """Return whether the worst case after the order is within every limit, the strategy's own included."""
    if terms.worth != book.worth_seen:
        terms.take_worth(book)
    sums, worst, worst_value = book.sums, contract.worst_quantity, contract.worst_value
    if worst_value is None:
        return False
    own, (up, down) = contract.by_strategy.get(terms.strategy), terms.work
    high, low = sums.net_high, sums.net_low
    if is_buy:
        end, up, high = contract.top + quantity, up + quantity, high + money
    else:
        end, down, low = quantity - contract.bottom, down + quantity, low - money
        if end > ZERO and not (terms.short_selling and (contract.lendable is None or end <= contract.lendable)):
            return False
    if high > terms.net_max or low < terms.net_min:
        return False
    if own:
        if (own < ZERO) is is_buy and only_reduced(contract, 1 if is_buy else -1) < quantity <= abs(own):
            return False  # it may only close what the strategy holds and the account does not
        up, down = up + own, down - own
    strategy_worst = up if up > down else down
    if strategy_worst > terms.strategy_max or strategy_worst * value > terms.strategy_money:
        return False
    if end <= worst:  # nothing is added to the contract's worst case
        return (
            worst <= terms.position_max
            and worst_value <= terms.money_max
            and sums.gross_worst <= terms.gross_max
            and (not terms.currency or sums.by_currency.get(terms.currency, ZERO) <= terms.currency_max)
        )
    end_value = end * value
    added = end_value - worst_value
    gross = sums.gross_worst + added
    return (
        end <= terms.position_max
        and end_value <= terms.money_max
        and gross <= terms.gross_max
        and (not added or (terms.power is not None and gross - sums.gross_position + book.filled_since <= terms.power))
        and (not terms.currency or sums.by_currency.get(terms.currency, ZERO) + added <= terms.currency_max)
    )


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

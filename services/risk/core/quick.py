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
from typing import TYPE_CHECKING, Any

from services.risk.core.positions import ContractExposure
from services.risk.core.quotes import Quote
from services.risk.core.rates import TokenBucket
from services.risk.core.rule import Rule
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
from services.risk.core.rules_state import DataStale, MessageRate, MoneyUnknown, OrderRate, WouldCrossZero
from services.risk.core.terms import HUGE, Terms
from shared.messages.orders import Intent, Side
from shared.money import ZERO

if TYPE_CHECKING:
    from services.risk.core.exposure import Book

COVERED: frozenset[type[Rule]] = frozenset({
    Incarnation, Expired, Account, TypeAllowed, TickSize, OrderQuantityMax, OrderNotionalMax, PriceCollar,
    MarketSlippage, WouldCrossZero, ShortSale, ShortUnavailable, ProtectionRequired, DataStale, MoneyUnknown,
    PositionMax, StrategyPositionMax, ExposureGrossMax, ExposureNetMax, ExposureCurrencyMax, Concentration, BuyingPower,
    CashMin, TurnoverDayMax, TradesDayMax, OpenOrdersMax, SelfCross, Duplicate, RepeatsMax, OrderEfficiency, OrderRate,
    MessageRate, MarginUnknown, MarginAfter,
})  # fmt: skip
"""The rules whose silence the proof shows; those about terms, for trouble, for modifies or groups come apart."""
_BUY = Side.BUY
_HUNDRED = Decimal(100)


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
        or contract.is_contested
        or book.readiness.settled_in != incarnation
    ):
        return None
    limit, quantity, is_buy = leg["limit_price"], leg["quantity"], leg["side"] is _BUY
    money = order_value = quantity * value
    if limit is None:
        is_fair = terms.slippage is None or _slips_little(quote, terms.slippage, is_buy)
    elif limit > mark:
        order_value = quantity * limit * terms.point
        is_fair = limit < HUGE and not limit % terms.tick and (not is_buy or _in_collar(limit - mark, mark, terms))
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
        and (book.messages.kept < terms.messages_max or book.messages.within(now_ns) < terms.messages_max)
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

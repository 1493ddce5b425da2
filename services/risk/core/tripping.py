"""Decide which breakers trip now: losses of the account and of a strategy, and rejections in a row.

Asked before each decision for the strategy that asks, and by the shell from time to time for all, so that a breaker
trips without an order too.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.breakers import Trip
from services.risk.core.exposure import Book
from services.risk.core.limits import LimitSet
from shared.money import ZERO

DAILY_LOSS = "daily_loss"
DRAWDOWN = "drawdown"
STRATEGY_LOSS = "strategy_loss"
STRATEGY_DRAWDOWN = "strategy_drawdown"
REJECTS = "rejects"
ACCOUNT = "account:"
"""Whose profit is due, beside strategies; no strategy has such a name."""
ASK_NS = 250_000_000
"""A strategy's profit is computed anew after this long: it is a sum over all it holds."""


def note_own_profit(book: Book, now_ns: int) -> None:
    """Compute our own figure of the account's profit and loss of the day, where it is due again."""
    if now_ns < book.profits_due_ns.get(ACCOUNT, 0):
        return
    book.profits_due_ns[ACCOUNT] = now_ns + ASK_NS
    book.activity.advance(now_ns)
    book.breakers.note_own(book.profits.of_all(book.contracts, now_ns), book.activity.started_ns)


def trip_account(book: Book, limits: LimitSet) -> None:
    """Trip the account's breakers that have reason to."""
    breakers, base = book.breakers, book.sums.base_currency
    if breakers.pnl_seen_for is limits:
        return
    breakers.pnl_seen_for = limits
    limit = limits.daily_loss_max
    if limit is not None and breakers.lost > limit and DAILY_LOSS not in breakers.trips:
        text = f"the account lost {_money(breakers.lost)} {base} in a day"
        breakers.trip(DAILY_LOSS, Trip(text, _money(limit), _money(breakers.lost), limits.daily_loss_rung))
    limit = limits.drawdown_max
    if limit is not None and breakers.drawdown > limit and DRAWDOWN not in breakers.trips:
        text = f"the account's profit of the day fell by {_money(breakers.drawdown)} {base} from its peak"
        breakers.trip(DRAWDOWN, Trip(text, _money(limit), _money(breakers.drawdown), limits.drawdown_rung))


def trip_strategy(book: Book, strategy: str, limits: LimitSet, now_ns: int) -> None:
    """Trip a strategy's breakers that have reason to.

    Args:
        book: the account.
        strategy: whose.
        limits: those of the strategy.
        now_ns: wall time.
    """
    rejects, most = book.activity.rejects.get(strategy), limits.rejects_max
    if rejects is not None and most is not None and rejects > most:
        text = f"the broker rejected {rejects} orders of strategy {strategy} in a row"
        book.breakers.trip(f"{REJECTS}:{strategy}", Trip(text, _money(most), str(rejects), limits.rejects_rung))
    limit, fall = limits.strategy_loss_max, limits.strategy_drawdown_max
    if (limit is None and fall is None) or now_ns < book.profits_due_ns.get(strategy, 0):
        return
    book.profits_due_ns[strategy] = now_ns + ASK_NS
    lost = book.profits.lost(strategy, book.contracts, now_ns)
    fell = book.profits.fell(strategy, -lost)
    if fall is not None and fell > fall:
        text = f"strategy {strategy}'s profit of the day fell by {_money(fell)} {book.sums.base_currency} from its peak"
        trip = Trip(text, _money(fall), _money(fell), limits.strategy_drawdown_rung)
        book.breakers.trip(f"{STRATEGY_DRAWDOWN}:{strategy}", trip)
    if limit is not None and lost > limit:
        text = f"strategy {strategy} lost {_money(lost)} {book.sums.base_currency} in the trading day"
        trip = Trip(text, _money(limit), _money(lost), limits.strategy_loss_rung)
        book.breakers.trip(f"{STRATEGY_LOSS}:{strategy}", trip)


def _money(value: Decimal) -> str:
    return f"{value if value else ZERO:.2f}".removesuffix(".00")

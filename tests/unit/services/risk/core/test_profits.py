"""A strategy's profit of the day: what it realised today and what is open, from its own executions."""

from __future__ import annotations

import pytest

from services.risk.core.days import TradingDay
from services.risk.core.decide import decide_by_rules
from services.risk.core.profits import Holding, Profits
from services.risk.core.tripping import ASK_NS
from shared.ids import UNASSIGNED
from shared.messages.account import AccountSnapshot, AccountTag, BookMove, JournalEntry, JournalKind
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    SECOND,
    D,
    fill_of,
    info,
    intent_of,
    limits_with,
    ready_book,
    report,
    set_price,
)

DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    ("trades", "position", "average", "realized"),
    [
        ([(10, 100), (10, 110)], 20, 105, 0),
        ([(10, 100), (-4, 110)], 6, 100, 40),
        ([(10, 100), (-10, 90)], 0, 100, -100),
        ([(10, 100), (-15, 110)], -5, 110, 100),
        ([(-10, 100), (4, 90)], -6, 100, 40),
        ([(-10, 100), (20, 110)], 10, 110, -100),
    ],
)
def test_average_cost(trades: list[tuple[int, int]], position: int, average: int, realized: int) -> None:
    holding = Holding()
    for quantity, price in trades:
        holding.take(D(quantity), D(price))
    assert (holding.position, holding.average, holding.realized) == (D(position), D(average), D(realized))


def test_open_and_realised_in_base_currency_and_a_new_day() -> None:
    book = ready_book()
    book.apply(info(4, multiplier=D(50)), NOW)
    set_price(book, 4, 98.0)
    fill_of(book, 1, 4, "BUY", 2, exec_id="a.01.01")
    fill_of(book, 2, 1, "BUY", 10, exec_id="b.01.01", price=D(101))
    fill_of(book, 3, 1, "SELL", 10, exec_id="c.01.01", price=D(103))
    assert book.profits.of("s", book.contracts, NOW) == 2 * -2 * 50 + 20
    assert book.profits.of("s", book.contracts, NOW + DAY) == -200, "what was realised was yesterday"
    assert book.profits.of("nobody", book.contracts, NOW) == 0 and book.profits.strategies == ["s"]


def test_a_correction_changes_the_profit_by_its_difference() -> None:
    book = ready_book()
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01.01", price=D(90))
    fill_of(book, 1, 1, "BUY", 4, exec_id="a.01.02", price=D(90))
    assert book.profits.of("s", book.contracts, NOW) == 40
    assert book.activity.trades == 1


def test_it_is_stored_and_restored() -> None:
    book = ready_book()
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01.01", price=D(90))
    again = Profits(TradingDay.of("17:00 America/New_York"))
    again.restore(book.profits.stored())
    assert again.stored() == book.profits.stored()
    assert again.of("s", book.contracts, NOW) == 100


def test_commissions_count_once_and_over_a_snapshot_and_begin_anew_with_the_day() -> None:
    profits = Profits(TradingDay.of("17:00 America/New_York"))
    for _ in range(2):
        profits.charged("s", "e1", D("1.50"), NOW)
    profits.charged("other", "e2", D("0.50"), NOW)
    again = Profits(TradingDay.of("17:00 America/New_York"))
    again.restore(profits.stored())
    again.charged("s", "e1", D("1.50"), NOW)
    for one in (profits, again):
        assert one.of("s", {}, NOW) == D("-1.50") and one.of_all({}, NOW) == D("-2.00")
    assert again.of_all({}, NOW + 86_400 * 10**9) == 0


@pytest.mark.parametrize(
    ("kind", "amount"),
    [
        (JournalKind.DEPOSIT, 90_000), (JournalKind.WITHDRAWAL, -90_000), (JournalKind.CREDIT, 90_000),
        (JournalKind.DEBIT, -90_000),
    ],
)  # fmt: skip
def test_money_that_is_paid_in_or_out_is_neither_profit_nor_loss(kind: JournalKind, amount: int) -> None:
    book = ready_book()
    limits = limits_with(daily_loss_max=1, drawdown_max=1, strategy_loss_max=1, strategy_drawdown_max=1)
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01.01")
    now = NOW
    worth = [
        AccountTag(tag=tag, value=str(100_000 + amount), currency="USD")
        for tag in ("NetLiquidation", "TotalCashValue", "BuyingPower")
    ]
    for step in (
        JournalEntry(account=ACCOUNT, kind=kind, amount=D(amount), currency="USD"),
        AccountSnapshot(account=ACCOUNT, currency="USD", values=tuple(worth)),
    ):
        book.apply(step, now)
        now += ASK_NS
        assert decide_by_rules(intent_of(2), book, limits, now).decision.approved
    assert book.profits.of_all(book.contracts, now) == 0 and not book.breakers.trips
    set_price(book, 1, 99.8)
    assert decide_by_rules(intent_of(3), book, limits, now + ASK_NS).decision.code == "RISK_DAILY_LOSS_MAX"


def test_a_split_is_neither_profit_nor_loss() -> None:
    book = ready_book()
    fill_of(book, 1, 1, "BUY", 300, exec_id="a.01.01")
    fill_of(book, 2, 1, "SELL", 30, exec_id="b.01.01", strategy="t")
    report(book, 1, 270)
    report(book, 1, 90)  # one for three, and nobody has said so yet
    set_price(book, 1, 306.0)
    assert book.profits.of("s", book.contracts, NOW) == 0, "shares and price may be of different terms"
    entry = JournalEntry(account=ACCOUNT, kind=JournalKind.SPLIT, con_id=1, quantity=D(-180))
    for _ in range(2):
        book.apply(entry, NOW)
    for owner, change in (("s", -200), ("t", 20)):
        move = BookMove(
            account=ACCOUNT, con_id=1, strategy=owner, quantity=D(change), who="gateway", taken_from=UNASSIGNED,
            move_id=owner,
        )  # fmt: skip
        book.apply(move, NOW)
    book.apply(BookMove(account=ACCOUNT, con_id=1, strategy=UNASSIGNED, quantity=D(-180), who="gateway"), NOW)
    assert book.contract(1).total == 90 and not book.contract(1).is_ahead
    assert book.profits.of("s", book.contracts, NOW) == 100 * (306 - 300)
    assert book.profits.of("t", book.contracts, NOW) == -10 * (306 - 300)

"""The cash journal: what moved beyond trades, once, with the kind that can be seen."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.cash import CENT, SETTLE_NS, CashJournal, CashMoved, cash_of
from shared.messages.account import JournalKind

D = Decimal
S = 1_000_000_000


class Watch:
    """A journal that is looked at in time."""

    def __init__(self, journal: CashJournal | None = None) -> None:
        self.journal = journal or CashJournal(base_currency="USD")
        self.now_ns = S

    def tell(self, cash: str, currency: str = "USD", **tags: str) -> None:
        self.journal.told("TotalCashBalance", currency, D(cash), self.now_ns)
        for tag, value in tags.items():
            self.journal.told(tag, currency, D(value), self.now_ns)

    def look(self, after_ns: int = 0) -> list[CashMoved]:
        self.now_ns += after_ns
        return self.journal.judge(self.now_ns)

    def settled(self) -> list[tuple[JournalKind, str, Decimal]]:
        assert self.look() == []
        return [(each.kind, each.currency, each.amount) for each in self.look(SETTLE_NS)]


@pytest.fixture
def watch() -> Watch:
    made = Watch()
    made.tell("1000", AccruedDividend="0", AccruedCash="0")
    assert made.settled() == []
    return made


def test_a_trade_is_no_entry(watch: Watch) -> None:
    watch.journal.flowed("USD", D(-250), watch.now_ns)
    watch.journal.flowed("USD", D("-1.05"), watch.now_ns)
    watch.now_ns += S
    watch.tell("748.95")
    assert watch.settled() == []


def test_cash_that_was_told_before_the_trade_is_waited_for(watch: Watch) -> None:
    watch.now_ns += 10 * S
    watch.journal.flowed("USD", D(-250), watch.now_ns)
    assert watch.look(SETTLE_NS * 4) == []
    watch.tell("750")
    assert watch.settled() == []


@pytest.mark.parametrize(("cash", "kind"), [("1500.5", JournalKind.CREDIT), ("990", JournalKind.DEBIT)])
def test_what_the_broker_does_not_explain_is_told_once(watch: Watch, cash: str, kind: JournalKind) -> None:
    watch.tell(cash)
    assert watch.settled() == [(kind, "USD", D(cash) - 1000)]
    assert watch.look(SETTLE_NS * 10) == []


@pytest.mark.parametrize(
    ("tag", "kind"), [("AccruedDividend", JournalKind.DIVIDEND), ("AccruedCash", JournalKind.INTEREST)]
)
def test_an_accrual_that_is_paid_says_what_it_was(watch: Watch, tag: str, kind: JournalKind) -> None:
    watch.tell("1000", **{tag: "24.5"})
    assert watch.settled() == [], "the accrual only grew"
    watch.journal.told(tag, "USD", D(0), watch.now_ns)
    assert watch.look() == []  # what is accrued and what is paid come in two messages
    watch.tell("1024.5")
    assert watch.settled() == [(kind, "USD", D("24.5"))]


def test_what_was_promised_has_its_kind_and_is_used_up(watch: Watch) -> None:
    watch.journal.promised(JournalKind.ASSIGNMENT, "USD", D(-15000), "100 at 150")
    watch.tell("-14000")
    assert watch.settled() == [(JournalKind.ASSIGNMENT, "USD", D(-15000))]
    watch.tell("-29000")
    assert watch.settled() == [(JournalKind.DEBIT, "USD", D(-15000))]


def test_two_currencies_that_were_exchanged(watch: Watch) -> None:
    watch.tell("0", "EUR", ExchangeRate="1.10")
    assert watch.settled() == []
    watch.tell("100", "EUR")
    watch.tell("890.2")
    assert watch.settled() == [(JournalKind.FX, "USD", D("-109.8")), (JournalKind.FX, "EUR", D(100))]


def test_while_a_future_is_held_cash_moves_without_an_entry(watch: Watch) -> None:
    watch.journal.is_blind = True
    watch.tell("1340")
    assert watch.settled() == []
    watch.journal.is_blind = False
    watch.tell("1300")
    assert watch.settled() == [(JournalKind.DEBIT, "USD", D(-40))]


def test_a_successor_finds_what_moved_while_nobody_led(watch: Watch) -> None:
    watch.journal.flowed("USD", D(-100), watch.now_ns)
    watch.now_ns += S
    watch.tell("900")
    assert watch.settled() == []
    successor = Watch(CashJournal(base_currency="USD"))
    successor.journal.restore(watch.journal.to_dict())
    successor.tell("907")
    assert successor.settled() == [(JournalKind.CREDIT, "USD", D(7))]


@given(st.lists(st.tuples(st.sampled_from(["trade", "event", "both"]), st.integers(-10_000, 10_000)), max_size=20))
def test_the_entries_add_up_to_what_moved_beyond_trades(steps: list[tuple[str, int]]) -> None:
    watch, cash, beyond, told = Watch(), D(5000), D(0), D(0)
    watch.tell("5000")
    watch.look()
    for kind, cents in steps:
        amount = D(cents) / 100
        if kind != "event":
            watch.journal.flowed("USD", amount, watch.now_ns)
            cash += amount
        if kind != "trade":
            beyond += amount
            cash += amount
        watch.now_ns += S
        watch.tell(str(cash))
        watch.look()
        told += sum((each.amount for each in watch.look(SETTLE_NS)), D(0))
        assert abs(told - beyond) < CENT


def test_what_a_trade_moves() -> None:
    assert cash_of("STK", 1, D(10), D(5), D(1)) == -50
    assert cash_of("OPT", -1, D(2), D("1.5"), D(100)) == 300
    assert cash_of("FUT", 1, D(1), D(5000), D(50)) is None

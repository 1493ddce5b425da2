"""Bars are a function of the trades: any order, any pauses, any restart give the same numbers."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.marketdata.core.bars import LENGTH_NS, BarRules, ContractBars
from services.marketdata.core.resume import Resumption, numbers_of, start_after
from shared.messages.market import Bar
from shared.sessions import SessionCalendar

S = 1_000_000_000
T0 = 1_763_984_400 * S
CALENDAR = SessionCalendar("UTC")
Trade = tuple[int, float, float]
TRADES = st.lists(
    st.tuples(
        st.integers(0, 100 * 1000).map(lambda ms: T0 + ms * 1_000_000),
        st.integers(9900, 10100).map(lambda cents: cents / 100),
        st.integers(0, 50).map(float),
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda trade: trade[0],
)


def naive(trades: list[Trade]) -> dict[str, tuple[Decimal, ...]]:
    """The obvious twin: sort, group, take first, max, min, last."""
    found: dict[str, tuple[Decimal, ...]] = {}
    for interval, length in LENGTH_NS.items():
        groups: dict[int, list[Trade]] = {}
        for trade in sorted(trades):
            groups.setdefault(trade[0] // length * length, []).append(trade)
        for open_ns, rows in groups.items():
            prices = [row[1] for row in rows]
            numbers = (prices[0], max(prices), min(prices), prices[-1], sum(row[2] for row in rows), len(rows))
            found[f"1:{interval}:{open_ns}"] = tuple(Decimal(str(number)) for number in numbers)
    return found


def latest(bars: list[Bar]) -> dict[str, tuple[Decimal, ...]]:
    return {
        bar.envelope_id(): tuple(Decimal(number) for number in numbers_of(bar)) for bar in bars if bar.interval != "1d"
    }


@given(trades=TRADES, pauses=st.lists(st.integers(0, 120), max_size=8))
def test_the_last_word_on_each_interval_is_the_naive_bar(trades: list[Trade], pauses: list[int]) -> None:
    bars = ContractBars(1, CALENDAR, BarRules(grace_ns=0), known_from_ns=1)
    out: list[Bar] = []
    for index, (ts_ns, price, size) in enumerate(trades):
        bars.on_trade(ts_ns, price, size, 1, out)
        if index < len(pauses):
            bars.advance(T0 + pauses[index] * S, out)
    bars.advance(T0 + 300 * S, out)
    assert latest(out) == naive(trades)
    first = [bar.envelope_id() for bar in out if not bar.is_revised]
    assert len(first) == len(set(first))


@given(trades=TRADES, cut=st.integers(0, 60), lost=st.integers(0, 5))
def test_a_restart_loses_and_doubles_nothing(trades: list[Trade], cut: int, lost: int) -> None:
    ordered = sorted(trades)
    rules = BarRules(grace_ns=0)
    before = ContractBars(1, CALENDAR, rules, known_from_ns=1)
    out: list[Bar] = []
    for trade in ordered[:cut]:
        before.on_trade(*trade, 1, out)
    bus = out[: max(0, len(out) - lost)]  # what was built and not published died with the process
    resumption = Resumption(start_after(bus), [bar for bar in bus if bar.ts_open_ns >= (start_after(bus) or 0)])
    after = ContractBars(1, CALENDAR, rules, known_from_ns=resumption.start_ns or 1)
    rebuilt: list[Bar] = []
    for trade in ordered:
        after.on_trade(*trade, 1, rebuilt)
    after.advance(T0 + 300 * S, rebuilt)
    bus += resumption.news(rebuilt)
    assert latest(bus) == naive(trades)
    first = [bar.envelope_id() for bar in bus if not bar.is_revised]
    assert len(first) == len(set(first))

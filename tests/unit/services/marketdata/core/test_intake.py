from __future__ import annotations

import pytest

from services.marketdata.core.bars import BarRules
from services.marketdata.core.intake import Intake
from shared.errors import DecodeError
from shared.messages.market import (
    FLAG_LATE,
    FLAG_SNAPSHOT,
    Bar,
    Tick,
    TickKind,
    pack_ticks,
    quote_tick,
    trade_tick,
)
from shared.sessions import SessionCalendar

S = 1_000_000_000
T0 = 1_763_984_400 * S


def intake() -> Intake:
    return Intake(BarRules(intervals=("1s",), grace_ns=0), lambda _: SessionCalendar(), lambda _: 1)


def trade(at_s: float, price: float, size: float = 1, flags: int = 0, init_s: float | None = None) -> Tick:
    init_ns = T0 + int((at_s if init_s is None else init_s) * S)
    return trade_tick(1, T0 + int(at_s * S), init_ns, 1, price, size, flags)


def closes(taken: Intake, ticks: list[Tick]) -> list[tuple[int, str]]:
    out: list[Bar] = []
    taken.apply(pack_ticks(ticks), out)
    taken.advance(T0 + 100 * S, out)
    return [((bar.ts_open_ns - T0) // S, str(bar.close)) for bar in out]


def test_quotes_make_snapshots_and_trades_make_bars_too() -> None:
    taken = intake()
    quote = quote_tick(1, T0, T0, 1, 9.9, 100, 10.1, 200)
    assert closes(taken, [quote, trade(0.5, 10.0, 7)]) == [(0, "10")]
    assert taken.last.take_dirty() == [1]
    assert taken.last.take_dirty() == []
    fields = taken.last.fields(1, "AAPL", None)
    assert (fields["bid"], fields["ask_size"], fields["last"], fields["last_size"]) == ("9.9", "200", "10", "7")
    assert taken.last.last_tick_ns == {1: T0 + S // 2}


def test_a_broken_batch_is_refused_whole() -> None:
    taken = intake()
    with pytest.raises(DecodeError):
        taken.apply(pack_ticks([trade(0, 10.0)]) + b"x", [])
    assert taken.bars == {}


def test_the_state_at_a_marker_is_no_trade_of_the_market() -> None:
    assert closes(intake(), [trade(0.5, 10.0), trade(0.6, 99.0, flags=FLAG_SNAPSHOT)]) == [(0, "10")]


def test_a_late_trade_counts_for_bars_but_is_no_last_price() -> None:
    taken = intake()
    closes(taken, [trade(1.5, 10.0), trade(0.5, 99.0, flags=FLAG_LATE)])
    assert taken.last.fields(1, "", None)["last"] == "10"


def test_a_time_far_ahead_of_our_receipt_is_not_believed() -> None:
    assert closes(intake(), [trade(3600, 10.0, init_s=0.5), trade(0.7, 11.0)]) == [(0, "11")]


def test_a_marker_makes_the_running_bars_incomplete() -> None:
    taken = intake()
    marker = Tick(1, T0 + S // 2, T0 + S // 2, TickKind.MARKER, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
    out: list[Bar] = []
    taken.apply(pack_ticks([trade(0.1, 10.0), marker, trade(0.7, 10.0), trade(1.2, 10.0)]), out)
    taken.advance(T0 + 5 * S, out)
    assert [bar.is_complete for bar in out] == [False, True]

from __future__ import annotations

from decimal import Decimal

from copilot_quant.cli.history import COLUMNS, bar_row
from shared.messages.requests import HistoryBar

ONE = Decimal("1.50")
BAR = HistoryBar(ts_ns=1_795_651_200_000_000_000, open=ONE, high=ONE, low=ONE, close=ONE, volume=Decimal(3), count=2)


def test_a_daily_bar_is_shown_with_its_date_alone_and_others_with_their_time() -> None:
    assert bar_row(BAR, daily=True)["time"] == "2026-11-26"
    assert str(bar_row(BAR, daily=False)["time"]).startswith("2026-11-26T00:00:00")


def test_prices_stay_exact_and_every_column_is_there() -> None:
    row = bar_row(BAR, daily=True)
    assert list(row) == COLUMNS
    assert (row["close"], row["volume"], row["vwap"], row["count"]) == (ONE, Decimal(3), None, 2)

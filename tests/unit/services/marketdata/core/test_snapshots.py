from __future__ import annotations

from services.marketdata.core.bars import DayState
from services.marketdata.core.snapshots import LastPrices, day_fields, day_from_fields
from shared.messages.market import FLAG_SNAPSHOT

DAY = DayState(1, 9, 10.5, 12.25, 9.0, 11.0, 1500.0, 16000.125, 42, 2, 8, 3, is_complete=False, upto_ns=7)


def test_a_running_day_is_read_back_as_it_was_written() -> None:
    stored = {name: value.encode() for name, value in day_fields(DAY).items()}
    assert day_from_fields(stored) == DAY


def test_a_day_that_is_gone_or_unreadable_is_none() -> None:
    assert day_from_fields({name: value.encode() for name, value in day_fields(None).items()}) is None
    assert day_from_fields({}) is None
    assert day_from_fields({**{name: b"1" for name in day_fields(DAY)}, "day_open": b"much"}) is None


def test_a_side_without_a_quote_is_empty_and_the_newest_kind_of_data_is_shown() -> None:
    last = LastPrices()
    nan = float("nan")
    last.quotes[1] = (1, 100, 100, 0, 1, 0, 0, 10.5, 3.0, nan, 0.0)
    last.trades[1] = (1, 200, 200, 1, 3, 0, 0, 10.25, 7.0, 0.0, 0.0)
    fields = last.fields(1, "AAPL", DAY)
    assert (fields["bid"], fields["ask"], fields["last"], fields["volume"]) == ("10.5", "", "10.25", "1500")
    assert (fields["quality"], fields["ts_ns"]) == ("DELAYED", "200")
    assert last.qualities() == {1: 3}


def test_what_the_start_of_a_subscription_repeats_is_not_fresh() -> None:
    last = LastPrices()
    last.quotes[1] = (1, 100, 110, 0, 1, FLAG_SNAPSHOT, 0, 10.5, 3.0, 10.6, 1.0)
    assert last.fields(1, "AAPL", None)["fresh_ns"] == "0"
    last.trades[1] = (1, 200, 210, 1, 1, 0, 0, 10.25, 7.0, 0.0, 0.0)
    last.quotes[1] = (1, 300, 310, 0, 1, FLAG_SNAPSHOT, 0, 10.5, 3.0, 10.6, 1.0)
    assert last.fields(1, "AAPL", None)["fresh_ns"] == "210"

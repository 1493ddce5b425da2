from __future__ import annotations

import pytest

from shared.bar_sizes import BAR_SIZES, parse_bar_size, parse_span_s
from shared.errors import BadInput


@pytest.mark.parametrize("name", BAR_SIZES)
def test_the_brokers_words_mean_themselves(name: str) -> None:
    assert parse_bar_size(name) == parse_bar_size(name.upper()) == name


@pytest.mark.parametrize(
    "short, name", [("1m", "1 min"), ("5m", "5 mins"), ("1d", "1 day"), ("1 days", "1 day"), ("30s", "30 secs"),
                    ("60s", "1 min"), ("60m", "1 hour"), ("2h", "2 hours")],
)  # fmt: skip
def test_short_forms(short: str, name: str) -> None:
    assert parse_bar_size(short) == name


@pytest.mark.parametrize("text", ["", "7m", "1w", "m", "1", "1 fortnight", "-1m", "0m", "1 minss", "٣m"])
def test_what_is_no_bar_size_lists_those_there_are(text: str) -> None:
    with pytest.raises(BadInput, match="5 mins"):
        parse_bar_size(text)


def test_spans_are_calendar_time() -> None:
    texts = ["3600 S", "30s", "30 D", "2w", "6 M", "1y", "4h"]
    assert [parse_span_s(text) for text in texts] == [
        3600, 30, 30 * 86_400, 14 * 86_400, 180 * 86_400, 365 * 86_400, 14_400,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "D", "30", "0 D", "30 parsecs", "-1 D", "1.5 D"])
def test_what_is_no_span_says_how_to_write_one(text: str) -> None:
    with pytest.raises(BadInput, match="30 D"):
        parse_span_s(text)

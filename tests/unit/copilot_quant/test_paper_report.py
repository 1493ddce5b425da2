from __future__ import annotations

from typing import Any

import pytest

from copilot_quant.paper_report import ASSUMPTIONS, Seen, as_markdown, is_as_assumed, redacted


def seen(**outcomes: Any) -> list[Seen]:
    return [Seen(key, outcomes.get(key, "as assumed"), f"evidence of {key}") for key in ASSUMPTIONS]


def test_what_could_not_be_seen_is_no_difference() -> None:
    assert is_as_assumed(seen()) and is_as_assumed(seen(commission="not seen"))
    assert not is_as_assumed(seen(commission="differs"))


def test_the_report_has_every_assumption_with_what_was_seen_and_counts() -> None:
    text = as_markdown(seen(commission="differs", position="not seen"), {"server version": "176"})
    for key, words in ASSUMPTIONS.items():
        assert words in text and f"evidence of {key}" in text
    assert f"{len(ASSUMPTIONS) - 2} as assumed, 1 differs, 1 not seen." in text and "report it" in text
    assert "report it" not in as_markdown(seen(), {})


@pytest.mark.parametrize("text", ["DUB267514", "U1234567", "on 10.0.0.5 for DU1234567"])
def test_no_account_and_no_address_is_left(text: str) -> None:
    shown = redacted(text, ["10.0.0.5"])
    assert not any(word in shown for word in ("DUB267514", "U1234567", "DU1234567", "10.0.0.5"))


def test_a_table_stays_a_table_whatever_the_broker_says() -> None:
    text = as_markdown([Seen("order_ref", "differs", "a|b\nc")], {})
    assert "a/b c |" in text

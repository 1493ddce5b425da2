from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.preflight import (
    ANSWERED_DAYS,
    CHECKED_DAYS,
    DAY_NS,
    ITEMS,
    Entry,
    Result,
    missing,
    read_result,
    result_file,
    write_result,
)

NOW = 1_800_000_000_000_000_000


def a_result(**changes: Entry) -> Result:
    """Return a result in which everything is in order but for the changes."""
    good = {item.key: Entry(item.key, "ok", "answered" if item.question else "checked", NOW, "fine") for item in ITEMS}
    return Result("live", "U1234567", NOW, tuple({**good, **changes}.values()))


def left(result: Result | None, now_ns: int = NOW) -> list[str]:
    return missing(result, mode="live", account="U1234567", now_ns=now_ns)


def test_the_list_is_that_of_the_guide() -> None:
    assert len(ITEMS) == 16 and len({item.key for item in ITEMS}) == 16


def test_nothing_is_missing_when_everything_is_in_order() -> None:
    assert left(a_result()) == []


def test_no_result_is_everything_missing() -> None:
    assert left(None) and "never" in left(None)[0]


@pytest.mark.parametrize("changes", [{"mode": "paper"}, {"account": "U7654321"}])
def test_a_result_of_another_account_or_mode_counts_for_nothing(changes: dict[str, str]) -> None:
    assert len(left(replace(a_result(), **changes))) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("state, by", [("bad", "checked"), ("bad", "answered"), ("open", "")])
def test_what_is_not_in_order_is_named(state: str, by: str) -> None:
    wrong = Entry("two_factor", state, by, NOW, "you said no")  # type: ignore[arg-type]
    assert left(a_result(two_factor=wrong)) == ["two-factor login: you said no"]


def test_an_item_that_has_no_entry_is_missing() -> None:
    whole = a_result()
    assert len(left(replace(whole, entries=whole.entries[1:]))) == 1


def test_checks_count_for_a_week_and_answers_for_a_quarter() -> None:
    checked = [item for item in ITEMS if not item.question]
    assert left(a_result(), NOW + CHECKED_DAYS * DAY_NS - 1) == []
    assert len(left(a_result(), NOW + CHECKED_DAYS * DAY_NS)) == len(checked)
    assert len(left(a_result(), NOW + ANSWERED_DAYS * DAY_NS)) == len(ITEMS)


def test_a_result_is_stored_for_its_owner_and_read_again(tmp_path: Path) -> None:
    path = result_file(tmp_path, "live")
    write_result(path, a_result())
    assert read_result(path) == a_result()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"entries": [{"key": 1}]}', '{"entries": 5}'])
def test_a_file_that_cannot_be_read_is_no_result(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert read_result(tmp_path / "x.json") is None

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from copilot_quant.cli.output import console, plain, print_json, print_rows, print_table


def test_exact_numbers_and_times_stay_exact_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"price": Decimal("0.10"), "at": datetime(2026, 11, 23, tzinfo=UTC), "name": "Ä"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"price": "0.10", "at": "2026-11-23 00:00:00+00:00", "name": "Ä"} and "Ä" in text
    assert plain(3) == 3


def test_a_table_without_rows_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("t", ["a"], [], empty="nothing here")
    assert capsys.readouterr().out.strip() == "nothing here"


def test_what_others_wrote_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    said = "[/x] see [red] and [AAPL]"
    print_table(said, ["a"], [[said]], empty="")
    console.print(f"halted: {said}", style="bold red")
    assert capsys.readouterr().out.count(said) == 3


def test_rows_are_a_table_or_json_and_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"name": "x" * 60, "count": Decimal(3), "more": None}]
    print_rows(rows, as_json=False, title="t", columns=["name", "count", "more"], empty="")
    assert "x" * 60 in capsys.readouterr().out
    print_rows(rows, as_json=True, title="t", columns=["name"], empty="")
    assert json.loads(capsys.readouterr().out) == [{"name": "x" * 60, "count": "3", "more": None}]

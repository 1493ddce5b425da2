from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tests.chaos import totals
from tests.chaos.checker import Findings
from tests.chaos.report import Report


def a_report(seed: int, *, orders: int = 10, wrong: bool = False, not_done: int = 0) -> Report:
    report = Report(seed, 60.0, 2.0, "make chaos", "a machine", lease_s=1.0, commit="abc", began="today")
    report.faults = [{"name": "kill_leader", "is_error": number < not_done} for number in range(5)]
    report.broker = {"orders": orders, "executions": orders - 1}
    report.judge(Findings(duplicates=["one: sent 2 times"] if wrong else []))
    return report


def test_runs_add_up_and_a_fault_that_was_not_carried_out_is_none(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "totals.json"
    totals.add(a_report(1, orders=10), path)
    rows = totals.add(a_report(2, orders=20, not_done=2), path)
    assert rows == json.loads(path.read_text())
    first, second = totals.lines(rows)[:2]
    assert "2 runs, 2 min, 8 faults, 30 orders at the broker, 28 executions" in first
    assert "lease 1 s" in first
    assert second.startswith("clean ones: 2 runs")


def test_a_run_that_is_not_clean_is_named_with_what_was_wrong_and_left_out_of_the_clean_ones(tmp_path: Path) -> None:
    path = tmp_path / "totals.json"
    totals.add(a_report(1), path)
    rows = totals.add(a_report(2, wrong=True), path)
    text = totals.lines(rows)
    assert text[1].startswith("clean ones: 1 runs")
    assert "duplicates: 1" in text
    assert text[-1] == "NOT CLEAN: seed 2 of abc: duplicates 1"


def test_a_run_that_broke_off_counts_as_not_clean(tmp_path: Path) -> None:
    report = Report(3, 60.0, 2.0, "make chaos", "a machine")
    rows = totals.add(report, tmp_path / "totals.json")
    assert totals.lines(rows)[-1].endswith("it did not come to its end")
    assert asdict(report)["findings"] == {}


def test_the_commit_is_the_one_of_this_repository() -> None:
    assert all(one in "0123456789abcdef+" for one in totals.commit())

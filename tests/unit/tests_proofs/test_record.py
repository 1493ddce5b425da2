from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import Findings
from tests.chaos.report import Report
from tests.chaos.stalls import Report as StallReport
from tests.proofs import record
from tests.support import ROOT


def a_row(began: str, **values: Any) -> record.Row:
    return {"proof": "simulation", "began": began, "from_seed": 0, "to_seed": 7, "failed": {}, **values}


def test_a_run_writes_its_line_again_as_it_goes_on_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.jsonl"
    record.put(a_row("2026-02", to_seed=7), path)
    record.put(a_row("2026-01", to_seed=3), path)
    record.put(a_row("2026-02", to_seed=15), path)
    assert [(row["began"], row["to_seed"]) for row in record.read(path)] == [("2026-01", 3), ("2026-02", 15)]
    assert len(path.read_text().splitlines()) == 2
    assert list(path.parent.iterdir()) == [path]


def test_lines_of_two_branches_merge_in_any_order_and_two_of_one_day_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    rows = [a_row("2026-02", seed=1), a_row("2026-01"), a_row("2026-02", seed=2)]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert [row["began"] for row in record.read(path)] == ["2026-01", "2026-02", "2026-02"]
    record.put(a_row("2026-02", seed=2, to_seed=99), path)
    assert sorted(row["to_seed"] for row in record.read(path)) == [7, 7, 99]


def test_runs_that_end_at_once_all_get_their_line(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    threads = [threading.Thread(target=record.put, args=(a_row(f"2026-{number:02}"), path)) for number in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(record.read(path)) == 12


def test_the_next_seed_follows_the_highest_recorded_one_wherever_it_was_run() -> None:
    assert record.next_seed([]) == 0
    rows = [a_row("1", from_seed=500, to_seed=999), a_row("2", to_seed=499), a_row("3", proof="chaos", to_seed=5000)]
    assert record.next_seed(rows) == 1000


def test_the_record_that_is_committed_can_be_read_and_merges_by_line() -> None:
    assert record.read()
    done = subprocess.run(
        ["git", "check-attr", "merge", "--", str(record.RECORD.relative_to(ROOT))],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip().endswith("merge: union")


def test_what_a_proof_writes_makes_no_other_system_of_the_one_that_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m1"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    clean = record.commit()
    assert len(clean) == 10
    for name in ("tests/proofs/record.jsonl", "docs/reference/proofs.md", "bench/failover.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("changed")
    assert record.commit() == clean
    (tmp_path / "services.py").write_text("changed")
    assert record.commit() == f"{clean}+"


def test_a_chaos_run_that_broke_off_keeps_no_findings_and_one_that_was_judged_their_counts() -> None:
    report = Report(1, 60.0, 2.0, "make chaos", "a machine", lease_s=1.0, commit="abc", began="today")
    assert (report.row()["findings"], report.row()["is_clean"]) == ({}, False)
    report.faults = [{"name": "kill_leader", "is_error": number < 2} for number in range(5)]
    report.broker = {"orders": 10, "executions": 9}
    report.judge(Findings(duplicates=["one: sent 2 times"]))
    row = report.row()
    assert (row["faults"], row["not_carried_out"], row["orders"], row["is_clean"]) == (5, 2, 10, False)
    assert (row["findings"]["duplicates"], row["findings"]["cash"]) == (1, 0)


def test_a_soak_is_in_the_record_from_its_beginning_and_judged_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    report = StallReport(1, "abc", "a machine", 10.0, began="today", record_file=path)
    report.write(tmp_path / "stalls.json")
    assert [(row["is_judged"], row["stalls"]) for row in record.read(path)] == [(False, 0)]
    report.stalls, report.verdict, report.is_clean = {"cpu risk": 3}, {"sent_twice": "0"}, True
    report.write(tmp_path / "stalls.json")
    assert [(row["is_judged"], row["stalls"]) for row in record.read(path)] == [(True, 3)]

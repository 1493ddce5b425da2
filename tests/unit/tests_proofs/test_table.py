from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.failover_report import Sample
from tests.proofs.record import Row
from tests.proofs.table import Line, as_markdown, known_seeds, lines, remarks

FINDINGS = {"duplicates": 0, "lost_fills": 0}


def shown(rows: list[Row], samples: list[Sample] | None = None) -> dict[str, Line]:
    return {line.what: line for line in lines(rows, samples or [], mutants=["no_fencing", "claim_after_send"])}


def seeds(first: int, last: int, *, commit: str = "a", **failed: str) -> Row:
    return {
        "proof": "simulation", "began": "2026-01-02T03:04:05Z", "commit": commit, "from_seed": first, "to_seed": last,
        "failed": {name.removeprefix("s"): text for name, text in failed.items()},
    }  # fmt: skip


def chaos(seed: int, *, orders: int = 10, findings: dict[str, int] | None = None, **values: Any) -> Row:
    found = FINDINGS if findings is None else findings
    return {
        "proof": "chaos", "began": "2026-01-03", "commit": "b", "seconds": 60.0, "seed": seed, "lease_s": 1.0,
        "faults": 5, "not_carried_out": 1, "orders": orders, "executions": 9, "takeovers": 2, "findings": found,
        "is_clean": bool(found) and not any(found.values()), **values,
    }  # fmt: skip


def test_nothing_is_there_while_nothing_was_recorded() -> None:
    table = shown([])
    assert not any(line.is_there for line in table.values())
    assert len(table) == 11


def test_a_seed_counts_once_however_often_it_ran_and_the_commits_are_counted() -> None:
    line = shown([seeds(0, 99), seeds(50, 149, commit="b"), seeds(500, 599)])["simulation"]
    assert line.shown == "250 seeds (2 commits, 2026-01-02), violations: 0"
    assert not line.is_there
    assert shown([seeds(0, 99_999)])["simulation"].is_there


def test_a_seed_that_broke_a_promise_is_in_the_way_until_each_test_run_plays_it() -> None:
    known = min(known_seeds())
    broken = shown([seeds(0, 99_999, s777777="P4 …")])["simulation"]
    assert "violations: 1 (seeds 777777; mended since and in each test run: none)" in broken.shown
    assert not broken.is_there
    assert shown([seeds(0, 99_999, **{f"s{known}": "P4 …"})])["simulation"].is_there


def test_the_seeds_that_are_kept_for_good_are_read_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text("# about\n11   # P7: why\n\n253\n")
    assert known_seeds(path) == {11, 253}


def test_the_newest_run_of_the_mutants_counts_and_who_was_not_noticed_is_named() -> None:
    rows = [
        {"proof": "mutants", "began": "1", "commit": "a", "caught": {"no_fencing": 3, "claim_after_send": 9}},
        {"proof": "mutants", "began": "2", "commit": "a", "caught": {"no_fencing": None}},
    ]
    assert shown(rows[:1])["mutants"].is_there
    line = shown(rows)["mutants"]
    assert not line.is_there
    assert line.shown == "1 caught (1 commit, 1 to 2); after 9 seeds at most (claim_after_send); not: no_fencing"


def test_chaos_runs_add_up_without_faults_not_carried_out_and_without_runs_not_judged() -> None:
    rows = [chaos(1, orders=19_990), chaos(2, lease_s=[1.0, 2.5], runs=8), chaos(3, orders=7, findings={})]
    table = shown(rows)
    assert table["chaos: faults"].shown.startswith("8 in 9 runs of 2 min at a lease of 1 s, 2.5 s (1 commit")
    assert table["chaos: orders at the broker"].shown == "20,000, 18 executions, 4 take-overs"
    assert table["chaos: orders at the broker"].is_there
    assert table["chaos: what was wrong"].is_there
    assert not table["chaos: faults"].is_there


def test_one_finding_of_one_run_is_shown_and_in_the_way() -> None:
    line = shown([chaos(1), chaos(2, findings={"duplicates": 1, "lost_fills": 0})])["chaos: what was wrong"]
    assert line.shown == "duplicates 1, lost fills 0"
    assert not line.is_there


def test_two_hours_of_stalls_are_one_run_of_two_hours_without_a_lost_lease() -> None:
    row = {
        "proof": "stalls", "began": "1", "commit": "", "seconds": 5400.0, "stalls": 9, "leases_lost": 0,
        "is_judged": True, "is_clean": True,
    }  # fmt: skip
    name = "stalls of disk and CPU"
    twice = shown([row, {**row, "began": "2"}])[name]
    assert not twice.is_there
    assert (
        twice.shown == "18 stalls in 180 min (commits not noted, 1 to 2); leases lost: 0; the longest clean run: 90 min"
    )
    assert shown([{**row, "seconds": 7201.0}])[name].is_there
    assert not shown([{**row, "seconds": 7201.0, "leases_lost": 1, "is_clean": False}])[name].is_there
    assert not shown([{**row, "seconds": 7201.0, "is_judged": False}])[name].is_there
    lossy, clean = {**row, "leases_lost": 1, "is_clean": False}, {**row, "seconds": 7201.0}
    assert shown([lossy, clean])[name].is_there and not shown([clean, lossy])[name].is_there
    assert "leases lost: 1; the longest clean run since then: 120 min" in shown([lossy, clean])[name].shown


def test_failovers_count_on_a_quiet_machine_only_and_the_tail_decides() -> None:
    fast = [Sample("SIGKILL", 900.0, 1200.0, load=1.0)] * 200
    slow = [Sample("SIGKILL", 2100.0, 1200.0, load=1.0)] * 5
    busy = [Sample("SIGKILL", 9000.0, 9000.0, load=20.0)]
    line = shown([], fast + busy)["failover: SIGKILL"]
    assert line.is_there
    assert line.shown.startswith("200 on a quiet machine; tick p50 900 ms, p99 900 ms; order p50 1200 ms")
    assert line.shown.endswith("1 beside other work, not counted")
    assert not shown([], fast + slow)["failover: SIGKILL"].is_there
    assert not shown([], fast[:199])["failover: SIGKILL"].is_there
    assert not shown([], [Sample("planned hand-over", 290.0, 310.0)] * 200)["failover: planned hand-over"].is_there
    assert shown([], [Sample("broker kick", None, 400.0)] * 200)["failover: broker kick"].is_there


def test_runs_in_which_something_was_wrong_and_notes_are_told() -> None:
    rows = [
        chaos(1), chaos(2, findings={"duplicates": 1}), chaos(3, findings={}, note="why"), seeds(0, 9, s5="P4 it hung"),
        {"proof": "stalls", "began": "2026-01-01", "commit": "", "seed": 4, "seconds": 60.0, "is_clean": False},
    ]  # fmt: skip
    assert remarks(rows) == [
        "chaos, 2026-01-03, commit b, seed 2, 10 orders: **duplicates 1**",
        "chaos, 2026-01-03, commit b, seed 3, 10 orders: **not judged to its end**: why",
        "simulation, 2026-01-02 03:04, commit a, seed 5: **P4 it hung**",
        "stalls, 2026-01-01, commit not noted, seed 4, 1 min: **not clean**",
    ]


def test_the_page_has_a_line_a_proof_and_says_what_is_not_there() -> None:
    text = as_markdown(list(shown([seeds(0, 99_999)]).values()), ["one thing"])
    assert (
        "| simulation | 100,000 seeds, no violation | 100,000 seeds (1 commit, 2026-01-02), violations: 0 | yes |"
        in text
    )
    assert "| **not yet** | `make stalls FOR=7200 RECORD=1` |" in text
    assert text.endswith("- one thing\n")

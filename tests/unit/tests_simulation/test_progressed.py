from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tests.simulation.__main__ as simulation
from tests.proofs import record
from tests.simulation.__main__ import Progressed, simulate


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record and a cache of the test's own, and no page written."""
    monkeypatch.setattr(record, "RECORD", tmp_path / "record.jsonl")
    monkeypatch.setattr(simulation, "write_page", lambda: None)
    return tmp_path


def recorded(own: Path, last: int) -> Path:
    path = own / "record.jsonl"
    record.put({"proof": "simulation", "began": "2026", "from_seed": 0, "to_seed": last, "failed": {}}, path)
    return path


def test_without_a_cache_it_goes_on_after_the_highest_recorded_seed(own: Path) -> None:
    path = recorded(own, 999)
    assert Progressed(None, None, cache=own / "cache").next == 1000
    assert Progressed(None, path, cache=own / "cache").next == 1000
    assert Progressed(7, path, cache=own / "cache").next == 7


def test_what_ran_without_being_recorded_counts_for_the_next_run_of_its_kind_only(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(own, 99)
    (own / "cache").write_text(json.dumps({"next": 500, "failed": {"3": "P4", "4": "P2"}}))
    monkeypatch.setattr(simulation, "failing", lambda seeds: [(seed, "P2 still") for seed in seeds if seed == 4])
    after = Progressed(None, None, cache=own / "cache")
    assert (after.next, after.failed) == (500, {"4": "P2 still"})  # seed 3 is mended since
    assert Progressed(None, path, cache=own / "cache").next == 100


def test_a_run_writes_one_row_that_grows_and_keeps_what_failed_at_once(own: Path) -> None:
    path = recorded(own, 99)
    run = Progressed(None, path, cache=own / "cache")
    run.ran([100, 101], [])
    assert len(record.read(path)) == 1  # not every few seeds
    run.ran([102], [(102, "P4 it hung")])
    row = record.read(path)[-1]
    assert (row["from_seed"], row["to_seed"], row["seeds"], row["failed"]) == (100, 102, 3, {"102": "P4 it hung"})
    run.ran([103], [])
    run.note()
    assert [(row["to_seed"], row.get("violations")) for row in record.read(path)] == [(99, None), (103, 1)]


def test_seeds_are_run_once_by_two_runs_of_which_the_second_has_no_cache(own: Path) -> None:
    path = own / "record.jsonl"
    for last in (1, 3):
        assert simulate(last, None, 1, path, cache=own / f"cache-{last}") == 0
    rows: list[dict[str, Any]] = record.read(path)
    assert [(row["from_seed"], row["to_seed"], row["violations"]) for row in rows] == [(0, 0, 0), (1, 2, 0)]
    assert simulate(3, None, 1, path, cache=own / "none") == 0
    assert len(record.read(path)) == 2

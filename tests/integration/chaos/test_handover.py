"""The short form of `make handover`: workers killed, stopped, added and drained while ticks flow at the simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos.handover import Report, add_to_totals, run

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.long, pytest.mark.timeout(300)]


async def test_no_event_is_skipped_and_no_order_doubled_whatever_happens_to_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    said: list[str] = []
    report = await run(10.0, 3, keep=False, tell=said.append)
    assert report.wrong == [] and report.sent_twice == 0, (report, said)
    assert report.kills and report.stops and report.intents and report.quotes > 100, (report, said)


def test_totals_go_on_from_run_to_run(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "totals.json"
    add_to_totals(Report(seconds=2.0, kills=3, wrong=["one"]), path)
    total = add_to_totals(Report(seconds=1.0, kills=1, ups=2), path)
    assert (total.seconds, total.kills, total.acts, total.wrong) == (3.0, 4, 6, ["one"])
    assert json.loads(path.read_text())["ups"] == 2 and "6 acts in 3 s" in total.text()

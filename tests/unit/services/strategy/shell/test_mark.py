from __future__ import annotations

from pathlib import Path

import pytest

from services.strategy.shell.mark import DEBUGGED, STUCK, Mark, Seen


def test_what_runs_is_shown_and_whose_it_was_stays() -> None:
    mark = Mark()
    assert mark.read() == Seen(0, "", "", is_running=False, is_stuck=False, is_debugged=False)
    mark.begin("dip/IBM", "on_quote")
    assert mark.read() == Seen(1, "dip/IBM", "on_quote", is_running=True, is_stuck=False, is_debugged=False)
    mark.flag(STUCK)
    assert mark.read().is_stuck and mark.read().is_running
    mark.flag(DEBUGGED)
    assert mark.read().is_debugged and not mark.read().is_stuck
    mark.end()
    assert (mark.read().calls, mark.read().unit, mark.read().is_running) == (1, "dip/IBM", False)


def test_nothing_is_flagged_when_nothing_runs_and_a_long_name_is_cut() -> None:
    mark = Mark()
    mark.flag(STUCK)
    assert not mark.read().is_stuck
    mark.begin("ä" * 300, "on_bar")
    assert mark.read().unit == "ä" * 120


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_is_measured_for_each_handler_once_asked_for() -> None:
    mark, kept = Mark(), []
    for unit, size in (("a", 0), ("b", 30_000_000), ("a", 1000)):
        mark.begin(unit, "on_quote")
        kept.append(b"x" * size)
        mark.end()
        assert mark.read().greediest == ""
    mark.measure()
    for unit, size in (("a", 1000), ("b", 30_000_000), ("a", 0)):
        mark.begin(unit, "on_quote")
        kept.append(b"x" * size)
        mark.end()
    assert mark.read().greediest == "b"

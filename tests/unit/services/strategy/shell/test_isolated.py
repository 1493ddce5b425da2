from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from services.strategy.shell.isolated import Isolated, instance_of, is_isolated_instance
from shared.clock import ManualClock
from tests.support import eventually

SLEEPS = (sys.executable, "-c", "import os, time; print(os.environ['CQ_INSTANCE']); time.sleep(60)")
ENDS = (sys.executable, "-c", "raise SystemExit(3)")


def test_the_name_says_whose_it_is_and_is_fit_for_a_key() -> None:
    assert instance_of("w1", "dip/FX:EUR.USD") == "w1+dip-FX-EUR.USD"
    assert is_isolated_instance("w1+dip-IBM") and not is_isolated_instance("w1")


async def test_each_unit_has_one_process_and_those_not_wanted_any_more_end() -> None:
    isolated = Isolated("w1", ManualClock(), SLEEPS)
    await isolated.follow(["dip/A", "dip/B"])
    first = dict(isolated.processes())
    await isolated.follow(["dip/A", "dip/B"])
    assert dict(isolated.processes()) == first and len(set(first.values())) == 2
    await isolated.follow(["dip/B"])
    assert list(isolated.processes()) == ["dip/B"]
    await isolated.end_all()
    assert isolated.units == []
    for pid in first.values():
        assert not Path(f"/proc/{pid}").exists() or not Path("/proc").exists()


async def test_what_ends_by_itself_begins_again_ever_more_rarely() -> None:
    clock = ManualClock()
    isolated = Isolated("w1", clock, ENDS)
    starts = []
    for _ in range(4):
        await isolated.ensure("dip/A")
        starts.append(isolated.processes()["dip/A"])
        await eventually(lambda: not os.path.exists(f"/proc/{starts[-1]}"), 10)
        await asyncio.sleep(0.05)
        await isolated.ensure("dip/A")
        assert isolated.processes() == {}
        clock.advance(0.4 * 2 ** (len(starts) - 1))
        await isolated.ensure("dip/A")
        assert isolated.processes() == {}
        clock.advance(0.2 * 2 ** (len(starts) - 1))
    assert len(set(starts)) == 4
    await isolated.end_all()


async def test_one_that_does_not_take_the_signal_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.strategy.shell.isolated.END_LIMIT_S", 0.3)
    stubborn = (sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    isolated = Isolated("w1", ManualClock(), stubborn)
    await isolated.ensure("dip/A")
    pid = isolated.processes()["dip/A"]
    await asyncio.sleep(0.3)
    await isolated.end("dip/A")
    assert isolated.units == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

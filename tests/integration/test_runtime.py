"""The one main of every service, as a real process: draining, refusing wrong settings, leaving with the right code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import ExitCode
from tests.support import SpawnedProcess, Spawner

Start = Callable[..., SpawnedProcess]

SERVICE = """
import asyncio, sys
from shared import runtime
from shared.errors import InvariantBroken, BusUnavailable, ConfigError
from shared.logs import get_logger
from shared.settings import CommonSettings

async def work():
    print("working", flush=True)
    await asyncio.Event().wait()

async def fail():
    await asyncio.sleep(0)
    raise {error}

async def drain():
    get_logger().info("toy.drained")
    await asyncio.sleep({drain})

async def main(settings):
    await runtime.serve(runtime.App("toy", {{"work": {loop}}}, drain=drain), settings)

runtime.run("toy", CommonSettings, main)
"""


@pytest.fixture
def toy(spawn: Spawner, tmp_path: Path) -> Start:
    def start(
        *, error: str = "None", loop: str = "work", drain: float = 0, env: dict[str, str] | None = None
    ) -> SpawnedProcess:
        path = tmp_path / "toy.py"
        path.write_text(SERVICE.format(error=error, loop=loop, drain=drain))
        root = str(Path(__file__).resolve().parents[2])
        return spawn.command([sys.executable, str(path)], env={"PYTHONPATH": root, **(env or {})})

    return start


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_drains_and_stops_cleanly(toy: Start, number: signal.Signals) -> None:
    process = toy()
    process.wait_for_output("working")
    process.signal(number)
    assert process.wait() == ExitCode.OK
    output = process.output
    assert output.index("service.stopping") < output.index("toy.drained") < output.index("service.stopped")


@pytest.mark.process
def test_a_drain_that_hangs_is_cut(toy: Start) -> None:
    process = toy(drain=60, env={"CQ_DRAIN_S": "0.2"})
    process.wait_for_output("working")
    process.signal(signal.SIGTERM)
    assert process.wait() == ExitCode.OK
    assert "service.drain_cut" in process.output


@pytest.mark.process
@pytest.mark.parametrize(
    "error, code",
    [
        ("InvariantBroken('a bug')", ExitCode.INTERNAL),
        ("ZeroDivisionError('a bug')", ExitCode.INTERNAL),
        ("BusUnavailable('away')", ExitCode.UNAVAILABLE),
        ("ConfigError('wrong')", ExitCode.CONFIG),
    ],
)
def test_a_failed_loop_stops_the_service_with_its_code(toy: Start, error: str, code: ExitCode) -> None:
    process = toy(error=error, loop="fail")
    assert process.wait() == code


@pytest.mark.process
def test_wrong_settings_refuse_the_start_all_at_once(toy: Start) -> None:
    process = toy(env={"CQ_LOG_LEVEL": "loud", "CQ_HTTP_PORT": "-1", "CQ_DEPLOYMENT": "sim"})
    assert process.wait() == ExitCode.CONFIG
    assert "CQ_LOG_LEVEL" in process.output and "CQ_HTTP_PORT" in process.output

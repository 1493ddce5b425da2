from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.local.books import Verdict
from copilot_quant.local.demo import DemoOptions
from copilot_quant.local.failover_story import Story
from copilot_quant.local.run_file import RunningSystem, write_run_file
from copilot_quant.local.supervision import ProcessInfo
from copilot_quant.local.system import LocalOptions
from shared.errors import CqError
from shared.settings import Mode
from tests.support import ROOT
from tests.unit.copilot_quant.cli.conftest import Typed, World

Cq = Callable[..., Typed]
STRATEGIES = str(ROOT / "strategies" / "strategies.toml")


@pytest.fixture
def demos(monkeypatch: pytest.MonkeyPatch) -> list[DemoOptions]:
    """The demos that were started."""
    started: list[DemoOptions] = []

    async def run_demo(options: DemoOptions, console: object) -> int:
        started.append(options)
        return 1

    monkeypatch.setattr("copilot_quant.cli.running.run_demo", run_demo)
    return started


class FakeSystem:
    """A local system of which only the start is seen."""

    started: list[LocalOptions]
    stopped = 0

    def __init__(self, options: LocalOptions, directory: Path) -> None:
        self.options, self.run_dir, self.status_page = options, directory, "http://page/"
        self.supervisor = self
        self.is_running = False

    def processes(self) -> list[ProcessInfo]:
        return []

    async def start(self, progress: Callable[[str], None]) -> None:
        type(self).started.append(self.options)
        progress("starting")

    def operator_env(self) -> dict[str, str]:
        return {}

    def stop(self) -> None:
        type(self).stopped += 1


@pytest.fixture
def systems(world: World, monkeypatch: pytest.MonkeyPatch) -> list[LocalOptions]:
    """The systems that `cq up` started."""
    FakeSystem.started = []
    monkeypatch.setattr("copilot_quant.cli.running.LocalSystem", FakeSystem)
    monkeypatch.setattr("copilot_quant.cli.running.open_desk", world.open_desk)
    return FakeSystem.started


def test_the_demo_gets_what_was_typed_and_its_status_is_ours(demos: list[DemoOptions], cq: Cq, tmp_path: Path) -> None:
    day = tmp_path / "day.csv.gz"
    day.touch()
    words = ["--for", "60", "--replay", f"{day}, {day}", "--speed", "60", "--seed", "3", "--keep"]
    assert cq("demo", *words, "--strategies", STRATEGIES).status == 1
    (options,) = demos
    assert (options.seconds, options.speed, options.seed, options.keep_files) == (60.0, 60.0, 3, True)
    assert options.replay == (day, day) and not options.is_interactive


@pytest.mark.parametrize("words", [["--replay", "nowhere.csv"], ["--strategies", "nowhere.toml"]])
def test_a_file_that_is_missing_stops_the_demo_before_it_begins(
    demos: list[DemoOptions], cq: Cq, words: list[str]
) -> None:
    done = cq("demo", *words)
    assert done.status == 78 and "nowhere" in done.err and not demos


def test_up_opens_with_mode_account_port_and_then_the_status(world: World, systems: list[LocalOptions], cq: Cq) -> None:
    world.mode = Mode.PAPER
    world.keys = World(Mode.PAPER).keys
    world.beat("gateway", role="leader", epoch=3, link="READY")
    done = cq("up", "--strategies", STRATEGIES, "--workers", "3", "--gateways", "1")
    lines = done.out.splitlines()
    assert lines[0] == "PAPER  account DU1234567  broker 127.0.0.1:7497"
    assert "gateway-1 leads (epoch 3), link READY" in done.out and "no positions" in done.out
    (options,) = systems
    assert (options.workers, options.gateways, options.simulator) == (3, 1, None)
    assert options.data_dir is not None and options.data_dir.parts[-2:] == (".cq", "paper")
    assert done.status == 1 and "process supervisor ended" in done.err and FakeSystem.stopped


def test_up_gives_the_services_the_settings_it_has_read(
    world: World, systems: list[LocalOptions], cq: Cq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.beat("gateway", role="leader", epoch=3, link="READY")
    file = tmp_path / "my.env"
    file.write_text("MAX_POSITION_SIZE=7\n")
    monkeypatch.setenv("CQ_ENV_FILE", str(file))
    cq("up", "--strategies", STRATEGIES)
    monkeypatch.setenv("CQ_ENV_FILE", "")
    cq("up", "--strategies", STRATEGIES)
    assert [options.env_file for options in systems] == [file, None]


@pytest.mark.parametrize("words", [("up",), ("demo", "--for", "1"), ("demo", "failover")])
def test_no_second_system_is_started_where_one_runs(
    words: tuple[str, ...], cq: Cq, systems: list[LocalOptions], demos: list[DemoOptions], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as guard:
        address = f"http://127.0.0.1:{guard.getsockname()[1]}"
        write_run_file(RunningSystem(os.getpid(), "/run", "live", "", "", address, {}), tmp_path)
        done = cq(*words, "--strategies", STRATEGIES)
    assert done.status == 77 and "live mode" in done.err and not systems and not demos


def test_a_limits_file_that_is_missing_stops_up_before_it_begins(cq: Callable[..., Typed], world: World) -> None:
    done = cq("up", "--limits", "none.toml")
    assert done.status == 78 and done.err == "cq: --limits: there is no file 'none.toml'\n"


@pytest.mark.parametrize("answer", ["y\n", "U0000000\n", ""])
def test_up_in_live_asks_for_the_account(world: World, systems: list[LocalOptions], cq: Cq, answer: str) -> None:
    world.mode = Mode.LIVE
    done = cq("up", "--strategies", STRATEGIES, stdin=answer)
    assert done.status in (1, 78) and not systems


def test_the_simulator_alone_gets_the_arguments(cq: Cq, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Any] = []

    def execv(program: str, arguments: list[str]) -> None:
        became.append(arguments)
        raise CqError("it would run now")

    monkeypatch.setattr(os, "execv", execv)
    assert cq("simulator", "--port", "5000", "--seed", "3").status == 1
    assert became[0][1:] == ["-m", "services.simulator", "--port", "5000", "--seed", "3"]


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_the_failover_demo_exits_with_its_verdict(
    cq: Cq, monkeypatch: pytest.MonkeyPatch, lost: int, status: int
) -> None:
    async def run_failover_demo(strategies: str, progress: Callable[[str], None], *, keep_files: bool) -> Story:
        progress("starting")
        verdict = Verdict(orders=2, executions=2, fills_lost=lost)
        return Story("gateway-1", "gateway-2", (), (-1.0, 5.0), (), -1.0, 5.0, 4.0, 3.0, 0, 0, verdict)

    monkeypatch.setattr("copilot_quant.cli.running.run_failover_demo", run_failover_demo)
    done = cq("demo", "failover", "--strategies", STRATEGIES)
    assert done.status == status and "starting" in done.out
    done = cq("demo", "failover", "--strategies", STRATEGIES, "--json")
    assert done.status == status and done.json["verdict"]["fills_lost"] == lost and "starting" in done.err

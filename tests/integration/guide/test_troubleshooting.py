"""The six entries of the guide's troubleshooting chapter, made by the simulator's faults, found by `cq doctor`.

Each command is the real one, in a process of its own: it has to end by itself, say cause and cure, and end with a
status that is not 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import SpawnedProcess, Spawner, clean_environment, eventually_sync, free_port

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(240)]
UNAVAILABLE, REFUSED = 69, 77
LIMIT_S = 60.0
GREEDY = """
from ib_insync import IB, Stock

ib = IB()
ib.connect("127.0.0.1", {port}, clientId=77)
asked = 0
for symbol in ("AAPL", "MSFT", "SPY"):
    for what in ("TRADES", "MIDPOINT", "BID", "ASK"):
        for minutes in range(1, 6):
            stock = Stock(symbol, "SMART", "USD")
            asked += bool(ib.reqHistoricalData(stock, "", f"{{minutes * 60}} S", "5 secs", what, False))
print(asked, "requests", flush=True)
"""
"""Another program of the same login: five requests of each kind and contract, which is what IB lets through at once."""


class Desk:
    """One folder with a simulated TWS, its faults, and `cq` beside it."""

    def __init__(self, spawn: Spawner, folder: Path, **simulator: str) -> None:
        self._spawn, self._folder = spawn, folder
        self.port, self.http = free_port(), free_port()
        self._settings = {"SIM_ACCOUNTS": "DUB267514", "SIM_TICK_RATE": "5", **simulator}
        self._tws: SpawnedProcess | None = None
        self._system: SpawnedProcess | None = None

    @property
    def env(self) -> Mapping[str, str]:
        return {"IB_PAPER_ACCOUNT": "DUB267514", "IB_PAPER_PORT": str(self.port)}

    def open(self) -> None:
        env = {"SIM_PORT": str(self.port), "SIM_HTTP_PORT": str(self.http), **self._settings}
        self._tws = self._spawn("services.simulator", env=env, name=f"tws-{self.port}")
        self._tws.wait_for_output("exchange.opened", 60)

    def up(self, **env: str) -> None:
        """Start the system and wait until it leads, or for `env` that stops that, until it has tried."""
        words = [sys.executable, "-m", "copilot_quant.cli", "up", "--gateways", "1", "--workers", "1"]
        strategies = self._folder / "none.toml"
        strategies.write_text("")
        words += ["--strategies", str(strategies)]
        self._system = self._spawn.command(words, env={**self.env, **env}, name=f"up-{self.port}")
        self._system.wait_for_output("status page", 90)

    def fault(self, name: str, **parameters: Any) -> None:
        words = [f"{key}={value}" for key, value in parameters.items()]
        done = self.cq("simulator", "do", name, *words, "--http-port", str(self.http))
        assert done.returncode == 0, done.stdout + done.stderr

    def cq(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Type a command; it has to end by itself."""
        command = [sys.executable, "-m", "copilot_quant.cli", *words]
        whole = clean_environment({**self.env, **env})
        return subprocess.run(
            command,
            cwd=self._folder,
            env=whole,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            stdin=subprocess.DEVNULL,
        )

    def findings(self, command: str = "doctor", **env: str) -> tuple[int, dict[str, dict[str, str]]]:
        done = self.cq(command, "--json", **env)
        rows = json.loads(done.stdout)
        wrong = sorted(rows, key=lambda row: {"ok": 0, "warn": 1, "bad": 2}[row["state"]])
        return done.returncode, {row["name"]: row for row in wrong}

    def preflight(self) -> tuple[int, dict[str, dict[str, str]]]:
        done = self.cq("preflight", "--no-ask", "--json")
        return done.returncode, {row["item"]: row for row in json.loads(done.stdout)["items"]}


@pytest.fixture(scope="module")
def spawner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawner]:
    spawner = Spawner(tmp_path_factory.mktemp("trouble"))
    yield spawner
    spawner.close()


@pytest.fixture(scope="module")
def desk(spawner: Spawner) -> Desk:
    """A system that runs, on paper."""
    one = Desk(spawner, spawner.directory)
    one.open()
    one.up()
    done = one.cq("resume", "--reason", "test")
    assert done.returncode == 0, done.stderr
    return one


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Desk]:
    """Only a TWS, which each test breaks in its own way."""
    spawner = Spawner(tmp_path)
    yield Desk(spawner, tmp_path)
    spawner.close()


# ------------------------------------------------------------------------------------- 1: connection refused


def test_nobody_there(alone: Desk) -> None:
    status, found = alone.findings("connect")
    assert status == UNAVAILABLE and found["connection"]["state"] == "bad"
    assert "Socket Clients" in found["connection"]["cure"] and str(alone.port) in found["connection"]["cure"]


def test_a_port_that_refuses_while_tws_restarts(alone: Desk) -> None:
    alone.open()
    alone.fault("restart", seconds=20)
    status, found = alone.findings("connect")
    assert status == UNAVAILABLE and "nothing answers" in found["connection"]["text"]


# ------------------------------------------------------------------------------------------ 2: authentication


def test_a_login_that_is_not_finished(alone: Desk) -> None:
    alone.open()
    alone.fault("hang", seconds=30)
    status, found = alone.findings("connect")
    assert status == UNAVAILABLE and found["API"]["state"] == "bad"
    assert "login" in found["API"]["cure"] and "dialog" in found["API"]["cure"]


def test_another_login_than_the_settings_name(alone: Desk) -> None:
    alone.open()
    status, found = alone.findings("connect", IB_PAPER_ACCOUNT="DU999999")
    assert status == UNAVAILABLE and "IB_PAPER_ACCOUNT" in found["account"]["cure"]


def test_a_live_login_in_paper_mode(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)
    live = Desk(spawner, tmp_path, SIM_ACCOUNTS="U1234567")
    live.open()
    status, found = live.findings("connect")
    spawner.close()
    assert status == UNAVAILABLE and found["mode"]["state"] == "bad" and "port" in found["mode"]["cure"]


# ---------------------------------------------------------------------------------------------- 3: market data


def test_data_farms_that_are_broken(alone: Desk) -> None:
    alone.open()
    alone.fault("farm_flap", times=500, interval_s=0.1)
    _, found = alone.findings("connect")
    assert found["data farm"]["state"] == "warn" and "comes back by itself" in found["data farm"]["cure"]


@pytest.mark.parametrize(
    "permission, words, cure", [("none", "354", "subscri"), ("delayed", "delayed", "subscription")]
)
def test_data_that_are_not_subscribed(tmp_path: Path, permission: str, words: str, cure: str) -> None:
    spawner = Spawner(tmp_path)
    poor = Desk(spawner, tmp_path, SIM_DATA=permission)
    poor.open()
    _, found = poor.findings("connect")
    spawner.close()
    assert found["data AAPL"]["state"] == "warn" and cure in found["data AAPL"]["cure"], found["data AAPL"]
    assert words in found["data AAPL"]["text"] or permission == "none", found["data AAPL"]


# ------------------------------------------------------------------------------- 4, 5, 6: beside a running system


def test_a_healthy_system_has_nothing_wrong(desk: Desk) -> None:
    def healthy() -> bool:
        status, found = desk.findings()
        bad = {name: row for name, row in found.items() if row["state"] == "bad"}
        assert not bad, bad
        return status == 0

    eventually_sync(healthy, 60)


def test_an_order_that_the_broker_refuses_says_why_and_what_to_do(desk: Desk) -> None:
    assert desk.cq("contract", "show", "AAPL").returncode == 0
    desk.fault("price_limits", symbol="AAPL", low=100000)
    done = desk.cq("order", "buy", "AAPL", "1", "--limit", "100")
    desk.fault("price_limits", symbol="AAPL")
    assert done.returncode == REFUSED and done.stderr.startswith("cq: "), (done.stdout, done.stderr)
    _, found = desk.findings()
    assert any(name.startswith("rejected by") for name in found), found
    row = next(row for name, row in found.items() if name.startswith("rejected by"))
    assert row["cure"] and ("AAPL" in row["text"] or row["name"] == "rejected by risk")


def test_an_order_that_a_limit_refuses_is_said_to_be_refused_by_risk(desk: Desk) -> None:
    done = desk.cq("order", "buy", "AAPL", "100000")
    assert done.returncode == REFUSED and "RISK_" in done.stderr
    _, found = desk.findings()
    assert "cq limits show" in found["rejected by risk"]["cure"]


def test_lost_connectivity_between_tws_and_ib(desk: Desk) -> None:
    desk.fault("outage", seconds=8, code=1102, repeat_s=0.5)

    def told() -> Any:
        return next((row for name, row in desk.findings()[1].items() if name.startswith("link of")), None)

    row = eventually_sync(told, 20)
    assert "1100" in row["text"] and "reconnects by itself" in row["cure"]
    eventually_sync(lambda: told() is None, 40)


def test_another_program_that_uses_up_the_allowance_of_history(desk: Desk, spawner: Spawner) -> None:
    """Sixty requests of small bars in ten minutes are for the whole login."""
    greedy = spawner.command([sys.executable, "-c", GREEDY.format(port=desk.port)], name="greedy")
    greedy.wait_for_output("60 requests", 60)
    done = desk.cq("history", "AAPL", "1800 S", "5 secs")
    assert done.returncode != 0 and "162" in done.stderr and "Traceback" not in done.stderr, (done.stdout, done.stderr)
    _, found = desk.findings()
    row = found["pacing"]
    assert row["state"] == "warn" and "162" in row["text"] and "5 secs" in row["text"], row
    assert "another program" in row["cure"] and "ten minutes" in row["cure"], row
    _, checklist = desk.preflight()
    assert (checklist["pacing"]["state"], "162" in checklist["pacing"]["text"]) == ("bad", True), checklist["pacing"]


def test_a_read_only_tws_says_what_to_untick(tmp_path: Path) -> None:
    spawner = Spawner(tmp_path)
    one = Desk(spawner, tmp_path, SIM_READ_ONLY="true")
    one.open()
    one.up()
    assert one.cq("resume", "--reason", "test").returncode == 0
    done = one.cq("order", "buy", "AAPL", "1")
    _, found = one.findings()
    spawner.close()
    assert done.returncode == REFUSED and "321" in done.stderr, (done.stdout, done.stderr)
    assert "Read-Only API" in found["rejected by broker"]["cure"]


def test_a_client_id_that_somebody_has(tmp_path: Path) -> None:
    """Another program holds the gateway's id from before the start."""
    spawner = Spawner(tmp_path)
    one = Desk(spawner, tmp_path)
    one.open()
    code = (
        "import sys, time; from ib_insync import IB; ib = IB(); "
        f"ib.connect('127.0.0.1', {one.port}, clientId=1); print('has it', flush=True); ib.sleep(120)"
    )
    spawner.command([sys.executable, "-c", code], name="other").wait_for_output("has it", 30)
    one.up()
    status, found = one.findings()
    spawner.close()
    assert status == UNAVAILABLE
    words = " ".join(f"{row['text']} {row['cure']}" for row in found.values() if row["state"] != "ok")
    assert "client id" in words and "in use" in words and "IB_" in words, found

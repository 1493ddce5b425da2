"""`cq demo` as a person runs it: it ends well by itself, and nothing of it stays when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from copilot_quant.local.run_file import read_run_file
from tests.support import ROOT, SpawnedProcess, Spawner, clean_environment, eventually_sync

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(240)]
STRATEGIES = str(ROOT / "strategies" / "strategies.toml")


def processes_with(marker: str) -> list[str]:
    """Return the command lines of the living processes whose environment or arguments hold a text."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            content = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if folder.name != str(os.getpid()) and marker.encode() in content:
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # no process, or it ended meanwhile; a zombie has an empty environment
    return found


def start_demo(spawn: Spawner, folder: Path, marker: str) -> SpawnedProcess:
    env = {"CQ_TEST_MARKER": marker, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    arguments = ("demo", "--for", "300", "--strategies", STRATEGIES)
    demo = spawn("copilot_quant.cli", *arguments, env=env)
    demo.wait_for_output("leads, link READY", 70)
    return demo


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by their environment")
def test_a_killed_demo_leaves_no_process_and_no_file(spawn: Spawner, tmp_path: Path) -> None:
    marker, folder = f"cq-test-{os.getpid()}", tmp_path / "tmp"
    folder.mkdir()
    demo = start_demo(spawn, folder, marker)
    system = read_run_file(tmp_path)
    assert system is not None and Path(system.run_dir).is_dir()
    assert len(processes_with(marker)) >= 12, processes_with(marker)
    demo.signal(signal.SIGKILL)
    eventually_sync(lambda: not processes_with(marker), 60)
    eventually_sync(lambda: not Path(system.run_dir).exists(), 10)
    assert not (tmp_path / ".cq").exists()
    assert not list(folder.glob("cq-*"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SpawnedProcess, Path]]:
    """A demo that runs, and the folder in which commands find it."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "tmp").mkdir()
    spawner = Spawner(folder)
    try:
        yield start_demo(spawner, folder / "tmp", f"cq-test-{os.getpid()}-c"), folder
    finally:
        spawner.close()


def cq(folder: Path, *words: str, may_expire: bool = False) -> Any:
    """Type a command beside the demo; return its JSON. An order may be too late on a machine that is busy."""
    command = [sys.executable, "-m", "copilot_quant.cli", *words, "--json"]
    env = clean_environment()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    if may_expire and "EXPIRED" in done.stderr:
        return json.loads(done.stdout)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def diagnosis(folder: Path) -> list[dict[str, str]]:
    """Return what `cq doctor` finds; right after the start no price may have come yet, which it calls bad."""
    command = [sys.executable, "-m", "copilot_quant.cli", "doctor", "--json"]
    done = subprocess.run(command, cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=60)
    findings: list[dict[str, str]] = json.loads(done.stdout)
    print(*(one for one in findings if one["state"] == "bad"), sep="\n")
    return findings


def test_commands_find_the_demo_and_trade_beside_it(running: tuple[SpawnedProcess, Path]) -> None:
    _, folder = running
    looked = cq(folder, "status")
    assert looked["mode"] == "sim" and looked["link"] == "READY" and looked["halt"] == "none"
    broker = {row["name"]: row for row in cq(folder, "connect")}
    assert {"connection", "API", "account", "positions"} <= set(broker) and "prices come" in str(broker)
    eventually_sync(lambda: {row["state"] for row in diagnosis(folder)} <= {"ok", "warn"}, 60)
    assert "MSFT" in str(cq(folder, "contract", "find", "MSFT"))
    info = cq(folder, "contract", "show", "MSFT")
    placed: dict[str, str] = {}

    def is_filled() -> bool:
        placed.update(cq(folder, "order", "buy", info["name"], "3", "--strategy", "by-hand", may_expire=True))
        return placed["state"] == "filled"

    eventually_sync(is_filled, 60)
    (fill,) = [row for row in cq(folder, "fills") if row["strategy"] == "by-hand"]
    assert fill["intent_id"] == placed["intent_id"] and fill["quantity"] == "3"
    resting = cq(folder, "order", "buy", info["name"], "1", "--limit", "1", "--tif", "GTC")
    assert resting["state"] in ("working", "rejected"), resting
    assert cq(folder, "halt", "--reason", "test")["stage"] in ("holding", "clean")
    assert cq(folder, "resume", "--reason", "test")["stage"] == "none"


def test_garbage_by_redis_cli_is_kept_apart_and_trading_goes_on(running: tuple[SpawnedProcess, Path]) -> None:
    """What cannot be read in `control` might have been a halt, and counts as one until a person resumes (P10)."""
    _, folder = running
    system = read_run_file(folder)
    assert system is not None
    with redis.Redis.from_url(system.env["REDIS_URL"]) as client:

        def spoil(*names: str) -> None:
            garbage: Any = {"type": "nonsense", "body": "garbage"}
            sent = {(f"cq:sim:{name}", client.xadd(f"cq:sim:{name}", garbage).decode()) for name in names}

            def are_kept() -> bool:
                rows = [fields for _, fields in client.xrange("cq:sim:dead-letter")]
                return sent <= {(row[b"key"].decode(), row[b"id"].decode()) for row in rows}

            eventually_sync(are_kept, 60)

        def is_filled(side: str) -> bool:
            return str(cq(folder, "order", side, "MSFT", "1", may_expire=True)["state"]) == "filled"

        spoil("intents", "cancels", "queries")
        eventually_sync(lambda: is_filled("buy"), 60)
        spoil("control")
        eventually_sync(lambda: cq(folder, "status")["halt"] in ("holding", "clean"), 60)
    assert "could not be read" in cq(folder, "status")["halt_reason"]
    cq(folder, "resume", "--reason", "it was garbage")
    eventually_sync(lambda: is_filled("buy"), 60)  # one that opens: what only reduces passes in any case
    assert any("dead-letter" in row["name"] and row["state"] == "warn" for row in cq(folder, "doctor"))


@pytest.mark.long
def test_a_bad_row_of_a_replay_ends_the_demo_at_once_with_file_and_line(spawn: Spawner, tmp_path: Path) -> None:
    day = tmp_path / "IBM_20131008.csv"
    rows = [f"{1381239003268 + number},T,181.8,100,," for number in range(30)]
    rows[20] = "1381239003288,T,abc,100,,"
    day.write_text("\n".join(["ts_ms,kind,bid_or_price,bid_size_or_size,ask,ask_size", *rows]))
    env = {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    replayed = spawn(
        "copilot_quant.cli", "demo", "--for", "60", "--replay", str(day), "--strategies", STRATEGIES, env=env
    )
    assert replayed.wait(150) == 78
    assert (
        f"simulator refuses to start: SIM_REPLAY: {day}, line 22, column 17: price 'abc' is not a number"
        in replayed.output
    )
    assert "Traceback" not in replayed.output
    assert "nothing is left behind" in replayed.output


def test_a_demo_without_its_supervisor_says_so_and_ends(running: tuple[SpawnedProcess, Path]) -> None:
    """Last in this file: the shared demo ends."""
    demo, folder = running
    system = read_run_file(folder)
    assert system is not None
    os.kill(int((Path(system.run_dir) / "supervisord.pid").read_text()), signal.SIGKILL)
    assert demo.wait(60) == 1
    assert "process supervisor ended" in demo.output and "Traceback" not in demo.output
    assert not Path(system.run_dir).exists()

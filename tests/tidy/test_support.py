"""The house's own tools must be able to fail: servers come back, processes die, waiting ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support import RedisServer, Spawner, clean_environment, eventually, eventually_sync


@pytest.mark.redis
def test_what_was_written_survives_a_kill(each_server: RedisServer) -> None:
    with each_server.client() as client:
        client.set("k", "v")
    before = each_server.pid
    each_server.kill()
    each_server.restart()
    with each_server.client() as client:
        assert client.get("k") == b"v"
    assert each_server.pid != before


@pytest.mark.redis
def test_a_paused_server_is_handed_over_running(redis_server: RedisServer) -> None:
    redis_server.pause()
    redis_server.resume()
    with redis_server.client() as client:
        assert client.ping()


@pytest.mark.redis
def test_every_test_starts_with_an_empty_server(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        assert client.dbsize() == 0


@pytest.mark.process
def test_spawned_processes_die_with_their_children(spawn: Spawner) -> None:
    parent = spawn.command(["/bin/sh", "-c", "sleep 60 & echo child $!; wait"])
    child = int(parent.wait_for_output("child ").split()[1])
    parent.kill()
    assert parent.status == -signal.SIGKILL

    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{child}/stat")  # a zombie that nobody has reaped yet is dead, too (Linux containers)
        return stat.exists() and stat.read_text().split()[2] == "Z"

    eventually_sync(gone)


@pytest.mark.process
def test_a_process_that_ends_early_is_an_error_at_once(spawn: Spawner) -> None:
    process = spawn.command(["/bin/sh", "-c", "echo no; exit 3"])
    with pytest.raises(RuntimeError, match="status 3"):
        process.wait_for_output("ready", 30.0)


def test_no_setting_of_the_person_reaches_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_LIVE_ACCOUNT", "U1234567")
    assert "IB_LIVE_ACCOUNT" not in clean_environment()
    assert clean_environment({"CQ_MODE": "sim"})["CQ_MODE"] == "sim"


async def test_waiting_ends_with_what_was_seen() -> None:
    with pytest.raises(AssertionError, match="last seen: 0"):
        await eventually(lambda: 0, 0.05)
    with pytest.raises(AssertionError, match="last seen: 0"):
        eventually_sync(lambda: 0, 0.05)


async def test_waiting_takes_async_predicates_and_assertions() -> None:
    tries: list[int] = []

    async def third_time() -> bool:
        tries.append(1)
        assert len(tries) == 3
        return True

    assert await eventually(third_time, 5.0)

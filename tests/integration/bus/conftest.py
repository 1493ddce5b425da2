"""A master, a replica and three Sentinels, all with passwords."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tests.support import RedisServer, available_kinds, eventually_sync, free_port, server_binary

MASTER, PASSWORD, SENTINEL_PASSWORD = "orders", "p@ss:word/1", "sentinel?2"
_CONFIG = """
port {port}
bind 127.0.0.1
dir {folder}
requirepass {sentinel_password}
sentinel monitor {master} 127.0.0.1 {server_port} 2
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} 2000
sentinel failover-timeout {master} 6000
"""


@dataclass
class Sentinels:
    """Two servers and three Sentinels; `servers[0]` begins as the master."""

    folder: Path
    servers: list[RedisServer] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The address, with a Sentinel that does not answer in front."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *self.ports))
        return f"redis+sentinel://:p%40ss%3Aword%2F1@{hosts}/{MASTER}?sentinel_password=sentinel%3F2"

    def start(self, *options: str) -> None:
        kind = available_kinds()[0]
        quick = ("--repl-diskless-sync-delay", "0", "--repl-timeout", "5")
        first = RedisServer(kind, password=PASSWORD, options=(*quick, *options))
        self.servers.append(first)
        first.start()
        second = RedisServer(
            kind, password=PASSWORD, options=(*quick, *options, "--replicaof", "127.0.0.1", str(first.port))
        )
        self.servers.append(second)
        second.start()
        self.wait_for_replica(first)
        for number in range(3):
            port, folder = free_port(), self.folder / f"sentinel-{number}"
            folder.mkdir()
            config = folder / "sentinel.conf"
            text = _CONFIG.format(
                port=port, folder=folder, sentinel_password=SENTINEL_PASSWORD, password=PASSWORD, master=MASTER,
                server_port=first.port,
            )  # fmt: skip
            config.write_text(text)
            with (folder / "out").open("wb") as out:
                command = [server_binary(kind), str(config), "--sentinel"]
                self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out))
            self.ports.append(port)
        for port in self.ports:
            eventually_sync(lambda port=port: self.is_watching(port), 20)  # type: ignore[misc]

    def wait_for_replica(self, master: RedisServer) -> None:
        def is_there() -> bool:
            with master.client() as client:
                info = client.info("replication")
            return any(info.get(f"slave{n}", {}).get("state") == "online" for n in range(2))

        eventually_sync(is_there, 20)

    @staticmethod
    def is_watching(port: int) -> bool:
        """Whether a Sentinel knows the others and the replica."""
        with redis.Redis(port=port, password=SENTINEL_PASSWORD, socket_timeout=2) as client:
            try:
                state = client.sentinel_master(MASTER)
            except redis.RedisError:
                return False
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

    def remove(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)
        for log in sorted(self.folder.glob("sentinel-*/out")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-3000:]}")  # shown for a failing test
        for server in self.servers:
            if server.is_running:
                server.resume()
            server.remove()


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    if not available_kinds():
        pytest.skip("no Redis and no Valkey on this machine")
    made = Sentinels(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.remove()

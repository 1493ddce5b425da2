"""A Redis master, a replica and three Sentinels with the project's users, to be killed, split and rolled back.

Each server is started from a configuration file that it rewrites itself when the Sentinels give it another role, as in
production: after a restart it is what it was last.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.support import eventually_sync, first_kind, free_port, server_binary

MASTER = "orders"
_SERVER = """
bind 127.0.0.1
port {port}
dir {folder}
logfile {folder}/server.log
aclfile {acl}
masteruser admin
masterauth {password}
appendonly yes
appendfsync everysec
auto-aof-rewrite-percentage 0
aof-load-truncated yes
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
repl-timeout 5
min-replicas-to-write {min_replicas}
min-replicas-max-lag 2
"""
_SENTINEL = """
port {port}
bind 127.0.0.1
dir {folder}
logfile {folder}/sentinel.log
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel auth-user {master} admin
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} 1200
sentinel failover-timeout {master} 3000
"""


@dataclass
class Server:
    """One Redis server."""

    folder: Path
    port: int
    password: str
    process: subprocess.Popen[bytes] | None = None
    _sizes: list[tuple[float, int]] = field(default_factory=list)
    """How long the append-only file was, and when: a rollback goes back to one of these."""

    def start(self, limit_s: float = 20.0) -> None:
        """Start it and wait until it answers."""
        command = [server_binary(first_kind()), str(self.folder / "redis.conf")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        eventually_sync(self.answers, limit_s)

    def answers(self) -> bool:
        """Say whether it is up."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """Return an administrator's connection."""
        return redis.Redis(port=self.port, username="admin", password=self.password, socket_timeout=2.0)

    def is_master(self) -> bool:
        """Say whether it is up and believes to be the master."""
        try:
            with self.client() as client:
                return bool(client.info("replication")["role"] == "master")
        except redis.RedisError:
            return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self.process is not None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Kill it, paused or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @property
    def _log_file(self) -> Path:
        found = sorted((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)
        return found[-1]

    def note_size(self) -> None:
        """Remember how long the append-only file is now."""
        try:
            self._sizes.append((time.monotonic(), self._log_file.stat().st_size))
        except (IndexError, OSError):
            self._sizes.clear()  # a full synchronisation is replacing it

    def forget_sizes(self) -> None:
        """Forget: another file, or other content, is there now."""
        self._sizes.clear()

    def roll_back(self, age_s: float) -> int:
        """Cut the append-only file of a dead server to what it was `age_s` ago; return the bytes that are gone."""
        path = self._log_file
        before = path.stat().st_size
        past = [size for at, size in self._sizes if at <= time.monotonic() - age_s and size <= before]
        if not past:
            return 0
        os.truncate(path, past[-1])
        self._sizes.clear()
        return before - past[-1]


class Servers:
    """The pair and its Sentinels."""

    def __init__(self, folder: Path, acl_lines: Sequence[str], admin_password: str, *, min_replicas: int = 0) -> None:
        self.folder = folder
        acl = folder / "users.acl"
        acl.write_text("\n".join(acl_lines) + "\n")
        self.pair: list[Server] = []
        self.sentinel_ports: list[int] = []
        self._sentinels: list[subprocess.Popen[bytes]] = []
        for number in range(2):
            here = folder / f"redis-{number}"
            here.mkdir()
            server = Server(here, free_port(), admin_password)
            text = _SERVER.format(
                port=server.port, folder=here, acl=acl, password=admin_password, min_replicas=min_replicas
            )
            if number:
                text += f"replicaof 127.0.0.1 {self.pair[0].port}\n"
            (here / "redis.conf").write_text(text)
            self.pair.append(server)

    def start(self) -> None:
        """Start all and wait until the Sentinels know each other and the replica."""
        for server in self.pair:
            server.start()
        for number in range(3):
            port, here = free_port(), self.folder / f"sentinel-{number}"
            here.mkdir()
            config = here / "sentinel.conf"
            first = self.pair[0]
            config.write_text(
                _SENTINEL.format(port=port, folder=here, master=MASTER, master_port=first.port, password=first.password)
            )
            command = [server_binary(first_kind()), str(config), "--sentinel"]
            self._sentinels.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))
            self.sentinel_ports.append(port)
        for port in self.sentinel_ports:
            eventually_sync(lambda port=port: self._is_watching(port), 30)  # type: ignore[misc]

    @staticmethod
    def _is_watching(port: int) -> bool:
        with redis.Redis(port=port, socket_timeout=2) as client:
            try:
                state = client.sentinel_master(MASTER)
            except redis.RedisError:
                return False
        return bool(state["num-other-sentinels"] == 2 and state["num-slaves"] == 1)

    def url(self, user: str, password: str, ports: Sequence[int] | None = None) -> str:
        """Return the address of the master, as the Sentinels at `ports` (all) know it."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports or self.sentinel_ports)
        return f"redis+sentinel://{user}:{password}@{hosts}/{MASTER}"

    def master(self) -> Server:
        """Return the server that the Sentinels name, the first of the pair if none answers."""
        for port in self.sentinel_ports:
            try:
                with redis.Redis(port=port, socket_timeout=1) as client:
                    named = client.sentinel_get_master_addr_by_name(MASTER)
            except redis.RedisError:
                continue
            if named:
                return next(server for server in self.pair if server.port == int(named[1]))
        return self.pair[0]

    def other(self, server: Server) -> Server:
        """Return the other of the pair."""
        return self.pair[1 - self.pair.index(server)]

    def promote(self) -> str:
        """Ask a Sentinel to fail over at once; return its word."""
        with redis.Redis(port=self.sentinel_ports[0], socket_timeout=2) as client:
            try:
                return str(client.execute_command("SENTINEL", "FAILOVER", MASTER))
            except redis.RedisError as e:
                return str(e)

    def stop(self) -> None:
        """Kill all."""
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait(10)
        for server in self.pair:
            server.kill()

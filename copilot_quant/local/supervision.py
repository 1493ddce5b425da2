"""Keep the processes of a local system running, with supervisord, and ask it about them.

supervisord restarts what crashes, stops everything in reverse order, and keeps one log file per process. We talk to it
over a socket in the run directory that only this user can open. Between us and it stands the keeper, which ends it when
we are killed, and all that it leaves when it is killed itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from copilot_quant.local.keeper import KILLING_S, ORDERLY_STOP_S, kill_session
from copilot_quant.local.processes import Process
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import ConfigError, CqError, TimedOut


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """What supervisord says of one process: its state word, process id (0 when down) and seconds since its start."""

    name: str
    state: str
    pid: int
    up_s: int


class Supervisor:
    """One supervisord and the processes under it.

    Args:
        run_dir: short path (a Unix socket lives in it); logs go to `run_dir/logs`.
        processes: what to keep running.
        directory: working directory of the processes.
        keep_files: leave `run_dir` also if this process is killed.
    """

    def __init__(
        self, run_dir: Path, processes: Sequence[Process], directory: Path, *, keep_files: bool = False
    ) -> None:
        self._run_dir = run_dir
        self._keep_files = keep_files
        self._directory = directory
        self._config = run_dir / "supervisord.conf"
        self._socket = run_dir / "sv.sock"
        self._child: subprocess.Popen[bytes] | None = None
        logs = run_dir / "logs"
        logs.mkdir(exist_ok=True)
        text = _config_text(self._socket, run_dir, directory, processes)
        descriptor = os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def start(self, *, limit_s: float = 20.0) -> None:
        """Start supervisord and wait until it answers.

        Raises:
            CqError: it ended at once; the sentence carries its last words.
            TimedOut: it did not answer within `limit_s`.
        """
        command = [sys.executable, "-W", "ignore", "-m", "copilot_quant.local.keeper", "--config", str(self._config)]
        if not self._keep_files:
            command += ["--run-dir", str(self._run_dir), "--directory", str(self._directory)]
        output = (self._run_dir / "supervisord.out").open("wb")
        with output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # never written to: the kernel closes it when this process ends, however it ends
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self._directory,
                env={**os.environ, "PYTHONPATH": _module_path()},
            )
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
        while SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
            if self._child.poll() is not None:
                words = (self._run_dir / "supervisord.out").read_text(errors="replace").strip().splitlines()[-3:]
                raise CqError(f"the process supervisor ended at once: {' / '.join(words)}")
            if self._socket.exists() and self.processes():
                return
            SYSTEM_CLOCK.block(0.05)
        raise TimedOut(
            f"the process supervisor did not answer within {limit_s:g} s; see {self._run_dir}/supervisord.log"
        )

    @property
    def is_running(self) -> bool:
        """Say whether supervisord is there: without it nothing restarts what crashes."""
        return self._child is not None and self._child.poll() is None

    def _call(self, method: str, *args: object) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(proxy.supervisor, method)(*args)
        except (OSError, HTTPException) as e:
            raise CqError(f"the process supervisor does not answer: {e}") from e
        except xmlrpc.client.Fault as e:
            raise CqError(f"the process supervisor refused {method}{args}: {e.faultString}") from e
        finally:
            transport.close()

    def processes(self) -> list[ProcessInfo]:
        """Return the state of every process, empty while the supervisor is not up."""
        try:
            rows = self._call("getAllProcessInfo")
        except CqError:
            return []
        return [
            ProcessInfo(
                row["name"], row["statename"], row["pid"], max(0, row["now"] - row["start"]) if row["pid"] else 0
            )
            for row in rows
        ]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one process and return its process id, 0 if it was not running."""
        for info in self.processes():
            if info.name == name and info.pid:
                os.kill(info.pid, number)
                return info.pid
        return 0

    def stop_process(self, name: str) -> None:
        """Stop one process in an orderly way and keep it stopped."""
        self._call("stopProcess", name)

    def start_process(self, name: str) -> None:
        """Start one process that was stopped."""
        self._call("startProcess", name)

    def log_tail(self, name: str, lines: int = 20) -> list[str]:
        """Return the last lines of a process's log."""
        path = self._run_dir / "logs" / f"{name}.log"
        try:
            return path.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def stop(self, *, limit_s: float = ORDERLY_STOP_S + KILLING_S + 2) -> None:
        """Stop everything in reverse order; kill what does not stop within `limit_s`."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(limit_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)
        kill_session(child.pid)  # the keeper did; this is for one that was killed
        if child.stdin is not None:
            child.stdin.close()


def _module_path() -> str:
    """Return where the processes find this code, also where it was not installed and they work in another folder."""
    code = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])])


def _config_text(socket: Path, run_dir: Path, directory: Path, processes: Sequence[Process]) -> str:
    parts = [
        f"""[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={run_dir}/supervisord.log
logfile_maxbytes=5MB
pidfile={run_dir}/supervisord.pid
childlogdir={run_dir}/logs
nodaemon=true
minfds=1024

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    ]
    parts.extend(_program_text(process, run_dir, directory) for process in processes)
    return "\n".join(parts)


def _program_text(process: Process, run_dir: Path, directory: Path) -> str:
    for name, value in process.env.items():
        if '"' in value or "\n" in value:
            raise ConfigError(f"{name}: a double quote or a line break cannot be passed on to a supervised process")
    env = ",".join(
        f'{name}="{_escape(value)}"' for name, value in process.env.items() if value or name == "CQ_ENV_FILE"
    )
    return f"""[program:{process.name}]
command={" ".join(_escape(word) for word in process.command)}
directory={directory}
priority={process.priority}
autostart=true
autorestart=true
startsecs=2
startretries=1000000
stopsignal=TERM
stopwaitsecs={process.stop_wait_s}
killasgroup=true
stopasgroup=false
redirect_stderr=true
stdout_logfile={run_dir}/logs/{process.name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
environment={env}
"""


def _escape(text: str) -> str:
    return text.replace("%", "%%")

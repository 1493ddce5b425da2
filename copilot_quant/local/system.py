"""Start and stop a whole local system: Redis, function library, ACL users, services, run file.

Order of the start: ports are reserved, passwords made, Redis started under the supervisor, its functions loaded and
the deployment's users checked, then the services. Order of the stop is the reverse; the run directory goes last.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from copilot_quant.local.ports import reserve_ports
from copilot_quant.local.processes import LocalPlan, Process, services_of
from copilot_quant.local.redis_process import find_redis, write_redis_config
from copilot_quant.local.run_file import RunningSystem, remove_run_file, write_run_file
from copilot_quant.local.supervision import Supervisor
from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, iso_utc, random_token
from shared.errors import BusUnavailable, ConfigError, TimedOut
from shared.settings import Mode

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What a person chose.

    `simulator` is None for a real broker at `broker_host:broker_port`; else the simulator's own settings (`SIM_…`).
    `data_dir` is where Redis, the guard and the gateways keep what must outlive a stop; None: in the run directory,
    which goes. `env_file` is a file of settings (`.env`) for every service; None: there is none. `beside` are further
    processes under the same supervisor, started last.
    """

    mode: Mode = Mode.SIM
    deployment: str = ""
    account: str = "DUSIM0001"
    simulator: Mapping[str, str] | None = field(default_factory=dict)
    broker_host: str = "127.0.0.1"
    broker_port: int = 0
    strategies_file: str = ""
    limits_file: str = ""
    lease_ttl_s: float = 1.0
    gateways: int = 2
    workers: int = 2
    passthrough: Mapping[str, str] = field(default_factory=dict)
    keep_files: bool = False
    data_dir: Path | None = None
    env_file: Path | None = None
    beside: Sequence[Process] = ()


def lock_directory(directory: Path) -> IO[str]:
    """Make a directory this process's own until it ends; keep what is returned.

    Raises:
        ConfigError: another process has it: two servers on one append-only file would ruin it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (directory / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        file.close()
        raise ConfigError(f"this deployment runs already: {directory} is in use; `cq status` shows it") from e
    return file


def note_first_start(directory: Path) -> None:
    """Write down when a deployment first started here; how long it was tried counts before real money."""
    try:
        with (directory / "first-start").open("x") as file:
            file.write(f"{iso_utc(SYSTEM_CLOCK.wall_ns())}\n")
    except FileExistsError:
        pass


class LocalSystem:
    """A running local system; make it with `LocalSystem(options)`, then `await start(...)` and at the end `stop()`."""

    def __init__(self, options: LocalOptions, directory: Path) -> None:
        self._directory = directory
        self.options = options
        self.run_dir = Path(tempfile.mkdtemp(prefix="cq-"))
        data_dir = options.data_dir or self.run_dir
        if options.data_dir is not None:
            self._lock = lock_directory(options.data_dir)
            note_first_start(options.data_dir)
        self.deployment = options.deployment or options.mode.value
        ports = reserve_ports(6)
        self.redis_port, self.guard_port, self.guard_http_port, self.monitoring_port = ports[:4]
        simulator_port, self.simulator_http_port = ports[4:6]
        passwords = {role: random_token(24) for role in ROLES}
        self.redis_urls = {
            role: f"redis://{role}:{password}@127.0.0.1:{self.redis_port}/0" for role, password in passwords.items()
        }
        self.web_token = random_token(24)
        simulator = None
        if options.simulator is not None:
            simulator = {
                "SIM_HOST": "127.0.0.1",
                "SIM_PORT": str(simulator_port),
                "SIM_HTTP_PORT": str(self.simulator_http_port),
                "SIM_ACCOUNTS": options.account,
                "SIM_STATE_DIR": str(self.run_dir / "simulator"),
                **options.simulator,
            }
        self.plan = LocalPlan(
            mode=options.mode,
            deployment=self.deployment,
            account=options.account,
            redis_urls=self.redis_urls,
            run_dir=str(self.run_dir),
            state_dir=str(data_dir),
            env_file=self._settings_as_they_are_now(),
            guard_port=self.guard_port,
            guard_http_port=self.guard_http_port,
            monitoring_port=self.monitoring_port,
            broker_host=options.broker_host,
            broker_port=simulator_port if simulator is not None else options.broker_port,
            simulator=simulator,
            strategies_file=options.strategies_file,
            limits_file=options.limits_file,
            lease_ttl_s=options.lease_ttl_s,
            web_token=self.web_token,
            guard_token=random_token(24),
            gateways=options.gateways,
            workers=options.workers,
            passthrough=options.passthrough,
        )
        lines = acl_lines(Keys(self.deployment), passwords)
        self.redis = find_redis()
        config = write_redis_config(self.run_dir, self.redis_port, lines, data_dir=data_dir)
        redis = Process("redis", (self.redis.path, str(config)), 10)
        self._services = services_of(self.plan)
        self.supervisor = Supervisor(
            self.run_dir, [redis, *self._services, *options.beside], directory, keep_files=options.keep_files
        )

    def _settings_as_they_are_now(self) -> str:
        """Copy the file of settings: a service that is restarted reads what the others read, not a later edit."""
        if self.options.env_file is None:
            return ""
        copy = self.run_dir / "settings.env"
        shutil.copyfile(self.options.env_file, copy)
        copy.chmod(0o600)
        return str(copy)

    @property
    def status_page(self) -> str:
        """Return the address of the status page."""
        return f"http://127.0.0.1:{self.monitoring_port}/"

    @property
    def simulator_http(self) -> str:
        """Return the address of the simulator's books and faults, empty with a real broker."""
        return f"http://127.0.0.1:{self.simulator_http_port}" if self.plan.simulator is not None else ""

    @property
    def guard_http(self) -> str:
        """Return the address of the guard's loopback endpoint."""
        return f"http://127.0.0.1:{self.guard_http_port}"

    def operator_env(self) -> dict[str, str]:
        """Return the settings with which a command talks to this system."""
        return {
            "CQ_MODE": self.options.mode.value,
            "CQ_DEPLOYMENT": self.deployment,
            "REDIS_URL": self.redis_urls["operator"],
            f"IB_{self.options.mode.upper()}_ACCOUNT": self.options.account,
            f"IB_{self.options.mode.upper()}_HOST": "127.0.0.1",
            f"IB_{self.options.mode.upper()}_PORT": str(self.guard_port),
            "CQ_WEB_TOKEN": self.web_token,
            "CQ_ENV_FILE": self.plan.env_file,
            "CQ_AUDIT_DIR": self.plan.audit_dir,
        }

    async def start(self, progress: Progress) -> None:
        """Start everything; `progress` gets a line per step.

        Raises:
            CqError: a part did not come up; the sentence says which and where its log is.
        """
        progress(f"starting {self.redis.name} and {len(self._services)} processes under supervisord")
        self.supervisor.start()
        await self._prepare_redis()
        progress("Redis answers; its function library is loaded")
        system = RunningSystem(
            pid=os.getpid(),
            run_dir=str(self.run_dir),
            mode=self.options.mode.value,
            status_page=self.status_page,
            simulator_http=self.simulator_http,
            guard_http=self.guard_http,
            env=self.operator_env(),
            broker=f"{self.plan.broker_host}:{self.plan.broker_port}",
        )
        write_run_file(system, self._directory)

    async def _prepare_redis(self) -> None:
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + 20 * NS_PER_S
        while True:
            bus = open_bus(self.redis_urls["admin"], Keys(self.deployment), client_name="cq-bootstrap")
            try:
                await bus.load_functions()
            except BusUnavailable as e:
                if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
                    words = " / ".join(self.supervisor.log_tail("redis", 3))
                    raise TimedOut(
                        f"Redis did not answer on port {self.redis_port} within 20 s: {e}; it said: {words}"
                    ) from e
            else:
                return
            finally:
                await bus.close()
            await SYSTEM_CLOCK.sleep(0.1)

    def stop(self, *, keep_files: bool = False) -> None:
        """Stop everything and remove the run directory (unless files are to be kept) and the run file."""
        self.supervisor.stop()
        if self.options.data_dir is not None:
            self._lock.close()  # a restore in the same process may have the directory now
        remove_run_file(self._directory, self.run_dir)
        if not (keep_files or self.options.keep_files):
            shutil.rmtree(self.run_dir, ignore_errors=True)

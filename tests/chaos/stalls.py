"""Stall disk and CPU again and again, for 1 s at most, and count how often that cost anyone a lease: never.

`python -m tests.chaos.stalls --for 7200` starts the local system (real processes, a real Redis with its append-only
file, two gateways, guard, simulator) with the lease of paper and live, 4 s, lets a strategy trade slowly and stalls,
drawn from a seed:

- **cpu**: one process is stopped (SIGSTOP) and goes on (SIGCONT), or all of them at once, as when a virtual machine is
  put aside;
- **disk stuck**: whatever writes to the disk in its main loop stands still together, as in a `write` that does not
  return;
- **disk busy**: synchronous writes beside Redis' append-only file for as long, and Redis told to rewrite that file.

Every lease is watched all the time. At the end the broker's books are compared with the bus. Ctrl-C or SIGTERM ends
the run early; it is judged all the same. Exit status 0 only if nothing is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis

from bench.measuring import machine
from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.books import fetch_truth, judge
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.bus.keys import Role
from shared.clock import iso_utc
from shared.errors import CqError
from shared.messages import decode_fields
from shared.messages.control import BrokerStatus, LinkState
from shared.settings import BrokerSettings, load_settings
from tests.chaos.system import LIMITS
from tests.chaos.waiting import until
from tests.chaos.witness import witness_file
from tests.proofs import record
from tests.proofs.page import write_page
from tests.support import ROOT

LEASE_S = 4.0
LONGEST_S = 1.0
PAUSE_S = (1.0, 6.0)
WATCH_EVERY_S = 0.2
TELL_EVERY_S = 60.0
START_LIMIT_S, SETTLE_LIMIT_S = 120.0, 60.0
SYMBOLS = ("AAPL", "MSFT", "GOOGL", "IBM", "SPY")
EVERY = 80
ALL, LEADER, STANDBY = "everything", "leader", "standby"
DISK_WRITERS = ("redis", LEADER, "guard", "monitoring")
ROLES = (Role.GATEWAY, Role.RISK, Role.MARKETDATA, Role.strategy("strategy-1"))
REPORT = ROOT / ".cache" / "stalls.json"

KINDS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("cpu", (LEADER,), 4),
    ("cpu", (STANDBY,), 1),
    ("cpu", ("redis",), 4),
    ("cpu", ("risk",), 2),
    ("cpu", ("guard",), 2),
    ("cpu", ("simulator",), 1),
    ("cpu", ("marketdata",), 1),
    ("cpu", ("strategy-1",), 1),
    ("cpu", (ALL,), 3),
    ("disk stuck", DISK_WRITERS, 4),
    ("disk busy", (), 3),
)
"""What is stalled, on whom, and how often in proportion."""


@dataclass(frozen=True, slots=True)
class Stall:
    """One stall: so long after the end of the one before, of what kind, of whom, for how long."""

    after_s: float
    kind: str
    targets: tuple[str, ...]
    seconds: float


def draw(dice: random.Random) -> Stall:
    """Return the next stall; every other one is as long as a stall may be."""
    kind, targets, _ = dice.choices(KINDS, [weight for *_, weight in KINDS])[0]
    seconds = LONGEST_S if dice.random() < 0.5 else round(dice.uniform(0.1, LONGEST_S), 2)
    return Stall(round(dice.uniform(*PAUSE_S), 2), kind, targets, seconds)


@dataclass
class Report:
    """What one run showed."""

    seed: int
    commit: str
    machine: str
    asked_s: float
    began: str = ""
    record_file: Path | None = None
    """Where the run is recorded, if it is."""
    lease_s: float = LEASE_S
    lasted_s: float = 0.0
    stalls: dict[str, int] = field(default_factory=dict)
    stalled_s: float = 0.0
    looks: int = 0
    slowest_look_s: float = 0.0
    """The longest that Redis took to answer the watcher."""
    epochs: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """Leases that changed hands or epoch: each is a false failover, for every process lives."""
    not_ready: list[str] = field(default_factory=list)
    not_ready_s: float = 0.0
    restarted: list[str] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)
    is_clean: bool = False

    def saw(self, role: str, epoch: int) -> None:
        """Note the epoch of a role's lease."""
        before = self.epochs.setdefault(role, epoch)
        if epoch != before:
            self.lost.append(f"{role}: epoch {before} became {epoch} after {self.lasted_s:.1f} s")
            self.epochs[role] = epoch

    def text(self) -> str:
        """Return the report for people."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.stalls.items()))
        return "\n".join(
            (
                f"seed {self.seed}, commit {self.commit}, lease {self.lease_s:g} s: {self.lasted_s / 60:.1f} min of "
                f"{self.asked_s / 60:.0f}",
                f"{sum(self.stalls.values())} stalls, {self.stalled_s:.0f} s in total: {kinds}",
                f"leases looked at {self.looks} times; Redis' slowest answer {self.slowest_look_s:.2f} s",
                f"leases lost: {len(self.lost)}",
                *(f"  {line}" for line in self.lost[:20]),
                f"leader not READY: {len(self.not_ready)} times, {self.not_ready_s:.1f} s",
                *(f"  {line}" for line in self.not_ready[:20]),
                f"processes that ended: {len(self.restarted)}",
                *(f"  {line}" for line in self.restarted[:20]),
                *(f"{name.replace('_', ' ')}: {value}" for name, value in self.verdict.items()),
                "clean" if self.is_clean else "NOT CLEAN",
            )
        )

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, default=str))
        if self.record_file:
            record.put(self.row(), self.record_file)

    def row(self) -> record.Row:
        """Return what the record keeps of the run."""
        return {
            "proof": "stalls", "began": self.began, "commit": self.commit, "seconds": round(self.lasted_s, 1),
            "seed": self.seed, "lease_s": self.lease_s, "stalls": sum(self.stalls.values()),
            "stalled_s": round(self.stalled_s, 1), "slowest_look_s": round(self.slowest_look_s, 2),
            "leases_lost": len(self.lost), "not_ready": len(self.not_ready), "is_judged": bool(self.verdict),
            "is_clean": self.is_clean,
        }  # fmt: skip


class Soak:
    """One run over a running system."""

    def __init__(self, system: LocalSystem, desk: Desk, report: Report) -> None:
        self._system, self._desk, self._report = system, desk, report
        self._leader = ""
        self._began = 0.0
        self._not_ready_since = 0.0
        self._pids: dict[str, int] = {}

    async def run(self, dice: random.Random, stop: asyncio.Event, path: Path) -> None:
        """Stall and watch until the time is over or `stop` is set."""
        report = self._report
        self._pids = await self._processes()
        self._began = time.monotonic()
        watching = asyncio.create_task(self._watch())
        telling = asyncio.create_task(self._tell(path))
        try:
            while report.lasted_s < report.asked_s and not stop.is_set():
                stall = draw(dice)
                await _sleep(stall.after_s, stop)
                await self._stall(stall)
            await asyncio.sleep(2 * LEASE_S)  # what the last stall cost shows within two leases
        finally:
            for task in (watching, telling):
                task.cancel()
                await asyncio.wait([task])
            if not watching.cancelled():
                raise CqError(f"the watcher stopped watching: {watching.exception()}")
        now = await self._processes()
        report.restarted += [f"{name}: {pid} became {now.get(name)}" for name, pid in self._pids.items()
                             if now.get(name) != pid]  # fmt: skip

    async def _processes(self) -> dict[str, int]:
        return {info.name: info.pid for info in await asyncio.to_thread(self._system.supervisor.processes)}

    async def _stall(self, stall: Stall) -> None:
        name = f"{stall.kind} {stall.targets[0]}" if stall.kind == "cpu" else stall.kind
        began = time.monotonic()
        if stall.kind == "disk busy":
            await self._keep_disk_busy(stall.seconds)
        else:
            await self._stop(self._pids_of(stall.targets), stall.seconds)
        report = self._report
        report.stalls[name] = report.stalls.get(name, 0) + 1
        report.stalled_s += time.monotonic() - began

    def _pids_of(self, targets: Sequence[str]) -> list[int]:
        if ALL in targets:
            return list(self._pids.values())
        standby = next(name for name in self._pids if name.startswith("gateway-") and name != self._leader)
        names = {LEADER: self._leader, STANDBY: standby}
        return [self._pids[names.get(target, target)] for target in targets]

    @staticmethod
    async def _stop(pids: Sequence[int], seconds: float) -> None:
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    async def _keep_disk_busy(self, seconds: float) -> None:
        await asyncio.gather(
            asyncio.to_thread(_rewrite_log, self._system.redis_urls["admin"]),
            asyncio.to_thread(_write_synchronously, self._system.run_dir / "redis", seconds),
        )

    async def _watch(self) -> None:
        """Look at every lease and at what the leader says about itself."""
        desk, report = self._desk, self._report
        cursor = await desk.bus.last_id(desk.keys.broker_status)
        while True:
            began = time.monotonic()
            try:
                views = {role: await desk.bus.lease_view(role) for role in ROLES}
                found = await desk.bus.read({desk.keys.broker_status: cursor}, count=500)
            except CqError:
                await asyncio.sleep(WATCH_EVERY_S)
                continue
            now = time.monotonic()
            report.lasted_s, report.looks = now - self._began, report.looks + 1
            report.slowest_look_s = max(report.slowest_look_s, now - began)
            for role, view in views.items():
                report.saw(role, view.epoch)
            self._leader = views[Role.GATEWAY].owner or self._leader
            for entry in found.get(desk.keys.broker_status, ()):
                cursor = entry.entry_id
                message = decode_fields(entry.fields).message
                if isinstance(message, BrokerStatus) and message.is_leader:
                    self._take_status(message)
            await asyncio.sleep(WATCH_EVERY_S)

    def _take_status(self, message: BrokerStatus) -> None:
        at = message.ts_init_ns / 1e9
        if self._not_ready_since:
            self._report.not_ready_s += at - self._not_ready_since
            self._not_ready_since = 0.0
        if message.state is not LinkState.READY:
            self._not_ready_since = at
            self._report.not_ready.append(
                f"{self._report.lasted_s:.1f} s: {message.instance} {message.state}: {message.reason}"
            )

    async def _tell(self, path: Path) -> None:
        report = self._report
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            report.write(path)
            print(
                f"{report.lasted_s / 60:.0f} min: {sum(report.stalls.values())} stalls, leases lost "
                f"{len(report.lost)}, not READY {len(report.not_ready)} times, slowest answer "
                f"{report.slowest_look_s:.2f} s, fills {await self._desk.bus.stream_length(self._desk.keys.fills)}",
                flush=True,
            )

    async def settle(self) -> None:
        """Stop the strategy, wait until what was ordered has ended, and compare the books."""
        await asyncio.to_thread(self._system.supervisor.stop_process, "strategy-1")
        deadline = time.monotonic() + SETTLE_LIMIT_S
        while True:
            verdict = await judge(self._desk, self._system.simulator_http)
            is_still = not await self._desk.open_orders()
            if (verdict.is_clean and is_still) or time.monotonic() > deadline:
                break
            await asyncio.sleep(1.0)
        report = self._report
        report.verdict = {name: str(value) for name, value in asdict(verdict).items()}
        wrong = report.lost or report.restarted or not is_still
        report.is_clean = bool(verdict.is_clean and verdict.executions and report.stalls and not wrong)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        pass  # nobody stopped the run meanwhile


def _rewrite_log(url: str) -> None:
    with redis.Redis.from_url(url) as admin:
        try:
            admin.bgrewriteaof()
        except redis.ResponseError:
            pass  # it is at it already


def _write_synchronously(folder: Path, seconds: float) -> None:
    """Write to a file beside the append-only file, each block down to the disk, for so long."""
    path = folder / "burst"
    until_s = time.monotonic() + seconds
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DSYNC, 0o600)
    try:
        while time.monotonic() < until_s:
            os.pwrite(descriptor, os.urandom(1 << 18), 0)
            os.pwrite(descriptor, bytes(1 << 20), 1 << 18)
    finally:
        os.close(descriptor)
        path.unlink()


async def _trades(desk: Desk, simulator_http: str) -> bool:
    is_ready = any(row.get("role") == "leader" and row.get("link") == "READY" for row in await desk.heartbeats())
    return is_ready and len((await fetch_truth(simulator_http))["executions"]) >= len(SYMBOLS)


async def run(options: argparse.Namespace) -> Report:
    """Run the soak once and return its report."""
    report = Report(
        options.seed,
        record.commit(),
        machine(),
        options.seconds,
        began=iso_utc(time.time_ns()),
        record_file=options.record,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    folder = Path(f"{options.report}.run")
    folder.mkdir(parents=True, exist_ok=True)
    limits = folder / "limits.toml"
    limits.write_text(LIMITS)
    local = LocalOptions(
        simulator={"SIM_TICK_RATE": options.rate, "SIM_SEED": str(options.seed), "SIM_CASH": "10000000"},
        strategies_file=str(witness_file(folder, SYMBOLS, EVERY)), limits_file=str(limits),
        lease_ttl_s=LEASE_S, workers=1,
    )  # fmt: skip
    system = LocalSystem(local, ROOT)
    report.write(options.report)
    try:
        await system.start(lambda line: print(line, flush=True))
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings), client_name="cq-drill") as desk:
            await until("trading", START_LIMIT_S, partial(_trades, desk, system.simulator_http))
            soak = Soak(system, desk, report)
            dice = random.Random(f"stalls {options.seed}")
            await soak.run(dice, stop, options.report)
            await soak.settle()
    finally:
        report.write(options.report)
        if options.record:
            write_page()
        await asyncio.to_thread(lambda: system.stop(keep_files=options.keep or not report.is_clean))
        if not report.is_clean:
            print(f"logs are kept in {system.run_dir}", flush=True)
    return report


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--for", dest="seconds", type=float, default=7200.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--rate", default="4", help="synthetic events per second and contract; five contracts")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the JSON goes")
    parser.add_argument("--keep", action="store_true", help="keep logs and data also of a clean run")
    parser.add_argument("--record", **record.OPTION)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    report = asyncio.run(run(options))
    print(report.text(), flush=True)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())

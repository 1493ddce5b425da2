"""From a fault of the leader to its successor's first tick and first order, N times each, with the phases between.

`python -m bench.failover --trials 200 --resume --minutes 5` runs the whole system (two of three gateways stand by,
Redis a pair with Sentinels, guard and simulator over TCP, all on this machine, each gateway behind proxies of its own),
lets market orders flow, and breaks the leader in one way after another, until there are 200 samples of each or the
time is up:

- **SIGKILL** of its process; **SIGSTOP** of it for longer than the lease; its **network cut** (to Redis and to the
  guard; bytes are lost); the broker **kicks** its trading session (the lease is kept, nobody takes over); and a
  **planned hand-over** (`cq gateway handover`).

A trial begins once the one before is over: the leader is READY, the broker has told it what happened all day, no order
is in doubt, and two standbys are connected and have read what is on the bus. Orders flow ten a second, and while a
hand-over is measured fifty: else half of what it takes would be the wait for the next order to be made.

The first tick is the first entry of the successor's epoch on a tick stream, by the server's clock; the first order is
the first that the simulator received on a later trading session, by the simulator's clock. All clocks are this
machine's. Phases come from the successor's own log: *detect* until a lease is won, *again* until the one of the
leader that finished (0 unless a take-over failed on its way), *fence*, *read* (streams to their
end), *guard* (the trading session through it), *ask* (open orders, completed orders, executions), *publish*, and
*order*: until risk has read the announcement and an approved order has reached the simulator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.failover_report import KINDS, Sample, by_load, phases, picture, report, table
from bench.measuring import machine
from copilot_quant.desk import Desk, open_desk
from shared.clock import NS_PER_S
from shared.errors import CqError
from shared.ids import intent_id
from shared.messages.control import ControlAction
from shared.messages.market import ContractInfo
from shared.messages.orders import Intent, OrderLeg, OrderType, Side
from shared.settings import BrokerSettings, load_settings
from tests.chaos.run import until_ready
from tests.chaos.system import ACCOUNT, ChaosSystem
from tests.proofs.page import write_page
from tests.proofs.record import commit

DATA, REPORT, PICTURE = (Path(__file__).parent / f"failover.{kind}" for kind in ("json", "md", "svg"))
ORDERS_PER_S, ORDERS_PER_S_HURRIED = 10.0, 50.0
PLANNED = "planned hand-over"
LIMIT_S = 30.0
STOPPED_S = 3.0


class Flow:
    """Orders all the time: one share bought, one sold."""

    def __init__(self, desk: Desk, contract: ContractInfo, identity: str, incarnation: str) -> None:
        self._desk, self._contract, self._identity, self._incarnation = desk, contract, identity, incarnation
        self._number = 0

    async def run(self, per_s: float = ORDERS_PER_S) -> None:
        """Order until cancelled."""
        watched_until = 0.0
        while True:
            if time.time() > watched_until - 30:
                watched_until = time.time() + 60
                wanted = {str(self._contract.con_id): str(int(watched_until * NS_PER_S))}
                await self._desk.bus.hash_set(self._desk.keys.watches, wanted)
            self._number += 1
            intent = self._intent(self._incarnation)
            await self._desk.bus.append(self._desk.keys.intents, intent, source=self._desk.source)
            await asyncio.sleep(1 / per_s)

    def _intent(self, incarnation: str) -> Intent:
        side = Side.BUY if self._number % 2 else Side.SELL
        now_ns = time.time_ns()
        return Intent(
            ts_init_ns=now_ns, intent_id=intent_id(self._identity, self._desk.source, self._number, 0),
            legs=(OrderLeg(side=side, quantity=Decimal(1), order_type=OrderType.MARKET),),
            con_id=self._contract.con_id, contract=self._contract.name, strategy="manual", account=ACCOUNT,
            incarnation=incarnation, valid_until_ns=now_ns + 2 * NS_PER_S,
        )  # fmt: skip


class Bench:
    """One system under measurement."""

    def __init__(self, system: ChaosSystem, desk: Desk, http: aiohttp.ClientSession, flow: Flow) -> None:
        self._system, self._desk, self._http, self._flow = system, desk, http, flow
        self._seq = 0
        self._entries: list[dict[str, Any]] = []
        self._ticks: list[tuple[int, int]] = []
        """First tick of each epoch: (epoch, wall ms by the server)."""

    async def run_ticks(self) -> None:
        """Note when each epoch's first tick was published."""
        keys, bus = self._desk.keys, self._desk.bus
        cursors = {keys.ticks(number): "0-0" for number in range(keys.tick_partitions)}
        for stream in cursors:
            cursors[stream] = await bus.last_id(stream)
        highest = 0
        while True:
            for stream, entries in (await bus.read(cursors, block_ms=100)).items():
                for entry in entries:
                    cursors[stream] = entry.entry_id
                    epoch = int(entry.fields.get(b"epoch", b"0"))
                    if epoch > highest:
                        highest = epoch
                        self._ticks.append((epoch, int(entry.entry_id.split("-")[0])))

    async def _ledger(self) -> list[dict[str, Any]]:
        url = f"{self._system.simulator_http}/truth/ledger?after={self._seq}"
        async with self._http.get(url) as reply:
            found = [json.loads(line) for line in (await reply.text()).splitlines()]
        if found:
            self._seq = int(found[-1]["seq"])
        return found

    async def leader(self) -> tuple[str, int]:
        """Wait until what came before is over for the leader and two standbys, as they say from now on; return it."""
        began_ns, deadline = time.time_ns(), time.monotonic() + 60
        while time.monotonic() < deadline:
            rows = [row for row in await self._desk.heartbeats() if row["service"] == "gateway"]
            rows = [row for row in rows if row["beat_ns"] > began_ns and row.get("caught_up")]
            view = await self._desk.bus.lease_view("gateway")
            leads = [
                row for row in rows
                if row["instance"] == view.owner and row.get("link") == "READY" and row["epoch"] == view.epoch
            ]  # fmt: skip
            stand_by = [row for row in rows if row.get("role") == "standby" and row.get("data_link") == "READY"]
            if leads and len(stand_by) >= 2:
                return view.owner, view.epoch
            await asyncio.sleep(0.1)
        raise TimeoutError("no leader with two standbys that have caught up")

    async def measure(self, kind: str) -> Sample:
        """Break the leader once and measure."""
        owner, epoch = await self.leader()
        await self._ledger()
        await self._flowing()
        t0_ns = time.time_ns()
        ending = asyncio.create_task(_acting(self._acts(kind, owner)))
        hurrying = asyncio.create_task(self._flow.run(ORDERS_PER_S_HURRIED)) if kind == PLANNED else None
        try:
            first_ns = await self._first_order(t0_ns)
        finally:
            if hurrying is not None:
                hurrying.cancel()
        order_ms = (first_ns - t0_ns) / 1e6
        sample = Sample(kind, None, order_ms, load=round(os.getloadavg()[0], 1))
        if kind != "broker kick":
            sample.phases_ms, successor = await self._phases(t0_ns)
            sample.tick_ms = await self._first_tick(max(epoch + 1, successor)) - t0_ns / 1e6
            done_ms = sum(sample.phases_ms.values())
            sample.phases_ms["order"] = max(0.0, order_ms - done_ms)
        await ending
        return sample

    def _acts(self, kind: str, owner: str) -> Awaitable[object]:
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "SIGKILL": lambda: asyncio.to_thread(self._system.signal, owner, signal.SIGKILL),
            "SIGSTOP": lambda: self._stop(owner),
            "network cut": lambda: self._cut(owner),
            "broker kick": self._kick,
            PLANNED: lambda: self._desk.control(ControlAction.HANDOVER, who="bench", reason="measured"),
        }
        return acts[kind]()

    async def _stop(self, owner: str) -> None:
        pid = await asyncio.to_thread(self._system.signal, owner, signal.SIGSTOP)
        await asyncio.sleep(STOPPED_S)
        os.kill(pid, signal.SIGCONT)

    async def _cut(self, owner: str) -> None:
        links = [*self._system.redis_links[owner], self._system.guard_links[owner]]
        await asyncio.gather(*(link.cut("lose", STOPPED_S) for link in links))

    async def _kick(self) -> None:
        body = {"client_id": 101, "abrupt": True}
        async with self._http.post(f"{self._system.simulator_http}/commands/cut", json=body) as reply:
            await reply.read()

    async def _flowing(self) -> None:
        """Wait until an order has just arrived, so that the flow is known to work."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            if any(entry["kind"] == "order_received" for entry in await self._ledger()):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError("no orders flow")

    async def _first_order(self, t0_ns: int) -> int:
        deadline = time.monotonic() + LIMIT_S
        session = None
        while time.monotonic() < deadline:
            for entry in await self._ledger():
                if entry["ts_ns"] < t0_ns:
                    continue
                if entry["kind"] == "session_started" and entry["client_id"] == 101:
                    session = entry["session"]
                elif entry["kind"] == "order_received" and entry["session"] == session:
                    return int(entry["ts_ns"])
            await asyncio.sleep(0.05)
        raise TimeoutError("no order of a successor")

    async def _first_tick(self, epoch: int) -> float:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            for found, at_ms in self._ticks:
                if found >= epoch:
                    return at_ms
            await asyncio.sleep(0.02)
        raise TimeoutError("no tick of a successor")

    async def _phases(self, t0_ns: int) -> tuple[dict[str, float], int]:
        """Return the phases of the first take-over after the fault, and its epoch, from the successors' logs."""
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            logs = [_take_over_events(path, t0_ns) for path in (self._system.run_dir / "logs").glob("gateway-*.log")]
            first_ms = min((_wall_ms(log[0]) for log in logs if log), default=0.0)
            for log in logs:
                at = next((at for at, event in enumerate(log) if event["event"] == "takeover.finished"), 0)
                if at:
                    won = log[at - 1]
                    before = {"detect": first_ms - t0_ns / 1e6, "again": _wall_ms(won) - first_ms}
                    return {**before, **log[at]["phases_ms"]}, won["epoch"]
            await asyncio.sleep(0.05)
        raise TimeoutError("no log of a take-over")


def _take_over_events(path: Path, t0_ns: int) -> list[dict[str, Any]]:
    """Return what a gateway's log says of leases won and take-overs finished since a moment, in order."""
    lines = path.read_text(errors="replace").splitlines()[-400:]
    events = [json.loads(line) for line in lines if '"lease.acquired"' in line or '"takeover.fin' in line]
    return [event for event in events if _wall_ms(event) >= t0_ns / 1e6]


async def _acting(act: Awaitable[object]) -> None:
    await act


def _wall_ms(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["ts"]).timestamp() * 1000


Told = Callable[[Sample | str], None]


async def measure(missing: dict[str, int], minutes: float, told: Told, *, standby: str = "warm") -> None:
    """Measure each kind as often as is missing, kinds in turn, and tell of each sample, or why there is none."""
    system = ChaosSystem(seed=7, tick_rate=20.0, gateway_env={"GATEWAY_STANDBY": standby})
    try:
        await system.start()
        os.environ.update(system.operator_env())
        settings = load_settings(BrokerSettings)
        async with open_desk(settings, client_name="cq-bench") as desk, aiohttp.ClientSession() as http:
            await until_ready(desk, 180.0)
            contract = await _resolved(desk)
            flow = Flow(desk, contract, (await desk.identity())["id"], await desk.bus.incarnation())
            bench = Bench(system, desk, http, flow)
            beside = [asyncio.create_task(flow.run()), asyncio.create_task(bench.run_ticks())]
            try:
                ends = time.monotonic() + minutes * 60
                for number in range(max(missing.values(), default=0)):
                    for kind in [kind for kind, count in missing.items() if number < count]:
                        if time.monotonic() > ends:
                            return
                        try:
                            told(await bench.measure(kind))
                        except (TimeoutError, CqError) as e:
                            told(f"{kind}: {type(e).__name__}: {e}")
            finally:
                for task in beside:
                    task.cancel()
    finally:
        await system.stop()
        if not os.environ.get("CQ_BENCH_KEEP"):
            system.remove()


async def _resolved(desk: Desk) -> ContractInfo:
    while True:
        try:
            return await desk.resolve("AAPL")
        except CqError:
            await asyncio.sleep(0.5)


def main() -> int:
    """Measure, add to what was measured before, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each kind, those of earlier runs counted")
    parser.add_argument("--resume", action="store_true", help="go on with the samples of earlier runs")
    parser.add_argument("--forget", choices=KINDS, action="append", default=[], help="earlier samples of this kind")
    parser.add_argument("--minutes", type=float, default=600.0, help="end this run after so long")
    parser.add_argument("--only", choices=KINDS, action="append", help="this kind; may be given several times")
    parser.add_argument("--standby", choices=("warm", "hot"), default="warm", help="hot: shown, not kept")
    parser.add_argument("--note", default="", help="a sentence for the report, such as what else ran")
    options = parser.parse_args()
    is_kept = options.standby == "warm"
    goes_on = options.resume and is_kept and DATA.exists()
    kept: dict[str, Any] = json.loads(DATA.read_text()) if goes_on else {}
    samples = [Sample(**row) for row in kept.get("samples", ()) if row["kind"] not in options.forget]
    failures: list[str] = [one for one in kept.get("failures", ()) if not one.startswith(tuple(options.forget))]
    runs: list[str] = [
        *kept.get("runs", ()),
        *(f"Forgotten: what was measured before of {one}." for one in options.forget),
    ]
    about = f"{machine()}; commit {commit()}; lease 1.0 s; {ORDERS_PER_S:g} orders a second asked for, "
    about += "20 ticks a second and contract."
    loads = [os.getloadavg()[0]]
    before = len(samples)

    def told(found: Sample | str) -> None:
        if isinstance(found, str):
            failures.append(found)
            print(found, file=sys.stderr, flush=True)
        else:
            samples.append(found)
            tick = "" if found.tick_ms is None else f"tick {found.tick_ms:.0f} ms, "
            inside = " ".join(f"{name} {value:.0f}" for name, value in found.phases_ms.items())
            print(f"{found.kind}: {tick}order {found.order_ms:.0f} ms  ({inside})", flush=True)
        loads.append(os.getloadavg()[0])
        if is_kept:
            save()

    def save() -> None:
        load = f"load {min(loads):.1f} to {max(loads):.1f}"
        told_runs = [*runs, f"{len(samples) - before} samples: {about} {load}. {options.note}".strip()]
        content = {"runs": told_runs, "failures": failures, "samples": [asdict(one) for one in samples]}
        DATA.write_text(json.dumps(content, indent=0) + "\n")
        PICTURE.write_text(picture(samples))
        write_page()
        REPORT.write_text(report(samples, told_runs, failures, (__doc__ or "").split("\n\n", 1)[1].strip()))

    kinds = options.only or list(KINDS)
    missing = {kind: options.trials - sum(one.kind == kind for one in samples) for kind in kinds}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(missing, options.minutes, told, standby=options.standby))
    for title, chosen in by_load(samples):
        print("\n".join([title, *table(chosen), "", *phases(chosen), ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

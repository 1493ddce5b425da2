"""Break the running system in every way we know, for a while, and let the broker's own books judge.

`python -m tests.chaos.run --for 600 --seed 1` prints its schedule first; the same seed draws the same one. Real
processes, a real Redis pair with Sentinels, the simulator over TCP through the guard. After the last fault everything
must settle; then an independent checker compares the broker's ledger with the bus. Exit status 0 only if nothing is
wrong. The page `report.html` has the timeline.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.measuring import machine
from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.books import fetch_truth
from shared.clock import iso_utc
from shared.errors import CqError
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.orders import Decision, OrderEvent
from shared.settings import BrokerSettings, load_settings
from tests.chaos.checker import Findings, judge, lost_by_broker
from tests.chaos.faults import Done, Trouble
from tests.chaos.orders import OrderSource
from tests.chaos.recorder import Recorder, Seen, read_all
from tests.chaos.report import Report
from tests.chaos.schedule import LEASE_S, Fault, draw
from tests.chaos.system import ACCOUNT, ChaosSystem
from tests.chaos.timeline import Bar
from tests.chaos.timeline import draw as draw_picture
from tests.chaos.waiting import until
from tests.proofs import record
from tests.proofs.page import write_page

START_LIMIT_S = 90.0
SETTLE_LIMIT_S = 180.0
JUDGE_EVERY_S, CANCEL_EVERY_S = 20.0, 10.0
CALM_S = 6.0
"""Orders flow for so long before the first fault."""
FOLDER = Path(".cache/chaos")


def streams(desk: Desk) -> tuple[str, ...]:
    """Return the streams of the order path."""
    keys = desk.keys
    return (
        keys.intents, keys.cancels, keys.decisions, keys.commands, keys.cancel_commands, keys.orders, keys.fills,
        keys.account, keys.broker_status,
    )  # fmt: skip


async def until_ready(desk: Desk, limit_s: float) -> None:
    """Wait for a leader that may trade.

    Raises:
        TimeoutError: there is none in time.
    """
    async with asyncio.timeout(limit_s):
        while True:
            try:
                rows = await desk.heartbeats()
            except CqError:
                rows = []
            if any(row.get("role") == "leader" and row.get("link") == "READY" for row in rows):
                return
            await asyncio.sleep(0.1)


async def fetch_ledger(simulator_http: str) -> list[dict[str, Any]]:
    """Return every entry of the broker's ledger."""
    async with aiohttp.ClientSession() as http, http.get(f"{simulator_http}/truth/ledger") as reply:
        return [json.loads(line) for line in (await reply.text()).splitlines()]


class Drill:
    """One run."""

    def __init__(self, system: ChaosSystem, desk: Desk, faults: list[Fault], *, seed: int, rate_per_s: float) -> None:
        self._system, self._desk, self._faults = system, desk, faults
        self._source = OrderSource(desk, random.Random(f"orders {seed}"), rate_per_s, ACCOUNT)
        self._recorder = Recorder(desk.bus, streams(desk), told=self._told)
        self.trouble = Trouble(system, desk)
        self.started = 0.0
        self.settled_s = 0.0
        self._lost: set[str] = set()

    def _told(self, seen: Seen) -> None:
        message = seen.message
        is_refusal = isinstance(message, Decision) and not message.approved
        if isinstance(message, Decision | OrderEvent) and (is_refusal or getattr(message, "leg", 1) == 0):
            self._source.answered(message.intent_id)

    async def run(self, report: Report) -> str:
        """Order, break, settle, judge; return the picture."""
        await until_ready(self._desk, START_LIMIT_S)
        await self._source.begin()
        recording = asyncio.create_task(self._recorder.run())
        ordering = asyncio.create_task(self._source.run())
        await asyncio.sleep(CALM_S)
        self.started = time.time()
        await self.trouble.run(self._faults, self.started)
        await until_ready(self._desk, SETTLE_LIMIT_S)
        self._source.is_stopping = True
        await ordering
        findings, now = await self._settle()
        recording.cancel()
        report.judge(findings)  # whatever else fails, what was found is kept
        truth = await until("the broker's books", SETTLE_LIMIT_S, lambda: fetch_truth(self._system.simulator_http))
        self._fill(report, truth, now)
        report.judge(findings)
        return self._picture(truth)

    async def _settle(self) -> tuple[Findings, list[Seen]]:
        """Stop the strategies, cancel what works, and judge until nothing is wrong or the limit passes.

        To judge is to read everything, which Redis, the broker and a machine under load feel: only when nothing works
        any more, or once in a while, for what the broker lost works for ever.
        """
        began = judged = time.monotonic()
        await asyncio.to_thread(self._system.supervisor.stop_process, "strategy-1")
        asked: dict[str, float] = {}
        while True:
            await asyncio.sleep(3.0)
            self.settled_s = time.monotonic() - began
            is_over = self.settled_s > SETTLE_LIMIT_S
            try:
                await self._source.repeat()
                is_quiet = not await self._cancel_all(asked) and not self._source.waiting
                if not (is_quiet or is_over or time.monotonic() - judged > JUDGE_EVERY_S):
                    continue
                findings, now = await self._judge()
                judged = time.monotonic()
                working = [order for order in await self._desk.open_orders() if order.order_ref not in self._lost]
            except CqError:
                if is_over:
                    raise
                continue
            if is_over or (findings.is_clean and not self._source.waiting and not working):
                return findings, now

    async def _cancel_all(self, asked: dict[str, float]) -> int:
        """Cancel what works, each again after a while, and return how many orders that are."""
        working = await self._desk.open_orders()
        for order in working:
            if order.intent_id and time.monotonic() - asked.get(order.intent_id, -CANCEL_EVERY_S) > CANCEL_EVERY_S:
                asked[order.intent_id] = time.monotonic()
                await self._desk.cancel(order.intent_id, reason="end of the drill")
        return len(working)

    async def _judge(self) -> tuple[Findings, list[Seen]]:
        desk = self._desk
        now = await read_all(desk.bus, streams(desk))
        dead = [
            " ".join(f"{name.decode()}={value[:150]!r}" for name, value in entry.fields.items() if name != b"body")
            for entry in await desk.bus.read_range(desk.keys.dead_letter)
        ]
        truth = await fetch_truth(self._system.simulator_http)
        ledger = await fetch_ledger(self._system.simulator_http)
        self._lost = lost_by_broker(ledger)
        findings = judge(
            truth, ledger, ever=self._recorder.seen, now=now, reports=await desk.positions(),
            values=await desk.account_values(), dead_letters=dead,
        )  # fmt: skip
        findings.unended += [f"{intent}: never answered" for intent in self._source.waiting]
        return findings, now

    def _fill(self, report: Report, truth: dict[str, Any], now: list[Seen]) -> None:
        report.asked = asdict(self._source.counts)
        report.broker = {
            "orders": len(truth["orders"]), "executions": len(truth["executions"]),
            "modifies": truth["counts"].get("modify_received", 0),
            "cancels": truth["counts"].get("cancel_received", 0),
            "sessions": truth["counts"].get("session_opened", 0),
        }  # fmt: skip
        report.bus = {
            "entries": len(now), "entries ever": len(self._recorder.seen),
            "servers": len(self._recorder.incarnations),
        }  # fmt: skip
        report.faults = [_row(done, self.started) for done in self.trouble.done]
        report.lost_by_broker = len(self._lost)
        report.takeovers = len({seen.epoch for seen in self._recorder.seen if isinstance(seen.message, Reconciled)})
        report.settled_s = self.settled_s
        bars = self._leaders()
        length = max(1.0, time.time() - self.started)
        report.ready_share = sum(bar.to_s - bar.from_s for bar in bars) / length

    def _leaders(self) -> list[Bar]:
        """Return when who was READY, as the leaders said."""
        bars: list[Bar] = []
        since: dict[str, float] = {}
        statuses = [seen.message for seen in self._recorder.seen if isinstance(seen.message, BrokerStatus)]
        for message in sorted((one for one in statuses if one.is_leader), key=lambda one: one.ts_init_ns):
            at = message.ts_init_ns / 1e9 - self.started
            for name, began in list(since.items()):
                if name != message.instance or message.state is not LinkState.READY:
                    bars.append(Bar("ready", max(0.0, began), max(0.0, at), name))
                    del since[name]
            if message.state is LinkState.READY:
                since.setdefault(message.instance, at)
        bars += [Bar("ready", max(0.0, began), time.time() - self.started, name) for name, began in since.items()]
        return [bar for bar in bars if bar.to_s > bar.from_s]

    def _picture(self, truth: dict[str, Any]) -> str:
        faults = [
            Bar(done.fault.place, done.began - self.started, done.ended - self.started, _words(done))
            for done in self.trouble.done
        ]
        flows = {
            "orders": [int(row["received_ns"]) / 1e9 - self.started for row in truth["orders"]],
            "fills": [int(row["ts_ns"]) / 1e9 - self.started for row in truth["executions"]],
        }
        return draw_picture(time.time() - self.started, faults, self._leaders(), flows)


def _words(done: Done) -> str:
    return " ".join((done.fault.text()[12:].strip(), done.target and f"({done.target})", done.note)).strip()


def _row(done: Done, started: float) -> dict[str, Any]:
    return {
        "at_s": round(done.began - started, 2), "name": done.fault.name, "place": done.fault.place,
        "target": done.target, "parameters": dict(done.fault.parameters),
        "lasted_s": round(max(0.0, done.ended - done.began), 2), "note": done.note, "is_error": done.is_error,
    }  # fmt: skip


async def run(options: argparse.Namespace, command: str) -> Report:
    """Run one drill and write its report."""
    report = Report(
        options.seed, options.seconds, options.every, command, machine(), lease_s=options.lease,
        commit=record.commit(), began=iso_utc(time.time_ns()),
    )  # fmt: skip
    faults = draw(options.seed, options.seconds, every_s=options.every, lease_s=options.lease)
    for fault in faults if options.show else ():
        print(fault.text(), flush=True)
    if options.record:
        record.put(report.row(), options.record)
    system = ChaosSystem(seed=options.seed, min_replicas=options.min_replicas, lease_s=options.lease)
    picture = ""
    folder = options.folder or FOLDER / f"seed-{options.seed}"
    try:
        await system.start()
        os.environ.update(system.operator_env())
        async with open_desk(load_settings(BrokerSettings), client_name="cq-chaos") as desk:
            drill = Drill(system, desk, faults, seed=options.seed, rate_per_s=options.rate)
            picture = await drill.run(report)
    finally:
        await system.stop()
        page = report.write(folder, picture)
        if options.record:
            record.put(report.row(), options.record)
            write_page()
        print(f"report: {page}", flush=True)
        if report.is_clean and not options.keep:
            system.remove()
        else:
            print(f"logs: {system.run_dir}", flush=True)
    return report


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--for", dest="seconds", type=float, default=600.0, help="seconds of faults")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of schedule, orders")
    parser.add_argument("--every", type=float, default=2.5, help="seconds between faults, on average")
    parser.add_argument("--rate", type=float, default=15.0, help="intents a second while the system answers")
    parser.add_argument("--lease", type=float, default=LEASE_S, help="lease in seconds; pauses are in proportion")
    parser.add_argument("--min-replicas", type=int, default=0, help="Redis' min-replicas-to-write")
    parser.add_argument("--folder", type=Path, help=f"where the report goes (default {FOLDER}/seed-…)")
    parser.add_argument("--record", **record.OPTION)
    parser.add_argument("--show", action="store_true", help="print the schedule first")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--keep", action="store_true", help="keep logs and data also of a clean run")
    options = parser.parse_args()
    command = (
        f"make chaos FOR={options.seconds:g} SEED={options.seed} EVERY={options.every:g} LEASE={options.lease:g} "
        f"RATE={options.rate:g}"
    )
    print(f"seed {options.seed}: again with {command}", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run(options, command))
    print(json.dumps(asdict(report), indent=1) if options.json else "\n".join(report.lines()), flush=True)
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())

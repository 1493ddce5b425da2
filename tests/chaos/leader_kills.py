"""Kill the leading gateway again and again under order flow, and let the broker's own books judge.

`python -m tests.chaos.leader_kills --kills 20` starts the whole local system (real processes, real Redis, the simulator
over TCP through the guard), kills the leader with SIGKILL whenever new orders have reached the broker since the last
kill, and at the end compares: orders sent twice, executions lost or published twice, intents without an end,
positions, cash.
Exit status 0 only if nothing is wrong. `--json` prints the report for scripts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.books import Verdict, fetch_truth, judge
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.messages import decode_fields
from shared.messages.orders import Decision, Intent, OrderEvent
from shared.settings import BrokerSettings, load_settings
from tests.chaos.waiting import until

ROOT = Path(__file__).resolve().parents[2]
ORDERS_BETWEEN_KILLS = 3
TAKEOVER_LIMIT_S = 30.0
SETTLE_LIMIT_S = 40.0


@dataclass
class Report:
    """What one run showed; times in seconds from the SIGKILL to the successor's READY."""

    kills: int = 0
    takeovers_s: list[float] = field(default_factory=list)
    intents: int = 0
    intents_without_end: list[str] = field(default_factory=list)
    orders_without_approval: list[str] = field(default_factory=list)
    verdict: dict[str, Any] = field(default_factory=dict)
    is_clean: bool = False


async def leader_of(desk: Desk) -> dict[str, Any] | None:
    """Return the heartbeat of the gateway that leads and is READY."""
    for row in await desk.heartbeats():
        if row["service"] == "gateway" and row.get("role") == "leader" and row.get("link") == "READY":
            return row
    return None


async def kill_again_and_again(system: LocalSystem, desk: Desk, kills: int, report: Report) -> None:
    """Kill the leader `kills` times, each time after new orders reached the broker."""
    for number in range(kills):
        leader = await until("a READY leader", TAKEOVER_LIMIT_S, lambda: leader_of(desk))
        before = len((await fetch_truth(system.simulator_http))["orders"])
        enough = partial(_more_orders, system.simulator_http, before + ORDERS_BETWEEN_KILLS)
        await until("order flow", 60.0, enough)
        started = time.monotonic()
        system.supervisor.kill(leader["instance"])
        report.kills += 1
        await until("a take-over", TAKEOVER_LIMIT_S, partial(_newer_leader, desk, leader["epoch"]))
        report.takeovers_s.append(time.monotonic() - started)
        took = f"{leader['instance']} killed, READY again after {report.takeovers_s[-1]:.2f} s"
        print(f"kill {number + 1} of {kills}: {took}", file=sys.stderr, flush=True)


async def _more_orders(simulator_http: str, count: int) -> bool:
    return len((await fetch_truth(simulator_http))["orders"]) >= count


async def _newer_leader(desk: Desk, epoch: int) -> dict[str, Any] | None:
    leader = await leader_of(desk)
    return leader if leader is not None and leader["epoch"] > epoch else None


async def settle(system: LocalSystem, desk: Desk) -> Verdict:
    """Stop the strategies, cancel what works, and judge until it is clean or the limit passes."""
    for info in system.supervisor.processes():
        if info.name.startswith("strategy-"):
            await asyncio.to_thread(system.supervisor.stop_process, info.name)
    deadline = time.monotonic() + SETTLE_LIMIT_S
    while True:
        for order in await desk.open_orders():
            if order.intent_id:
                await desk.cancel(order.intent_id, reason="end of the drill")
        await asyncio.sleep(1.0)
        verdict = await judge(desk, system.simulator_http)
        if (verdict.is_clean and not await desk.open_orders()) or time.monotonic() > deadline:
            return verdict


async def examine_intents(system: LocalSystem, desk: Desk, report: Report) -> None:
    """Find intents that never ended (P4) and orders at the broker that no approval stands behind (P1)."""
    intents: dict[str, str] = {}
    approved: set[str] = set()
    for stream in (desk.keys.intents, desk.keys.decisions, desk.keys.orders):
        for entry in await desk.bus.read_range(stream):
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
            if isinstance(message, Intent):
                intents.setdefault(message.intent_id, "undecided")
            elif isinstance(message, Decision):
                intents[message.intent_id] = "approved" if message.approved else "rejected"
                if message.approved:
                    approved.add(message.intent_id)
            elif isinstance(message, OrderEvent) and message.intent_id and message.leg == 0:
                intents[message.intent_id] = message.state.value if message.state.is_final else f"open: {message.state}"
    report.intents = len(intents)
    report.intents_without_end = [
        f"{intent}: {state}"
        for intent, state in intents.items()
        if state in ("undecided", "approved") or "open" in state
    ]
    for row in (await fetch_truth(system.simulator_http))["orders"]:
        reference = str(row["order_ref"])
        if reference[9:29] not in approved:
            report.orders_without_approval.append(reference)


async def run(kills: int, strategies: Path, *, keep: bool) -> Report:
    """Run the drill and return its report."""
    report = Report()
    system = LocalSystem(LocalOptions(strategies_file=str(strategies)), Path.cwd())
    try:
        await system.start(lambda line: print(line, file=sys.stderr, flush=True))
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings), client_name="cq-drill") as desk:
            await kill_again_and_again(system, desk, kills, report)
            verdict = await settle(system, desk)
            await examine_intents(system, desk, report)
        report.verdict = {name: str(value) for name, value in asdict(verdict).items()}
        wrong = report.intents_without_end or report.orders_without_approval
        report.is_clean = verdict.is_clean and verdict.executions > 0 and not wrong
    finally:
        await asyncio.to_thread(lambda: system.stop(keep_files=keep or not report.is_clean))
        if not report.is_clean:
            print(f"logs are kept in {system.run_dir}", file=sys.stderr)
    return report


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--strategies", type=Path, default=ROOT / "strategies" / "strategies.toml")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(run(options.kills, options.strategies.resolve(), keep=options.keep))
    if options.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        times = report.takeovers_s
        print(f"kills {report.kills}; READY again: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")
        print(f"intents {report.intents}, without an end {len(report.intents_without_end)}")
        print(f"orders without approval {len(report.orders_without_approval)}")
        for name, value in report.verdict.items():
            print(f"{name.replace('_', ' ')}: {value}")
        for line in (*report.intents_without_end[:10], *report.orders_without_approval[:10]):
            print(f"  {line}")
        print("clean" if report.is_clean else "NOT CLEAN")
    return 0 if report.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())

"""Write the report: `python -m bench` measures everything and writes `bench/report.md` and `bench/report.json`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import backtests, bus, feed, guard, hops, path, replay, risk, simulator, system, workers
from bench.measuring import Row, machine, ratio, version_of
from bench.server import BenchServer
from copilot_quant.local.redis_process import find_redis

REPORT = Path(__file__).parent / "report.md"


def table(rows: list[Row]) -> list[str]:
    """Return rows as Markdown."""
    lines = ["| what | median | spread | unit |", "|---|---:|---|---|"]
    lines += [f"| {row.name} | {row.median:,.4g} | {row.spread} | {row.unit} |" for row in rows]
    return lines


def bus_part(rounds: int) -> list[str]:
    """Measure the bus beside its references."""
    with BenchServer() as server:
        rows = bus.measure(server, rounds)
    by_name = {row.name: row for row in rows}
    publish, consume = by_name["bus: publish"], by_name["bus: consume"]
    lines = ["## Bus: typed quotes to Redis and back", "", *table(rows), ""]
    for name, ours in (
        ("redis-py pipeline of 50: publish", publish),
        ("hiredis-packed commands: publish", publish),
        ("redis-benchmark -P 64: publish", publish),
        ("redis-py consumer group: consume", consume),
    ):
        if name in by_name:
            lines.append(f"- ours over {name}: {ratio(ours, by_name[name]):.2f}")
    return lines


def feed_part(rounds: int) -> list[str]:
    """Measure the gateway's way from the TWS socket to Redis beside a bare client."""
    rows = feed.measure(rounds)
    by_name = {row.name: row for row in rows}
    share = ratio(by_name["gateway: socket to Redis"], by_name["bare ib_insync, empty handler"])
    return ["", "## Gateway: from the TWS socket to Redis", "", *table(rows), "", f"- ours over bare: {share:.2f}"]


def risk_part(rounds: int) -> list[str]:
    """Measure what one decision costs, whole and rule by rule."""
    rows, rules = risk.measure(rounds)
    lines = ["", "## Risk: one decision", "", (risk.__doc__ or "").split("\n\n")[1], "", *table(rows), ""]
    by_cost = sorted(rules, key=lambda row: -row.median)
    lines += ["Rule by rule, each asked alone, the dearest first:", "", *table(by_cost), ""]
    return [*lines, f"- all {len(rules)} rules one by one: {sum(row.median for row in rules):.2f} us"]


def simulator_part(rounds: int) -> list[str]:
    """Measure what the simulator serves beside what a bare client can take."""
    rows = simulator.measure(rounds)
    by_name = {row.name: row for row in rows}
    bare = by_name["bare ib_insync, empty handler"]
    lines = ["", "## Simulator: ticks served, orders filled", "", *table(rows), ""]
    lines += [
        f"- {name}, over what bare ib_insync takes: {ratio(by_name[name], bare):.2f}"
        for name in ("simulator: to one client", "simulator: to eight, together")
    ]
    spent = ratio(by_name["bare ib_insync, CPU"], by_name["simulator: to one client, CPU"])
    lines.append(f"- messages served per CPU second, over what bare ib_insync takes per CPU second: {spent:.2f}")
    return [*lines, *replay.report(), *backtests.report()]


def workers_part(rounds: int) -> list[str]:
    """Measure what strategy workers take, and their hand-overs."""
    rows, bad = workers.measure(rounds)
    lines = ["", "## Strategy workers", "", (workers.__doc__ or "").split("\n\n")[1], "", *table(rows), ""]
    return [*lines, f"- quotes lost or doubled, hand-overs included: {bad}"]


def system_part(rounds: int, seconds: float) -> list[str]:
    """Measure tick to order, memory and start beside three bare hops."""
    ours, bare = [], []
    memory: dict[str, list[float]] = {}
    start: dict[str, list[float]] = {}
    for number in range(rounds):
        bare.append(hops.measure(min(seconds, 10.0)))
        ours.append(system.measure(seconds))
        mine, beside, alone = ours[-1]["p50"], ours[-1]["beside"]["p50"], bare[-1]["p50"]
        print(
            f"  round {number + 1}: p50 {mine:.2f} ms; bare beside {beside:.2f} ms, alone {alone:.2f} ms",
            file=sys.stderr,
        )
        for name, value in ours[-1]["memory_mb"].items():
            memory.setdefault(name, []).append(value)
        for name, value in ours[-1]["start_s"].items():
            start.setdefault(name, []).append(value)
    lines = ["", "## Tick to order", "", (system.__doc__ or "").split("\n\n")[1], ""]
    lines += [
        "| percentile | ours (ms) | three bare hops at the same time (ms) | ratio | the same alone (ms) | ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for share in ("p50", "p95", "p99"):
        row = [f"{statistics.median(one[share] for one in ours):.2f}"]
        for reference in ([one["beside"] for one in ours], bare):
            paired = [a[share] / b[share] for a, b in zip(ours, reference, strict=True)]
            row += [f"{statistics.median(b[share] for b in reference):.2f}", f"{statistics.median(paired):.2f}"]
        lines.append(f"| {share} | {' | '.join(row)} |")
    lines += ["", f"Orders measured: {sum(one['orders'] for one in ours)}.", ""]
    lines += ["### Hop by hop", "", (path.__doc__ or "").strip(), ""]
    times = [row for one in ours for row in one["times"]]
    lines += [*path.table(times), "", path.of_risk(times), ""]
    lines += [*path.spent_table([one["spent"] for one in ours]), "", "## Memory and start", ""]
    lines += ["| process | memory (MB) | ready to beat after (s) |", "|---|---:|---:|"]
    for name, values in sorted(memory.items()):
        ready = f"{statistics.median(start[name]):.2f}" if name in start else ""
        lines.append(f"| {name} | {statistics.median(values):.0f} | {ready} |")
    return lines


def main() -> int:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the whole system runs in each round")
    parser.add_argument("--only", choices=["bus", "feed", "guard", "risk", "simulator", "system", "workers"])
    options = parser.parse_args()
    started = time.monotonic()
    server = version_of([find_redis().path, "--version"])
    lines = ["# Bench report", "", f"{machine()}; {server}. Medians of {options.rounds} rounds.", ""]
    parts: dict[str, Callable[[], list[str]]] = {
        "bus": lambda: bus_part(options.rounds),
        "feed": lambda: feed_part(options.rounds),
        "guard": guard.report,
        "risk": lambda: risk_part(options.rounds),
        "simulator": lambda: simulator_part(options.rounds),
        "workers": lambda: workers_part(options.rounds),
        "system": lambda: system_part(options.rounds, options.seconds),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            print(f"measuring {name} …", file=sys.stderr)
            lines += part()
    text = "\n".join(lines) + "\n"
    if options.only is None:
        REPORT.write_text(text)
    print(text)
    print(json.dumps({"took_s": round(time.monotonic() - started)}), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether memory stays flat: the whole local system under the bench's load, its processes' memory once a minute.

`python -m bench.soak --minutes 30` prints a table and, for each process, how much it grew between the end of the
first third (when caches and buffers have filled) and the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from bench.system import local_options, memory_mb
from copilot_quant.desk import open_desk
from copilot_quant.local.books import fetch_truth
from copilot_quant.local.system import LocalSystem
from shared.settings import BrokerSettings, load_settings


async def _run(minutes: int, tick_rate: str) -> tuple[dict[str, list[float]], int]:
    system = LocalSystem(local_options(tick_rate), Path.cwd())
    rows: dict[str, list[float]] = {}
    try:
        await system.start(lambda _: None)
        os.environ.update({**system.operator_env(), "CQ_ENV_FILE": ""})
        async with open_desk(load_settings(BrokerSettings)) as desk:
            for minute in range(minutes):
                await asyncio.sleep(60)
                for info in system.supervisor.processes():
                    rows.setdefault(info.name, []).append(memory_mb(info.pid) if info.pid else 0.0)
                fills = await desk.bus.stream_length(desk.keys.fills)
                shown = "  ".join(f"{name} {values[-1]:.0f}" for name, values in sorted(rows.items()))
                print(f"minute {minute + 1}: {shown} MB; fills {fills}", file=sys.stderr, flush=True)
            orders = len((await fetch_truth(system.simulator_http))["orders"])
    finally:
        await asyncio.to_thread(system.stop)
    return rows, orders


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--tick-rate", default="200", help="synthetic events per second and contract; five contracts")
    options = parser.parse_args()
    rows, orders = asyncio.run(_run(options.minutes, options.tick_rate))
    print(f"{options.minutes} minutes, {orders} orders\n")
    print("| process | after a third (MB) | at the end (MB) | growth (MB an hour) |\n|---|---:|---:|---:|")
    for name, values in sorted(rows.items()):
        third = max(0, len(values) // 3 - 1)
        hours = max(1, len(values) - 1 - third) / 60
        print(f"| {name} | {values[third]:.1f} | {values[-1]:.1f} | {(values[-1] - values[third]) / hours:+.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A whole recorded day of several symbols at 60 times its speed: is it ever late, and what does it cost?

`python -m bench.replay --speed 60 FILE…` runs the simulator with one client subscribed to every symbol and prints one
line of JSON. The report only quotes it where `bench/replay.json` was written with `--save`: a day takes 6.5 minutes.

"Late" is how long after its time the first row of a turn was played, over all turns of the day, as the simulator's own
histogram counts it: rows due within a millisecond are played in one turn, so up to 1 ms belongs to the design. The
percentiles are the bounds of the histogram's buckets; the maximum is exact. Beside it runs a process that does nothing
but wait for a timer every 5 ms: what that is late by, nobody on this machine could have done better.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.simulator import Client, cpu_s, frames_in
from copilot_quant.local.ports import reserve_ports
from services.simulator.shell.files import read_recordings
from shared.tws import requests as rq
from shared.tws.contract import TwsContract

TIMER = """
import sys, time
until, late = time.perf_counter() + float(sys.argv[1]), []
while (now := time.perf_counter()) < until:
    time.sleep(0.005)
    late.append((time.perf_counter() - now - 0.005) * 1000)
late.sort()
print(*(late[int(share * (len(late) - 1))] for share in (0.5, 0.99, 0.999, 1.0)))
"""
SAVED = Path(__file__).parent / "replay.json"


def run(files: list[str], speed: float) -> dict[str, Any]:
    """Play the files once and return the figures."""
    recordings = read_recordings(tuple(files))
    rows = sum(len(each) for each in recordings.values())
    first_ms = min(each.ts_ms[0] for each in recordings.values())
    last_ms = max(each.ts_ms[-1] for each in recordings.values())
    due_s = (last_ms - first_ms) / 1000 / speed
    port, control_port = reserve_ports(2)
    command = [
        sys.executable, "-m", "services.simulator", "--once", "--speed", str(speed), "--port", str(port),
        "--http-port", str(control_port),
    ]  # fmt: skip
    for name in files:
        command += ["--replay", name]
    environment = {**os.environ, "CQ_ENV_FILE": ""}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    count = _Counter()
    try:
        _wait_until_open(control_port)
        client = Client(port, 1)
        requests = [
            rq.ReqMktData(number, TwsContract(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD"))
            for number, symbol in enumerate(recordings, start=1)
        ]
        client.send(*requests)
        threading.Thread(target=count.read, args=(client,), daemon=True).start()
        before = _Late(control_port)
        used, started = cpu_s(process.pid), time.perf_counter()
        with subprocess.Popen([sys.executable, "-c", TIMER, str(due_s)], stdout=subprocess.PIPE, text=True) as timer:
            machine = [round(float(each), 2) for each in timer.communicate()[0].split()]
        late = _Late(control_port)
        late.forget(before)
        used, took = cpu_s(process.pid) - used, time.perf_counter() - started
    finally:
        process.kill()
        process.wait(30)
    return {
        "symbols": sorted(recordings), "rows": rows, "speed": speed, "took_s": round(took, 1),
        "rows_per_s": round(rows / took), "messages": count.frames, "turns": late.turns,
        "late_ms_p50": late.below_ms(0.5), "late_ms_p99": late.below_ms(0.99), "late_ms_p999": late.below_ms(0.999),
        "late_ms_max": late.most_ms, "machine_late_ms": machine, "cpu_share": round(used / took, 3),
    }  # fmt: skip


class _Counter:
    """Counts frames in a thread of its own."""

    def __init__(self) -> None:
        self.frames = 0

    def read(self, client: Client) -> None:
        """Read until the connection ends."""
        rest = b""
        client.socket.settimeout(None)
        while data := client.socket.recv(1 << 18):
            rest += data
            count, used = frames_in(rest)
            self.frames, rest = self.frames + count, rest[used:]


def _wait_until_open(control_port: int) -> None:
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{control_port}/healthz", timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the simulator did not start within a minute")


class _Late:
    """The simulator's histogram of lateness."""

    def __init__(self, control_port: int) -> None:
        self.counts: dict[float, float] = {}
        self.most_ms = 0.0
        with urllib.request.urlopen(f"http://127.0.0.1:{control_port}/metrics", timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("cq_simulator_late_seconds_bucket"):
                    self.counts[float(line.split('"')[1])] = float(line.split()[-1])
                elif line.startswith("cq_simulator_most_late_seconds "):
                    self.most_ms = round(float(line.split()[1]) * 1000, 2)

    def forget(self, before: _Late) -> None:
        """Take off what an earlier reading had counted."""
        self.counts = {bound: count - before.counts[bound] for bound, count in self.counts.items()}

    @property
    def turns(self) -> int:
        """Return how many turns there were."""
        return int(self.counts[float("inf")])

    def below_ms(self, share: float) -> float:
        """Return the lowest bound below which at least this share of the turns was."""
        wanted = share * self.turns
        return next(round(bound * 1000, 2) for bound, count in self.counts.items() if count >= wanted)


def report() -> list[str]:
    """Return the lines of the report, none where no day was measured."""
    if not SAVED.exists():
        return []
    day = json.loads(SAVED.read_text())
    return [
        "",
        f"A recorded day of {', '.join(day['symbols'])} ({day['rows']:,} rows) at {day['speed']:g} times its speed, "
        f"one client for all: {day['rows_per_s']:,} rows/s for {day['took_s']:g} s, {day['messages']:,} messages, "
        f"late by less than {day['late_ms_p50']} ms (p50), {day['late_ms_p99']} ms (p99) and {day['late_ms_p999']} ms "
        f"(p99.9), {day['late_ms_max']} ms at most, over {day['turns']:,} turns; {day['cpu_share']:.0%} of one core. "
        "A timer beside it that does nothing was late by {} ms, {} ms, {} ms and {} ms.".format(
            *day["machine_late_ms"]
        ),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    line = json.dumps(run(options.files, options.speed))
    if options.save:
        SAVED.write_text(line + "\n")
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

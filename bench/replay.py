"""A whole recorded day of several symbols at 60 times its speed: is it ever late, and what does it cost?

`python -m bench.replay --speed 60 FILE…` runs the simulator with one client subscribed to every symbol and prints one
line of JSON. The report only quotes it where `bench/replay.json` was written with `--save`: a day takes 6.5 minutes.
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
    late: list[float] = []
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
        used, started = cpu_s(process.pid), time.perf_counter()
        while time.perf_counter() - started < due_s:
            time.sleep(0.25)
            late.append(_late_s(control_port))
        used, took = cpu_s(process.pid) - used, time.perf_counter() - started
    finally:
        process.kill()
        process.wait(30)
    late.sort()
    return {
        "symbols": sorted(recordings), "rows": rows, "speed": speed, "took_s": round(took, 1),
        "rows_per_s": round(rows / took), "messages": count.frames, "late_ms_p50": _ms(late, 0.5),
        "late_ms_p99": _ms(late, 0.99), "late_ms_max": _ms(late, 1.0), "cpu_share": round(used / took, 3),
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


def _late_s(control_port: int) -> float:
    """Return how late the exchange's last timer was, from its own metric."""
    with urllib.request.urlopen(f"http://127.0.0.1:{control_port}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("cq_simulator_late_seconds "):
                return float(line.split()[1])
    raise RuntimeError("the simulator does not say how late it is")


def _ms(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2)


def report() -> list[str]:
    """Return the lines of the report, none where no day was measured."""
    if not SAVED.exists():
        return []
    day = json.loads(SAVED.read_text())
    return [
        "",
        f"A recorded day of {', '.join(day['symbols'])} ({day['rows']:,} rows) at {day['speed']:g} times its speed, "
        f"one client for all: {day['rows_per_s']:,} rows/s for {day['took_s']:g} s, {day['messages']:,} messages, "
        f"late by {day['late_ms_p50']} ms (p50), {day['late_ms_p99']} ms (p99), {day['late_ms_max']} ms at most; "
        f"{day['cpu_share']:.0%} of one core.",
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

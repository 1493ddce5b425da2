"""How many events a second a backtest plays, beside backtrader and nautilus_trader on the same events.

`python -m bench.backtests --data FOLDER --save` reads the ticks of IBM, BAC and SPY in a folder (files as `cq
backtest` takes them; `BENCH_TICKS` names it too), up to `--to` where that is given, and runs each program in a
process of its own, one after the other within each round. The report quotes what was saved.

Measured is the CPU time of the run itself, from events in memory to the end of the span; reading files and making
each program's own objects is apart. Alike are the events, the strategy (`bench/crossing.py`, plain Python, once per
event), market orders, a commission of 0.1 % and an account of 100,000. Not alike:

- **ours** asks every rule of risk before each order, carries it through the gateway's order states, matches it
  against the displayed size with a latency of 10 ms and slippage of 0.05 %, keeps margin, values the account every
  minute and computes statistics and trade list at the end; all of that is in its time;
- **backtrader** knows bars only, so each event is a bar; it fills at the next bar's open whatever its size, with
  slippage of 0.05 % and no latency, and no analyzer was added; it merges events of one moment, so its `next` sees a
  few less;
- **nautilus_trader** matches against the best quote or the last trade, with no slippage and no latency; it reads its
  ticks from objects that were made before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.measuring import Row, machine, ratio
from copilot_quant.backtest.data import MarketData
from tools.peers import CACHE, is_installed

SYMBOLS = ("IBM", "BAC", "SPY")
SAVED = Path(__file__).parent / "backtest.json"
HERE = Path(__file__).parent
PROGRAMS = {"ours": "own_backtest.py", "backtrader": "peer_backtrader.py", "nautilus_trader": "peer_nautilus.py"}
LIMIT_S = 1800.0


def write_columns(data: MarketData, folder: Path) -> int:
    """Write each symbol's events as columns; return how many there are."""
    for name in data.names:
        each = data.ticks[name]
        np.save(
            folder / f"{name}.npy", np.array([each.at_ns, each.is_quote, each.a, each.b, each.c, each.d], dtype=float)
        )
    return data.count()


def run(program: str, folder: Path) -> dict[str, Any]:
    """Run one program once in a process of its own and return what it says."""
    paths = [str(HERE.parent)] + ([] if program == "ours" else [str(CACHE / program)])
    done = subprocess.run(
        [sys.executable, str(HERE / PROGRAMS[program]), str(folder)], env={**os.environ, "PYTHONPATH": ":".join(paths)},
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(data: MarketData, rounds: int, span: str, *, is_saved: bool) -> dict[str, Any]:
    """Run every program in each round; what is known is saved after each round, beside other spans."""
    known = [name for name in PROGRAMS if name == "ours" or is_installed(name)]
    for name in PROGRAMS:
        if name not in known:
            print(f"  without {name}: `python -m tools.peers --bench` installs it", file=sys.stderr)
    result: dict[str, Any] = {"machine": machine(), "symbols": list(data.names), "rounds": 0, "runs": {}, "span": span}
    with tempfile.TemporaryDirectory() as folder:
        result["events"] = write_columns(data, Path(folder))
        for number in range(rounds):
            for name in known:
                said = run(name, Path(folder))
                result["runs"].setdefault(name, []).append(said)
                print(f"  round {number + 1}: {name}: {said['events'] / said['run_s']:,.0f} events/s", file=sys.stderr)
            result["rounds"] = number + 1
            if is_saved:
                others = json.loads(SAVED.read_text()) if SAVED.exists() else {}
                SAVED.write_text(json.dumps({**others, span: result}, indent=1) + "\n")
    return result


def lines_of(result: dict[str, Any]) -> list[str]:
    """Return a saved result as Markdown."""
    rates = {
        name: Row(name, "events/s", [one["events"] / one["run_s"] for one in runs])
        for name, runs in result["runs"].items()
    }
    whole = {
        name: Row(name, "events/s", [one["events"] / (one["run_s"] + one["prepare_s"]) for one in runs])
        for name, runs in result["runs"].items()
    }
    lines = [
        "", f"{result['span']}: {result['events']:,} events of {', '.join(result['symbols'])}; {result['machine']}; "
        f"medians of {result['rounds']} rounds.", "",
        "| program | events/s | spread | with making its objects | events seen | orders |",
        "|---|---:|---|---:|---:|---:|",
    ]  # fmt: skip
    for name, runs in result["runs"].items():
        last, words = runs[-1], f"{name} {runs[-1]['version']}".strip()
        lines.append(
            f"| {words} | {rates[name].median:,.0f} | {rates[name].spread} | {whole[name].median:,.0f} | "
            f"{last['events']:,} | {last['orders']:,} |"
        )
    lines.append("")
    lines += [f"- ours over {name}: {ratio(rates['ours'], rates[name]):.1f}" for name in rates if name != "ours"]
    return lines


def report() -> list[str]:
    """Return the lines of the report, or what is to be done for them."""
    lines = ["", "## Backtest: events a second", "", (__doc__ or "").split("\n\n", 2)[2].strip()]
    if not SAVED.exists():
        return [*lines, "", "Not measured: `python -m bench.backtests --data FOLDER --save`."]
    for result in json.loads(SAVED.read_text()).values():
        lines += lines_of(result)
    return lines


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("BENCH_TICKS", ""), help="folder with a day's ticks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--to", default="", help="play up to this time only, such as 2013-10-08T10:30")
    parser.add_argument("--save", action="store_true", help=f"write {SAVED.name}, which the report quotes")
    options = parser.parse_args()
    if not options.data:
        print("skipped: name a folder with the ticks of a day (--data or BENCH_TICKS)", file=sys.stderr)
        return 0
    data = MarketData.load(Path(options.data), SYMBOLS, last=options.to or None, is_daily=False)
    span = f"Up to {options.to}" if options.to else "The whole day"
    result = measure(data, options.rounds, span, is_saved=options.save)
    if options.save:
        SAVED.with_suffix(".md").write_text("\n".join(report()).strip() + "\n")
    print("\n".join(lines_of(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

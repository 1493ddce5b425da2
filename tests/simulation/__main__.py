"""Run many seeds, side by side, going on where the last run stopped; show a failing one as small as it can be made.

```sh
python -m tests.simulation                       # make simulate: 500 seeds more
python -m tests.simulation --seeds 100000        # make simulate SEEDS=100000: up to this number
python -m tests.simulation --seeds 100000 --record   # RECORD=1: each counts towards what docs/reference/proofs.md says
python -m tests.simulation --seed 253            # one seed, with its trace
python -m tests.simulation --mutants             # make mutants
```
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shared.clock import iso_utc
from tests.proofs import record
from tests.proofs.page import write_page
from tests.simulation.mutants import MUTANTS, options_for
from tests.simulation.options import Options, drawn
from tests.simulation.run import Result, run

CACHE = Path(".cache/simulation.json")
CHUNK = 8
FURTHER = 500
NOTE_EVERY_S = 30.0
"""How often a recorded run writes down how far it is."""
TRACE_LINES = 80


def failing(seeds: list[int], mutant: str = "") -> list[tuple[int, str]]:
    """Run seeds; return those that broke a promise, each with its first violation."""
    found = []
    gc.disable()  # what a run leaves behind is freed at once between two lists of seeds, not looked for within one
    for seed in seeds:
        options = options_for(mutant, seed) if mutant else drawn(seed)
        result = run(options, patch=MUTANTS[mutant] if mutant else None)
        if not result.is_clean:
            found.append((seed, str(result.violations[0])))
            if mutant:
                break
    gc.collect()
    return found


def chunks(first: int, last: int) -> Iterator[list[int]]:
    """Yield the seeds from `first` to before `last` in small lists."""
    for start in range(first, last, CHUNK):
        yield list(range(start, min(start + CHUNK, last)))


def smaller(options: Options) -> Iterator[Options]:
    """Yield runs with a little less in them."""
    for kind in options.rates:
        yield replace(options, rates={name: rate for name, rate in options.rates.items() if name != kind})
    if options.workers:
        yield replace(options, workers=0)
    if options.gateways > 1:
        yield replace(options, gateways=options.gateways - 1)
    if options.risks > 1:
        yield replace(options, risks=1)
    if options.rage_s > 4:
        yield replace(options, rage_s=options.rage_s / 2)
    if options.drift:
        yield replace(options, drift=0.0)
    if options.wall_offset_s:
        yield replace(options, wall_offset_s=0.0)


def minimal(options: Options, promise: str) -> Options:
    """Return the smallest run found that still breaks the same promise."""
    is_shrinking = True
    while is_shrinking:
        is_shrinking = False
        for candidate in smaller(options):
            result = run(candidate)
            if any(each.promise == promise for each in result.violations):
                options, is_shrinking = candidate, True
                break
    return options


def show(seed: int, *, shrink: bool) -> bool:
    """Print one seed's run: what it was, what broke, and what led to it; True if nothing broke."""
    result = run(drawn(seed))
    if not result.is_clean and shrink:
        result = run(minimal(drawn(seed), result.violations[0].promise), trace=True)
    else:
        result = run(drawn(seed), trace=True)
    print(f"seed {seed}: {result.options.shown()}")
    for line in told(result):
        print(line)
    for violation in result.violations:
        print(f"VIOLATION {violation}")
    return result.is_clean


def told(result: Result) -> list[str]:
    """Return the lines of a trace that matter: faults, leadership, links, and the order that the violation names."""
    text = str(result.violations[0]) if result.violations else ""
    names = [word.split("-")[1] for word in text.replace(":", " ").split() if word.startswith("cq") and "-" in word]
    kept = ("FAULT", "lease.", "link.", "takeover.", "halt.", "worker.", "unit.", *names)
    return [line for line in result.trace if any(word in line for word in kept)][-TRACE_LINES:]


class Progressed:
    """How far seeds have run, and which of them broke a promise: in the cache, and in the record if that is asked for.

    A recorded run goes on after the highest recorded seed, wherever that was run; any other one after what ran last,
    and looks first whether what failed before still does.
    """

    def __init__(self, first: int | None, file: Path | None, *, cache: Path = CACHE) -> None:
        self._file, self._cache = file, cache
        self.failed: dict[str, str] = {}
        kept: dict[str, Any] = json.loads(cache.read_text()) if cache.exists() else {"next": 0, "failed": {}}
        recorded = record.next_seed(record.read(file or record.RECORD))
        if first is not None:
            self.next = first
        elif file is not None:
            self.next = recorded
        else:
            self.next = max(recorded, kept["next"])
            self.failed = {str(seed): text for seed, text in failing([int(seed) for seed in kept["failed"]])}
        self._from = self.next
        self._began, self._began_s = iso_utc(time.time_ns()), time.monotonic()
        self._noted_s = self._began_s
        self._commit = record.commit() if file is not None else ""

    def ran(self, seeds: list[int], found: list[tuple[int, str]]) -> None:
        """Take the next seeds, which must follow those before."""
        self.next = seeds[-1] + 1
        self.failed.update({str(seed): text for seed, text in found})
        self._cache.parent.mkdir(exist_ok=True)
        self._cache.write_text(json.dumps({"next": self.next, "failed": self.failed}))
        if time.monotonic() - self._noted_s > NOTE_EVERY_S or found:
            self.note()

    def note(self) -> None:
        """Write what has run so far into the record, if one is kept."""
        if self._file is None or self.next == self._from:
            return
        self._noted_s = time.monotonic()
        row = {
            "proof": "simulation", "began": self._began, "commit": self._commit, "from_seed": self._from,
            "to_seed": self.next - 1, "seeds": self.next - self._from, "violations": len(self.failed),
            "seconds": round(self._noted_s - self._began_s), "failed": self.failed,
        }  # fmt: skip
        record.put(row, self._file)


def simulate(seeds: int | None, first: int | None, jobs: int, file: Path | None = None, *, cache: Path = CACHE) -> int:
    """Run seeds up to a number, or some further ones, going on from the last run; return the exit status."""
    progressed = Progressed(first, file, cache=cache)
    last = progressed.next + FURTHER if seeds is None else seeds
    if last <= progressed.next:
        print(f"seeds below {progressed.next} have run: ask for more, or begin at --first 0")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns) as progress, ProcessPoolExecutor(jobs) as pool:
            bar = progress.add_task("seeds", total=last, completed=progressed.next)
            todo = list(chunks(progressed.next, last))
            for done, found in zip(todo, pool.map(failing, todo), strict=True):
                progressed.ran(done, found)
                for seed, text in found:
                    progress.print(f"seed {seed}: {text}")
                told = f"{len(progressed.failed)} failed"
                progress.update(bar, completed=progressed.next, description=told)
    finally:
        progressed.note()
        if file is not None:
            write_page()
    failed = progressed.failed
    if not failed:
        print(f"seeds up to {progressed.next - 1}: every promise held")
        return 0
    print(f"{len(failed)} seeds below {progressed.next} broke a promise: {', '.join(failed)}")
    print("the first, as small as it can be made:")
    show(int(next(iter(failed))), shrink=True)
    return 1


def mutants(seeds: int, jobs: int, file: Path | None = None) -> int:
    """Run every mutant until a seed catches it; print how many seeds each took."""
    row: record.Row = {
        "proof": "mutants", "began": iso_utc(time.time_ns()), "commit": record.commit(), "seeds": seeds, "caught": {},
    }  # fmt: skip
    with ProcessPoolExecutor(jobs) as pool:
        for name in MUTANTS:
            todo = list(chunks(0, seeds))
            caught: list[tuple[int, str]] = []
            for start in range(0, len(todo), jobs):
                for found in pool.map(failing, todo[start : start + jobs], [name] * jobs):
                    caught += found
                if caught:
                    break
            if caught:
                seed, text = min(caught)
                row["caught"][name] = seed + 1
                print(f"{name:32} caught after {seed + 1:5} seeds: {text[:140]}", flush=True)
            else:
                row["caught"][name] = None
                print(f"{name:32} NOT CAUGHT by {seeds} seeds", flush=True)
            if file is not None:
                record.put(row, file)
                write_page()
    return 1 if None in row["caught"].values() else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, help=f"run seeds up to this number, going on from last time; else {FURTHER}"
    )
    parser.add_argument("--first", type=int, help="begin at this seed instead")
    parser.add_argument("--seed", type=int, help="run one seed and print its trace")
    parser.add_argument("--shrink", action="store_true", help="with --seed: make the failing run smaller first")
    parser.add_argument("--mutants", action="store_true", help="show that every mutant is caught")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--record", **record.OPTION)
    given = parser.parse_args()
    if given.seed is not None:
        return 0 if show(given.seed, shrink=given.shrink) else 1
    if given.mutants:
        return mutants(given.seeds or 1000, given.jobs, given.record)
    return simulate(given.seeds, given.first, given.jobs, given.record)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of text must have one order in every run
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())

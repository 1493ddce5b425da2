"""Run many seeds, side by side, going on where the last run stopped; show a failing one as small as it can be made.

```sh
python -m tests.simulation --seeds 100000        # make simulate SEEDS=100000
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
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.mutants import MUTANTS, options_for
from tests.simulation.options import Options, drawn
from tests.simulation.run import Result, run

CACHE = Path(".cache/simulation.json")
CHUNK = 8
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


def simulate(seeds: int, first: int | None, jobs: int) -> int:
    """Run seeds up to a number, going on from the last run; return the exit status."""
    state: dict[str, Any] = {"next": first or 0, "failed": {}}
    if CACHE.exists() and first is None:
        state = json.loads(CACHE.read_text())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, ProcessPoolExecutor(jobs) as pool:
        bar = progress.add_task("seeds", total=seeds, completed=state["next"])
        todo = list(chunks(state["next"], seeds))
        for done, found in zip(todo, pool.map(failing, todo), strict=True):
            state["next"] = done[-1] + 1
            for seed, text in found:
                state["failed"][str(seed)] = text
                progress.print(f"seed {seed}: {text}")
            CACHE.parent.mkdir(exist_ok=True)
            CACHE.write_text(json.dumps(state))
            progress.update(bar, completed=state["next"], description=f"{len(state['failed'])} failed")
    if not state["failed"]:
        print(f"{state['next']} seeds, every promise held")
        return 0
    print(f"{len(state['failed'])} of {state['next']} seeds broke a promise: {', '.join(state['failed'])}")
    print("the first, as small as it can be made:")
    show(int(next(iter(state["failed"]))), shrink=True)
    return 1


def mutants(seeds: int, jobs: int) -> int:
    """Run every mutant until a seed catches it; print how many seeds each took."""
    missed = []
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
                print(f"{name:32} caught after {seed + 1:5} seeds: {text[:140]}", flush=True)
            else:
                missed.append(name)
                print(f"{name:32} NOT CAUGHT by {seeds} seeds", flush=True)
    return 1 if missed else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500, help="run seeds 0 up to this number, going on from last time")
    parser.add_argument("--first", type=int, help="begin at this seed instead")
    parser.add_argument("--seed", type=int, help="run one seed and print its trace")
    parser.add_argument("--shrink", action="store_true", help="with --seed: make the failing run smaller first")
    parser.add_argument("--mutants", action="store_true", help="show that every mutant is caught")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    given = parser.parse_args()
    if given.seed is not None:
        return 0 if show(given.seed, shrink=given.shrink) else 1
    if given.mutants:
        return mutants(given.seeds, given.jobs)
    return simulate(given.seeds, given.first, given.jobs)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of text must have one order in every run
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())

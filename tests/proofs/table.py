"""Say what the recorded runs have shown so far, beside what is wanted: one row a proof.

Runs add up over commits, and the table says over how many. A run that was not judged to its end counts for nothing and
is named; so is every run in which something was wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.failover_report import KINDS, QUIET_LOAD, Sample
from bench.measuring import percentile
from tests.proofs.record import Row, of

SEEDS, FAULTS, ORDERS, TRIALS, SOAK_S = 100_000, 1_000, 20_000, 200, 7_200
TICK_MS, ORDER_MS, HANDOVER_MS = 2_000, 2_500, 300
KNOWN_SEEDS = Path(__file__).parents[1] / "simulation" / "seeds.txt"


@dataclass(frozen=True, slots=True)
class Line:
    """One proof: what is wanted, what was shown, whether that is it, and the command that shows more."""

    what: str
    wanted: str
    shown: str
    is_there: bool
    command: str


def lines(rows: Sequence[Row], samples: Sequence[Sample], *, mutants: Sequence[str]) -> list[Line]:
    """Return the table: every proof that runs for long, whether anything was recorded of it or not."""
    return [
        _simulation(of(rows, "simulation")), _mutants(of(rows, "mutants"), mutants), *_chaos(of(rows, "chaos")),
        _stalls(of(rows, "stalls")), *(_failover(kind, samples) for kind in KINDS),
    ]  # fmt: skip


def _simulation(rows: Sequence[Row]) -> Line:
    seeds: set[int] = set()
    failed: set[int] = set()
    for row in rows:
        seeds |= set(range(row["from_seed"], row["to_seed"] + 1))
        failed |= {int(seed) for seed in row["failed"]}
    shown = f"{len(seeds):,} seeds{_span(rows)}, violations: {len(failed)}"
    if failed:
        mended = failed & known_seeds()
        shown += f" (seeds {_listed(failed)}; mended since and in each test run: {_listed(mended) or 'none'})"
    is_there = len(seeds) >= SEEDS and failed <= known_seeds()
    return Line(
        "simulation", f"{SEEDS:,} seeds, no violation", shown, is_there, f"make simulate SEEDS={SEEDS} RECORD=1"
    )


def known_seeds(path: Path = KNOWN_SEEDS) -> set[int]:
    """Return the seeds that once broke a promise and are run with the tests for good."""
    heads = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {int(head) for head in heads if head}


def _mutants(rows: Sequence[Row], names: Sequence[str]) -> Line:
    newest: dict[str, int | None] = {}
    for row in rows:
        newest.update(row["caught"])
    caught = {name: seeds for name, seeds in newest.items() if seeds is not None and name in names}
    shown = f"{len(caught)} caught{_span(rows)}"
    if caught:
        slowest = max(caught, key=lambda name: caught[name])
        shown += f"; after {caught[slowest]} seeds at most ({slowest})"
    missed = [name for name in names if name not in caught]
    if rows and missed:
        shown += f"; not: {', '.join(missed)}"
    wanted = f"each of {len(names)} broken safeguards noticed"
    return Line("mutants", wanted, shown, not missed, "make mutants RECORD=1")


def _chaos(rows: Sequence[Row]) -> Iterator[Line]:
    judged = [row for row in rows if row["findings"]]
    faults = sum(row["faults"] - row["not_carried_out"] for row in judged)
    orders = sum(row["orders"] for row in judged)
    found = Counter[str]()
    for row in judged:
        found.update(row["findings"])
    is_right = not any(found.values())
    leases = ", ".join(f"{lease:g} s" for lease in sorted({one for row in judged for one in _leases(row)}))
    runs = sum(row.get("runs", 1) for row in judged)
    minutes = sum(row["seconds"] for row in judged) / 60
    executions, takeovers = (sum(row[name] for row in judged) for name in ("executions", "takeovers"))
    about = f" in {runs} runs of {minutes:.0f} min at a lease of {leases}{_span(judged)}" if judged else ""
    command = "make chaos FOR=600 RECORD=1"
    yield Line("chaos: faults", f"{FAULTS:,}", f"{faults:,}{about}", faults >= FAULTS, command)
    shown = f"{orders:,}, {executions:,} executions, {takeovers:,} take-overs"
    yield Line("chaos: orders at the broker", f"{ORDERS:,}", shown, orders >= ORDERS, command)
    wrong = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in found.items())
    yield Line("chaos: what was wrong", "nothing", wrong or "nothing recorded", bool(judged) and is_right, command)


def _leases(row: Row) -> list[float]:
    lease: float | list[float] = row["lease_s"]
    return lease if isinstance(lease, list) else [lease]


def _stalls(rows: Sequence[Row]) -> Line:
    judged = [row for row in rows if row["is_judged"]]
    wrong = [number for number, row in enumerate(judged) if not row["is_clean"]]
    since = judged[wrong[-1] + 1 :] if wrong else judged
    longest_s = max((row["seconds"] for row in since), default=0.0)
    lost = sum(row["leases_lost"] for row in judged)
    stalls = sum(row["stalls"] for row in judged)
    shown = f"{stalls:,} stalls in {sum(row['seconds'] for row in judged) / 60:.0f} min{_span(judged)}; leases lost: "
    shown += f"{lost}; the longest clean run{' since then' if wrong else ''}: {longest_s / 60:.0f} min"
    is_there = longest_s >= SOAK_S
    wanted = f"{SOAK_S // 3600} h of stalls at the lease of paper and live, no lease lost"
    return Line("stalls of disk and CPU", wanted, shown, is_there, f"make stalls FOR={SOAK_S} RECORD=1")


def _failover(kind: str, samples: Sequence[Sample]) -> Line:
    quiet = [one for one in samples if one.kind == kind and one.load < QUIET_LOAD]
    busy = sum(one.kind == kind for one in samples) - len(quiet)
    is_planned = kind == "planned hand-over"
    limits = {"tick": HANDOVER_MS if is_planned else TICK_MS, "order": HANDOVER_MS if is_planned else ORDER_MS}
    if kind == "broker kick":
        del limits["tick"]  # the lease and the data session are kept
    shown, is_fast = [f"{len(quiet)} on a quiet machine"], True
    for name, limit in limits.items():
        values = [value for one in quiet if (value := getattr(one, f"{name}_ms")) is not None]
        if values:
            p99 = percentile(values, 0.99)
            is_fast &= p99 < limit
            shown.append(f"{name} p50 {percentile(values, 0.5):.0f} ms, p99 {p99:.0f} ms")
    if busy:
        shown.append(f"{busy} beside other work, not counted")
    wanted = f"{TRIALS} times; p99 to the first " + ", ".join(f"{name} {limit:,} ms" for name, limit in limits.items())
    command = f"python -m bench.failover --trials {TRIALS} --resume"
    return Line(f"failover: {kind}", wanted, "; ".join(shown), len(quiet) >= TRIALS and is_fast, command)


def _span(rows: Sequence[Row]) -> str:
    """Return over how many commits rows go, and when they were run."""
    if not rows:
        return ""
    commits = {str(row["commit"]) for row in rows if row["commit"]}
    known = [f"{len(commits)} commit{'s' if len(commits) > 1 else ''}"] if commits else []
    unknown = ["commits not noted"] if not all(row["commit"] for row in rows) else []
    days = sorted({str(row["began"])[:10] for row in rows})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f" ({' and '.join(known + unknown)}, {when})"


def _listed(seeds: set[int]) -> str:
    return ", ".join(str(seed) for seed in sorted(seeds))


def remarks(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for each run that counts for nothing or in which something was wrong, and every note."""
    found = []
    for row in rows:
        name = f"{row['proof']}, {row['began'][:16].replace('T', ' ')}, commit {row['commit'] or 'not noted'}"
        if "seed" in row:
            name += f", seed {row['seed']}"
        note = f": {row['note']}" if row.get("note") else ""
        if row["proof"] == "chaos" and not row["is_clean"]:
            wrong = ", ".join(f"{name} {count}" for name, count in row["findings"].items() if count)
            came = wrong or ("not judged to its end" if not row["findings"] else "nothing was filled")
            found.append(f"{name}, {row['orders']:,} orders: **{came}**{note}")
        elif row["proof"] == "stalls" and not row["is_clean"]:
            found.append(f"{name}, {row['seconds'] / 60:.0f} min: **not clean**{note}")
        elif row["proof"] == "simulation" and row["failed"]:
            found += [f"{name}, seed {seed}: **{text}**{note}" for seed, text in row["failed"].items()]
        elif note:
            found.append(f"{name}{note}")
    return found


def _there(line: Line) -> str:
    return "yes" if line.is_there else "**not yet**"


def as_markdown(table: Sequence[Line], told: Sequence[str]) -> str:
    """Return the table and the remarks as Markdown."""
    head = "| proof | wanted | shown | there | more of it |\n|---|---|---|---|---|\n"
    body = "".join(
        f"| {line.what} | {line.wanted} | {line.shown} | {_there(line)} | `{line.command}` |\n" for line in table
    )
    return head + body + ("\nRuns to know about:\n\n" + "".join(f"- {one}\n" for one in told) if told else "")

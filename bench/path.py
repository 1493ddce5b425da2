"""Where the time of tick to order goes, hop by hop, and what each process of the system spends meanwhile.

Every entry of the order path says when it was made and when it was written, so the hops are read off the bus and the
simulator's books after a run; nothing is measured inside the services. A hop from one process to the next ends where
the next one begins to work: it holds Redis, the wake-up and the wait for a processor. Percentiles are of each hop by
itself, so a column of them adds up to about the whole only at the median. Shares are of the means, which do add up;
below the hops stand those of several together, from an author's intent to its command among them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measuring import percentile
from shared.bus.ports import Entry
from shared.clock import parse_iso_utc
from shared.messages import decode_fields
from shared.messages.base import Message
from shared.messages.orders import Decision, Intent, OrderEvent, OrderState

HOPS = (
    ("quote read by the gateway → read by the strategy's worker", "worker"),
    ("worker: the strategy, its commit → sent to Redis", "commit"),
    ("intent → read and decided by risk", "decided"),
    ("risk: decision → sent to Redis", "decision"),
    ("command → read by the gateway, made a claim", "claim"),
    ("gateway: claim → sent to Redis", "claim_sent"),
    ("claimed in Redis, sent, through the guard → the simulator has it", "received"),
)
SPANS = (
    ("**intent to command over the bus**: intent sent → its decision and command sent", "commit", "decision"),
    ("intent sent → its command read by the gateway", "commit", "claim"),
    ("all of it", "cause", "received"),
)
"""Several hops together: what, from where, to where."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process has used since it began: nanoseconds on a processor, and waiting for one; times it ran."""

    run_ns: int
    wait_ns: int
    slices: int


def spent(pid: int) -> Spent:
    """Return what all threads of a process have used."""
    rows = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            rows.append([int(word) for word in (task / "schedstat").read_text().split()])
        except OSError:  # the thread has ended
            continue
    return Spent(*(sum(row[column] for row in rows) for column in range(3)))


def times_of(
    intents: Iterable[Entry], decisions: Iterable[Entry], orders: Iterable[Entry], truth: Iterable[Mapping[str, Any]]
) -> list[dict[str, int]]:
    """Return the moments of each order that a quote caused, wall nanoseconds by name, in the order of the books."""
    found: dict[str, dict[str, int]] = {}
    for message, written_ns in _messages(intents):
        if isinstance(message, Intent) and message.cause_ts_ns:
            row = found.setdefault(message.intent_id, {})
            row.update(cause=message.cause_ts_ns, worker=message.ts_init_ns, commit=written_ns)
    for message, written_ns in _messages(decisions):
        if isinstance(message, Decision) and message.intent_id in found:
            found[message.intent_id].update(decided=message.ts_init_ns, decision=written_ns)
    for message, written_ns in _messages(orders):
        if isinstance(message, OrderEvent) and message.state is OrderState.CLAIMED and message.intent_id in found:
            found[message.intent_id].setdefault("claim", message.ts_init_ns)
            found[message.intent_id].setdefault("claim_sent", written_ns)
    whole = []
    for order in truth:
        row = found.get(str(order["order_ref"])[9:29], {})
        row["received"] = int(order["received_ns"])
        if all(name in row for name in ("cause", *(name for _, name in HOPS))):
            whole.append(row)
    return whole


def _messages(entries: Iterable[Entry]) -> Iterable[tuple[Message, int]]:
    for entry in entries:
        yield (
            decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message,
            parse_iso_utc(entry.fields[b"ts"].decode()),
        )


def table(times: list[dict[str, int]]) -> list[str]:
    """Return what each hop took, as Markdown."""
    lines = ["| hop | p50 (ms) | p95 (ms) | mean (ms) | share of the whole |", "|---|---:|---:|---:|---:|"]
    names = ("cause", *(name for _, name in HOPS))
    hops = [(what, before, name) for (what, name), before in zip(HOPS, names, strict=False)]
    whole = statistics.mean((row["received"] - row["cause"]) / 1e6 for row in times)
    for what, before, name in (*hops, *SPANS):
        took = [(row[name] - row[before]) / 1e6 for row in times]
        mean = statistics.mean(took)
        shown = (f"{percentile(took, 0.5):.2f}", f"{percentile(took, 0.95):.2f}", f"{mean:.2f}", f"{mean / whole:.0%}")
        lines.append(f"| {what} | {' | '.join(shown)} |")
    return lines


def of_risk(times: list[dict[str, int]]) -> str:
    """Return in a sentence what an intent waits for its command, and how much of the whole that is, order by order."""
    took = [(row["decision"] - row["commit"]) / 1e6 for row in times]
    shares = [(row["decision"] - row["commit"]) / (row["received"] - row["cause"]) for row in times]
    over_the_bus = f"p50 {percentile(took, 0.5):.2f} ms, p95 {percentile(took, 0.95):.2f} ms"
    of_the_whole = f"p50 {percentile(shares, 0.5):.0%}, p95 {percentile(shares, 0.95):.0%}"
    return (
        f"Intent to command over the bus: {over_the_bus}; of each order's own way {of_the_whole}. In it: Redis waking"
        " risk, risk's wait for a processor, its decision with every rule, and the script that writes decision, command"
        " and cursor, up to when it is sent."
    )


def share(before: Spent, after: Spent, seconds: float) -> tuple[float, float, float]:
    """Return percent of a processor used, percent of the time waited for one, and how often it ran a second."""
    ran, waited = after.run_ns - before.run_ns, after.wait_ns - before.wait_ns
    return ran / seconds / 1e7, waited / seconds / 1e7, (after.slices - before.slices) / seconds


def spent_table(rounds: Sequence[Mapping[str, tuple[float, float, float]]]) -> list[str]:
    """Return what each process used, medians of the rounds, as Markdown."""
    lines = [
        "| process | runs (% of a processor) | waits for one (%) | times it ran a second |",
        "|---|---:|---:|---:|",
    ]
    names = {name for one in rounds for name in one}
    found = {
        name: [statistics.median(column) for column in zip(*(one[name] for one in rounds if name in one), strict=True)]
        for name in names
    }
    for name, (ran, waited, times) in sorted(found.items(), key=lambda item: -item[1][0]):
        lines.append(f"| {name} | {ran:.1f} | {waited:.1f} | {times:,.0f} |")
    return lines

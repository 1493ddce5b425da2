"""Where the time of tick to order goes, hop by hop, and what each process of the system spends meanwhile.

Every entry of the order path says when it was made and when it was written, so the hops are read off the bus and the
simulator's books after a run; nothing is measured inside the services. A hop from one process to the next ends where
the next one begins to work: it holds Redis, the wake-up and the wait for a processor. Percentiles are of each hop by
itself, so a column of them adds up to about the whole only at the median.
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
    lines = ["| hop | p50 (ms) | p95 (ms) | mean (ms) |", "|---|---:|---:|---:|"]
    names = ("cause", *(name for _, name in HOPS))
    for (what, name), before in zip((*HOPS, ("all of it", "received")), (*names[:-1], "cause"), strict=True):
        took = [(row[name] - row[before]) / 1e6 for row in times]
        shares = f"{percentile(took, 0.5):.2f} | {percentile(took, 0.95):.2f} | {statistics.mean(took):.2f}"
        lines.append(f"| {what} | {shares} |")
    return lines


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

"""Write what `bench.failover` measured: tables of times and phases, and a picture of their distribution."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.measuring import percentile

KINDS = ("SIGKILL", "SIGSTOP", "network cut", "broker kick", "planned hand-over")
PHASES = ("detect", "again", "fence", "read_streams", "connect", "ask", "publish", "order")
QUIET_LOAD = 4.0
"""Twice the cores of the machine that this is measured on."""
NAMES = {"read_streams": "read", "connect": "guard"}


@dataclass
class Sample:
    """One failover: milliseconds from the fault; None where the kind of fault has no such thing."""

    kind: str
    tick_ms: float | None
    order_ms: float
    phases_ms: dict[str, float] = field(default_factory=dict)
    load: float = 0.0
    """The machine's load average over a minute when it was taken."""


def table(samples: list[Sample]) -> list[str]:
    """Return the times as Markdown."""
    lines = [
        "| from | to the successor's first | times | p50 (ms) | p95 (ms) | p99 (ms) | max (ms) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for kind in KINDS:
        for what in ("tick", "order"):
            values = [getattr(one, f"{what}_ms") for one in samples if one.kind == kind]
            values = [value for value in values if value is not None]
            if values:
                shares = " | ".join(f"{percentile(values, share):.0f}" for share in (0.5, 0.95, 0.99))
                lines.append(f"| {kind} | {what} | {len(values)} | {shares} | {max(values):.0f} |")
    return lines


def phases(samples: list[Sample]) -> list[str]:
    """Return the phases as Markdown: median and p99 of each."""
    names = [NAMES.get(name, name) for name in PHASES]
    lines = [f"| from | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for kind in KINDS:
        found = [one.phases_ms for one in samples if one.kind == kind and one.phases_ms]
        if found:
            cells = []
            for name in PHASES:
                values = [one.get(name, 0.0) for one in found]
                cells.append(f"{percentile(values, 0.5):.0f} / {percentile(values, 0.99):.0f}")
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def by_load(samples: list[Sample]) -> list[tuple[str, list[Sample]]]:
    """Return the samples of a machine that had room, and of one that had far more to do than it can."""
    quiet = [one for one in samples if one.load < QUIET_LOAD]
    busy = [one for one in samples if one.load >= QUIET_LOAD]
    parts = [(f"Load below {QUIET_LOAD:g}", quiet), (f"Load of {QUIET_LOAD:g} and more", busy)]
    return [(title, chosen) for title, chosen in parts if chosen]


def picture(samples: list[Sample]) -> str:
    """Return the distribution of the times to the first order, one line per kind, as SVG."""
    width, height, left = 900, 360, 50
    colours = dict(zip(KINDS, ("#c0392b", "#8e44ad", "#2471a3", "#117a65", "#d35400"), strict=True))
    top_ms = max((one.order_ms for one in samples), default=1.0) * 1.05
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for step in range(0, int(top_ms) + 1, 250 if top_ms < 5000 else 1000):
        x = left + step / top_ms * (width - left - 20)
        parts.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="20" y2="{height - 40}" stroke="#eee"/>')
        parts.append(f'<text x="{x:.0f}" y="{height - 24}" text-anchor="middle" fill="#666">{step}</text>')
    for share in (0, 50, 99):
        y = height - 40 - share / 100 * (height - 60)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end" fill="#666">{share} %</text>')
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y:.0f}" y2="{y:.0f}" stroke="#eee"/>')
    for number, kind in enumerate(KINDS):
        values = sorted(one.order_ms for one in samples if one.kind == kind)
        if not values:
            continue
        points = " ".join(
            f"{left + value / top_ms * (width - left - 20):.1f},"
            f"{height - 40 - (at + 1) / len(values) * (height - 60):.1f}"
            for at, value in enumerate(values)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colours[kind]}" stroke-width="2"/>')
        y = 40 + number * 18
        parts.append(f'<text x="{width - 30}" y="{y}" text-anchor="end" fill="{colours[kind]}">{kind}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">ms to the first order</text></svg>')
    return "\n".join(parts)


def report(samples: list[Sample], runs: list[str], failures: list[str], method: str) -> str:
    """Return the report as Markdown; `method` says what was measured, `runs` where and beside what."""
    lines = ["# Failover time", "", method, "", "## Runs", "", *[f"- {run}" for run in runs], ""]
    for title, chosen in by_load(samples):
        lines += [f"## {title}", "", *table(chosen), "", "Phases, p50 / p99 in ms:", "", *phases(chosen), ""]
    lines += ["![distribution](failover.svg)", ""]
    told = [f"- {failure}" for failure in failures] or ["None."]
    lines += ["## Trials without a result", "", *told, ""]
    lines += [
        "Targets at a lease of 1.0 s: ticks p99 below 2000 ms, orders p99 below 2500 ms, hand-over below 300 ms.", "",
        "The floor: a standby may not take the lease before it has seen it unchanged for a whole lease time, so "
        "*detect* is at least `CQ_LEASE_TTL_S` less the age of the last renewal (a fifth of it). A shorter lease "
        "is lost to stalls of the machine, the disk or Redis: below 0.5 s false take-overs begin on a busy machine.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"

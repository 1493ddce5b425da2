"""Tell what a failover looked like from outside: a timeline made of what the broker and the bus wrote down.

Pure: it takes what was recorded and returns lines and a drawing; nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from copilot_quant.local.books import Verdict
from shared.messages.base import Message
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.orders import Fill

BEFORE_MS, COLUMNS = 1000.0, 72
_STATES = {
    LinkState.DOWN: "has taken the lease and raised its fence; opens the trading session",
    LinkState.RECONCILING: "is let through by the guard, which cut the dead leader's session; asks what happened",
    LinkState.READY: "is READY: commands are consumed again",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, in milliseconds after the kill."""

    at_ms: float
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """One failover. Times are milliseconds after the kill; None: it did not happen while we watched."""

    killed: str
    successor: str
    moments: tuple[Moment, ...]
    orders_ms: tuple[float, ...]
    fills_ms: tuple[float, ...]
    last_order_ms: float | None
    first_order_ms: float | None
    first_tick_ms: float | None
    ready_ms: float | None
    fills_recovered: int
    orders_unknown: int
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def is_clean(self) -> bool:
        """Say whether another gateway led, orders flowed again, and the books add up."""
        return bool(self.successor) and self.first_order_ms is not None and self.verdict.is_clean

    def as_json(self) -> dict[str, object]:
        """Return the story for scripts."""
        content = asdict(self)
        verdict = content.pop("verdict")
        verdict["missing"] = sorted(verdict["missing"])
        return {**content, "verdict": verdict, "is_clean": self.is_clean}


def tell(
    killed: str,
    killed_ns: int,
    truth: Mapping[str, Any],
    ledger: Sequence[Mapping[str, Any]],
    messages: Sequence[Message],
    first_tick_ns: int | None,
    verdict: Verdict,
) -> Story:
    """Return the story of one kill.

    Args:
        killed: the gateway that was killed.
        killed_ns: when, wall time.
        truth: the broker's books.
        ledger: what the broker wrote down as it happened.
        messages: entries of `broker-status` and `fills`.
        first_tick_ns: when the successor's first tick was published.
        verdict: the comparison at the end.
    """
    statuses = [
        one
        for one in messages
        if isinstance(one, BrokerStatus) and one.is_leader and one.ts_init_ns > killed_ns and one.instance != killed
    ]
    successor = statuses[0].instance if statuses else ""
    announced = next((one for one in messages if isinstance(one, Reconciled) and one.ts_init_ns > killed_ns), None)

    def ms(at_ns: float) -> float:
        return round((at_ns - killed_ns) / 1e6, 1)

    moments = [Moment(0.0, killed, "SIGKILL: it led, and is gone between two instructions")]
    seen: set[LinkState] = set()
    for status in statuses:
        if status.state in _STATES and status.state not in seen and status.instance == successor:
            seen.add(status.state)
            moments.append(Moment(ms(status.ts_init_ns), successor, _STATES[status.state]))
    if announced is not None:
        text = (
            f"has reconciled: {announced.orders_found} orders shown, {announced.fills_recovered} executions recovered, "
            f"{announced.orders_unknown} in doubt (asked for {announced.took_ms} ms)"
        )
        moments.append(Moment(ms(announced.ts_init_ns), announced.instance, text))
    moments += _at_the_broker(ledger, killed_ns, ms)
    if first_tick_ns is not None:
        moments.append(Moment(ms(first_tick_ns), successor, "publishes its first tick"))
    orders = sorted(ms(int(row["received_ns"])) for row in truth["orders"])
    before, after = [at for at in orders if at <= 0], [at for at in orders if at > 0]
    if before:
        moments.append(Moment(before[-1], "broker", "received the dead leader's last order"))
    if after:
        moments.append(Moment(after[0], "broker", "receives the successor's first order"))
    late = [one for one in messages if isinstance(one, Fill) and one.is_late and one.ts_init_ns > killed_ns]
    return Story(
        killed=killed,
        successor=successor,
        moments=tuple(sorted(moments, key=lambda moment: moment.at_ms)),
        orders_ms=tuple(orders),
        fills_ms=tuple(sorted(ms(int(row["ts_ns"])) for row in truth["executions"])),
        last_order_ms=before[-1] if before else None,
        first_order_ms=after[0] if after else None,
        first_tick_ms=None if first_tick_ns is None else ms(first_tick_ns),
        ready_ms=next((moment.at_ms for moment in moments if moment.text == _STATES[LinkState.READY]), None),
        fills_recovered=len(late),
        orders_unknown=announced.orders_unknown if announced is not None else 0,
        verdict=verdict,
    )


def _at_the_broker(ledger: Sequence[Mapping[str, Any]], killed_ns: int, ms: Any) -> list[Moment]:
    """Return the executions by hand that nobody of ours was connected to hear of."""
    return [
        Moment(ms(int(entry["ts_ns"])), "broker", "fills a resting order of ours while no gateway of ours leads")
        for entry in ledger
        if entry["kind"] == "fault" and entry.get("name") == "manual_fill" and int(entry["ts_ns"]) > killed_ns
    ]


def bar(times_ms: Sequence[float], from_ms: float, to_ms: float, columns: int = COLUMNS) -> str:
    """Return events as a line of blocks, one column per slice of time: the fuller, the more happened in it."""
    counts = [0] * columns
    for at in times_ms:
        column = int((at - from_ms) / (to_ms - from_ms) * columns)
        if 0 <= column < columns:
            counts[column] += 1
    top = max(counts, default=0)
    return "".join(" " if not count else " ▁▂▃▄▅▆▇█"[max(1, round(count / top * 8))] for count in counts)


def render(story: Story) -> Group:
    """Return the story as a drawing for a terminal."""
    to_ms = max((moment.at_ms for moment in story.moments), default=0.0) + BEFORE_MS
    mark = int(BEFORE_MS / (BEFORE_MS + to_ms) * COLUMNS)
    flows = Table.grid(padding=(0, 1))
    flows.add_row("", Text(" " * mark + "▼ killed", style="red"))
    for name, times in (("orders", story.orders_ms), ("fills", story.fills_ms)):
        flows.add_row(name, Text(bar(times, -BEFORE_MS, to_ms), style="green"))
    flows.add_row("", Text(f"-{BEFORE_MS:.0f} ms{'':>{COLUMNS - 18}}+{to_ms:.0f} ms", style="dim"))
    lines = Table(box=None, show_header=False, pad_edge=False)
    lines.add_column(justify="right", style="bold")
    lines.add_column(style="cyan", no_wrap=True)
    lines.add_column()
    for moment in story.moments:
        lines.add_row(f"{moment.at_ms:+.0f} ms", moment.who, moment.text)
    verdict = story.verdict
    counts = (
        f"orders {verdict.orders} at the broker, sent twice [bold]{verdict.sent_twice}[/bold]; executions "
        f"{verdict.executions}, lost [bold]{verdict.fills_lost}[/bold], published twice "
        f"[bold]{verdict.fills_twice}[/bold]; found out by the take-over {story.fills_recovered}, "
        f"in doubt {story.orders_unknown}"
    )
    wrong = [Text(f"differs: {line}", style="red") for line in verdict.differences]
    end = "[bold green]nothing sent twice, nothing lost[/bold green]" if story.is_clean else "[bold red]NOT CLEAN[/]"
    return Group(flows, Text(), lines, Text(), Text.from_markup(counts), *wrong, Text.from_markup(end))

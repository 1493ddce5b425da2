"""Draw the demo's terminal view from the status page's state: pure, no I/O.

The state is the JSON of `/api/state` (services/monitoring/core/views.py); what is missing in it is drawn as a dash, so
that the view survives a monitoring service that is starting or was killed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from copilot_quant.local.books import Verdict
from copilot_quant.local.supervision import ProcessInfo

KEYS = "f kill the leading gateway   n nightly reset   h halt   r resume   q quit"


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything one picture shows."""

    state: Mapping[str, Any]
    processes: Sequence[ProcessInfo]
    verdict: Verdict | None
    status_page: str
    notes: tuple[str, ...] = ()


def render(frame: Frame) -> RenderableType:
    """Return the whole screen."""
    layout = Layout()
    layout.split_column(
        Layout(_header(frame), size=5, name="header"),
        Layout(name="middle", ratio=2),
        Layout(name="bottom", ratio=2),
        Layout(_books(frame), size=4 + len(frame.notes[-3:]), name="books"),
    )
    layout["middle"].split_row(
        Layout(_panel("prices", _prices(frame.state))),
        Layout(_panel("positions", _positions(frame.state))),
        Layout(_panel("processes", _processes(frame))),
    )
    layout["bottom"].split_row(
        Layout(_panel("last intents and decisions", _decisions(frame.state)), ratio=8),
        Layout(_panel("last fills", _fills(frame.state)), ratio=7),
        Layout(_panel("stream lags", _lags(frame.state)), ratio=4),
    )
    return layout


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="grey50", padding=(0, 1))


def _header(frame: Frame) -> Panel:
    state = frame.state
    leader = state.get("leader") or {}
    halt = state.get("halt") or {}
    pnl = state.get("pnl") or {}
    stage = str(halt.get("stage") or "-")
    line = Text()
    line.append("  S I M U L A T E D  ", style="bold black on yellow")
    line.append(f"   account {state.get('account', '-')}   ", style="bold")
    if stage not in ("none", "-"):
        line.append(f" HALTED ({stage}) ", style="bold white on red")
    second = Text(
        f"leader {leader.get('instance') or 'none'}   epoch {leader.get('epoch') or '-'}   "
        f"broker {leader.get('link') or '-'} {leader.get('reason') or ''}   "
        f"P&L {pnl.get('daily') or '-'}   "
        f"ticks/s {_number(state.get('tick_rate'))}   bars {_number(state.get('bars_total'))}"
    )
    waiting = "" if state else "   (monitoring is starting)"
    return Panel(Group(line, second, Text(f"{frame.status_page}{waiting}", style="cyan")), border_style="yellow")


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "-"


def _table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: frozenset[str] = frozenset(),
    yields: frozenset[str] = frozenset(),
) -> Table:
    """Return a table in which only the columns that yield are cut where the screen is narrow; a number never is."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    table = Table(box=None, expand=True, show_edge=False, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        width = max(len(column), *(row[number].cell_len for row in cells)) if cells else len(column)
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in yields,  # rich narrows the others first; no text wraps by its own will
            min_width=1 if column in yields else width,
        )
    for row in cells:
        table.add_row(*row)
    return table


def _cell(content: object) -> Text:
    text = content if isinstance(content, Text) else Text("" if content is None else str(content))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _symbol(text: object) -> str:
    """Return a contract's name, or an order with one, without the exchange."""
    return re.sub(r"@\w+", "", str(text or ""))


def _price(value: object) -> str:
    """Return a price with at least two decimals, so that a column of them lines up."""
    text = str(value or "")
    return text if not re.fullmatch(r"-?\d+(\.\d?)?", text) else f"{float(text):.2f}"


def _rows(state: Mapping[str, Any], name: str, limit: int) -> list[Mapping[str, Any]]:
    rows = state.get(name) or []
    return list(rows)[:limit]


def _prices(state: Mapping[str, Any]) -> Table:
    rows = [
        [row.get("contract"), *(_price(row.get(name)) for name in ("bid", "ask", "last"))]
        for row in _rows(state, "prices", 12)
    ]
    right = frozenset({"bid", "ask", "last"})
    return _table(["contract", "bid", "ask", "last"], rows, right=right, yields=frozenset({"contract"}))


def _positions(state: Mapping[str, Any]) -> Table:
    rows = [
        [row.get("contract"), row.get("position"), _price(row.get("average_cost")), _price(row.get("unrealized_pnl"))]
        for row in _rows(state, "positions", 12)
    ]
    right = frozenset({"position", "avg cost", "unrealized"})
    columns = ["contract", "position", "avg cost", "unrealized"]
    return _table(columns, rows, right=right, yields=frozenset({"contract"}))


def _processes(frame: Frame) -> Table:
    rows = []
    for info in frame.processes:
        style = "green" if info.state == "RUNNING" else "red"
        rows.append([info.name, Text(info.state.lower(), style=style), info.pid or "", f"{info.up_s} s"])
    return _table(
        ["process", "state", "pid", "up"], rows, right=frozenset({"pid", "up"}), yields=frozenset({"process"})
    )


def _decisions(state: Mapping[str, Any]) -> Table:
    rows = []
    for row in _rows(state, "decisions", 12):
        approved = bool(row.get("approved"))
        answer = Text("approved", style="green") if approved else Text(str(row.get("code") or "rejected"), style="red")
        rows.append([row.get("time"), row.get("strategy"), _symbol(row.get("order") or row.get("contract")), answer])
    return _table(["time", "strategy", "order", "risk says"], rows, yields=frozenset({"strategy", "order"}))


def _fills(state: Mapping[str, Any]) -> Table:
    rows = [
        [
            row.get("time"),
            row.get("strategy"),
            row.get("side"),
            row.get("quantity"),
            _symbol(row.get("contract")),
            _price(row.get("price")),
        ]
        for row in _rows(state, "fills", 12)
    ]
    columns = ["time", "strategy", "side", "qty", "contract", "price"]
    return _table(columns, rows, right=frozenset({"qty", "price"}), yields=frozenset({"strategy"}))


def _lags(state: Mapping[str, Any]) -> Table:
    found = sorted(_rows(state, "lags", 100), key=lambda row: str(row.get("lag")) == "0")[:12]  # who lags comes first
    rows = [[row.get("lag"), row.get("stream"), row.get("reader")] for row in found]
    return _table(["lag", "stream", "reader"], rows, right=frozenset({"lag"}), yields=frozenset({"stream", "reader"}))


def _books(frame: Frame) -> Panel:
    verdict = frame.verdict
    text = Text()
    if verdict is None:
        text.append("comparing with the broker's own books …")
    else:
        style = "bold green" if not (verdict.sent_twice or verdict.fills_lost or verdict.fills_twice) else "bold red"
        text.append(
            f"the broker's own books: orders {verdict.orders}, sent twice {verdict.sent_twice}, "
            f"executions {verdict.executions}, fills lost {verdict.fills_lost}, dead letters {verdict.dead_letters}",
            style=style,
        )
    lines: list[RenderableType] = [text]
    lines.extend(Text(note, style="yellow") for note in frame.notes[-3:])
    lines.append(Text(KEYS, style="dim"))
    return Panel(Group(*lines), border_style="grey50")

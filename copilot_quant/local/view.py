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
WIDE, ROOMY, NARROW = 140, 132, 120
"""Columns: from WIDE on everything has room; below ROOMY fills leave the strategy out, which decisions show; below
NARROW processes and lags are one line, which names only those that need somebody, and the tables are the shortest."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything one picture shows."""

    state: Mapping[str, Any]
    processes: Sequence[ProcessInfo]
    verdict: Verdict | None
    status_page: str
    notes: tuple[str, ...] = ()


def render(frame: Frame, width: int = WIDE) -> RenderableType:
    """Return the whole screen for a terminal of `width` columns."""
    header, books = _header(frame, width), _books(frame, width)
    layout = Layout()
    layout.split_column(
        Layout(_framed(header, "yellow"), size=len(header) + 2, name="header"),
        Layout(name="middle", ratio=2),
        Layout(name="bottom", ratio=2),
        Layout(_framed(books, "grey50"), size=len(books) + 2, name="books"),
    )
    prices, positions = _panel("prices", _prices(frame.state)), _panel("positions", _positions(frame.state))
    decisions = _panel("last intents and decisions", _decisions(frame.state, width))
    fills = _panel("last fills", _fills(frame.state, width))
    if width < NARROW:
        layout["middle"].split_row(Layout(prices), Layout(positions))
        layout["bottom"].split_row(Layout(decisions, ratio=3), Layout(fills, ratio=2))
        return layout
    processes, lags = _panel("processes", _processes(frame)), _panel("stream lags", _lags(frame.state))
    layout["middle"].split_row(Layout(prices), Layout(positions), Layout(processes))
    layout["bottom"].split_row(Layout(decisions, ratio=27), Layout(fills, ratio=21), Layout(lags, ratio=12))
    return layout


def _framed(lines: Sequence[Text], style: str) -> Panel:
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"  # one line each: what wrapped would push the last ones out
    return Panel(Group(*lines), border_style=style)


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", border_style="grey50", padding=(0, 1))


def _header(frame: Frame, width: int) -> list[Text]:
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
    link = str(leader.get("link") or "-")
    broker = Text(f"leader {leader.get('instance') or 'none'}   epoch {leader.get('epoch') or '-'}   broker ")
    broker.append(link, style="green" if link == "READY" else "bold red")
    broker.append(f" {leader.get('reason') or ''}")
    numbers = Text(
        f"P&L {_price(pnl.get('daily')) or '-'} {pnl.get('currency') or ''}   ticks/s {_number(state.get('tick_rate'))}"
        f"   bars {_number(state.get('bars_total'))}   fills {_number(state.get('fills_total'))}"
    )
    page = Text(f"{frame.status_page}{'' if state else '   (monitoring is starting)'}", style="cyan")
    return [line, broker, numbers, *([_in_short(frame)] if width < NARROW else []), page]


def _in_short(frame: Frame) -> Text:
    """Return processes and lags in one line, where a panel of each has no room."""
    down = [info.name for info in frame.processes if info.state != "RUNNING"]
    running = len(frame.processes) - len(down)
    text = Text(f"processes {running} of {len(frame.processes)} run", style="red" if down else "")
    if down:
        text.append(f" (not {', '.join(down)})")
    lags = [(row["lag"], row) for row in _rows(frame.state, "lags", 200) if isinstance(row.get("lag"), int)]
    if lags:
        most, row = max(lags, key=lambda pair: pair[0])
        text.append(f"   most behind: {row.get('reader')} by {most} of {row.get('stream')}", style="default")
    return text


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
        [_symbol(row.get("contract")), *(_price(row.get(name)) for name in ("bid", "ask", "last"))]
        for row in _rows(state, "prices", 12)
    ]
    right = frozenset({"bid", "ask", "last"})
    return _table(["contract", "bid", "ask", "last"], rows, right=right, yields=frozenset({"contract"}))


def _positions(state: Mapping[str, Any]) -> Table:
    rows = [
        [
            _symbol(row.get("contract")),
            row.get("position"),
            _price(row.get("average_cost")),
            _price(row.get("unrealized_pnl")),
        ]
        for row in _rows(state, "positions", 12)
    ]
    columns = ["contract", "held", "avg cost", "unrealised"]
    right = frozenset(columns[1:])
    return _table(columns, rows, right=right, yields=frozenset({"contract"}))


def _processes(frame: Frame) -> Table:
    rows = []
    for info in frame.processes:
        style = "green" if info.state == "RUNNING" else "red"
        rows.append([info.name, Text(info.state.lower(), style=style), info.pid or "", f"{info.up_s} s"])
    return _table(
        ["process", "state", "pid", "up"], rows, right=frozenset({"pid", "up"}), yields=frozenset({"process"})
    )


def _decisions(state: Mapping[str, Any], width: int) -> Table:
    rows = []
    for row in _rows(state, "decisions", 12):
        approved = bool(row.get("approved"))
        answer = Text("approved", style="green") if approved else Text(str(row.get("code") or "rejected"), style="red")
        rows.append([row.get("time"), row.get("strategy"), _symbol(row.get("order") or row.get("contract")), answer])
    columns = ["time", "strategy", "order", "risk says"]
    if width < NARROW:
        columns, rows = ["time", "order", "risk says"], [[row[0], *row[2:]] for row in rows]
    return _table(columns, rows, yields=frozenset({"strategy"} if width >= NARROW else {"order"}))


def _fills(state: Mapping[str, Any], width: int) -> Table:
    shown = [
        ("time", "time"), ("strategy", "strategy"), ("side", "side"), ("qty", "quantity"), ("contract", "contract"),
        ("price", "price"),
    ]  # fmt: skip
    if width < ROOMY:
        shown.remove(("strategy", "strategy"))
    if width < NARROW:
        shown.remove(("time", "time"))
    show = {"contract": _symbol, "price": _price}
    rows = [[show.get(key, lambda value: value)(row.get(key)) for _, key in shown] for row in _rows(state, "fills", 12)]
    right = frozenset({"qty", "price"})
    return _table([title for title, _ in shown], rows, right=right, yields=frozenset({"strategy"}))


def _lags(state: Mapping[str, Any]) -> Table:
    found = sorted(_rows(state, "lags", 100), key=lambda row: str(row.get("lag")) == "0")[:12]  # who lags comes first
    rows = [[row.get("lag"), row.get("stream"), row.get("reader")] for row in found]
    return _table(["lag", "stream", "reader"], rows, right=frozenset({"lag"}), yields=frozenset({"stream", "reader"}))


def _books(frame: Frame, width: int) -> list[Text]:
    verdict = frame.verdict
    if verdict is None:
        counts = Text("comparing with the broker's own books …")
    else:
        is_clean = not (verdict.sent_twice or verdict.fills_lost or verdict.fills_twice)
        counts = Text(
            f"{'the ' if width >= NARROW else ''}broker's own books: orders {verdict.orders}, sent twice "
            f"{verdict.sent_twice}, executions {verdict.executions}, fills lost {verdict.fills_lost}"
            + (f", dead letters {verdict.dead_letters}" if width >= NARROW or verdict.dead_letters else ""),
            style="bold green" if is_clean else "bold red",
        )
    return [counts, *(Text(note, style="yellow") for note in frame.notes[-3:]), Text(KEYS, style="dim")]

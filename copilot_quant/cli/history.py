"""`cq history`: historical bars as a table, CSV or JSON, from marketdata's cache and the broker."""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, print_rows
from copilot_quant.cli.session import with_desk
from copilot_quant.desk import Desk
from shared.bar_sizes import BAR_SIZES, parse_bar_size, parse_span_s
from shared.clock import NS_PER_S, iso_utc, parse_iso_utc
from shared.errors import BadInput
from shared.messages.requests import HistoryBar
from shared.settings import BrokerSettings

COLUMNS = ["time", "open", "high", "low", "close", "volume", "vwap", "count"]
DAILY_S = 86_400


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("history")(history)


def history(
    contract: Annotated[str, typer.Argument(help="AAPL, SAP@IBIS:EUR, FX:EUR.USD, #265598 …")],
    duration: Annotated[str, typer.Argument(help='How far back, in calendar time: "30 D", 1y, 3600s …')],
    bar: Annotated[str, typer.Argument(help='Bar size: "1 day", "5 mins", 1h, 30s …')],
    end: Annotated[str, typer.Option("--end", help="Latest time, ISO 8601; default now.")] = "",
    what: Annotated[str, typer.Option("--what", help="TRADES, MIDPOINT, BID, ASK, BID_ASK …")] = "TRADES",
    all_hours: Annotated[bool, typer.Option("--all-hours", help="Also outside regular trading hours.")] = False,
    closed: Annotated[bool, typer.Option("--closed", help="Leave out the bar that still grows.")] = False,
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait; IB's pacing may take minutes.")] = 120.0,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show historical bars; what was fetched before comes from the cache."""
    size, span_s = parse_bar_size(bar), parse_span_s(duration)
    try:
        end_ns = parse_iso_utc(end) if end else 0
    except ValueError as e:
        raise BadInput(f"--end: {end!r} is not an ISO 8601 time such as 2026-11-23 or 2026-11-23T14:30") from e

    async def act(desk: Desk, _: BrokerSettings) -> list[HistoryBar]:
        info = await desk.resolve(contract)
        return await desk.history(
            info.con_id, bar_size=size, span_s=span_s, end_ns=end_ns, what_to_show=what.upper(),
            use_rth=not all_hours, closed_only=closed, limit_s=wait_s,
        )  # fmt: skip

    rows = [bar_row(one, daily=BAR_SIZES[size] >= DAILY_S) for one in with_desk(act)]
    if as_csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    else:
        title = f"{contract} {size}, {'all' if all_hours else 'regular'} hours, times in UTC"
        print_rows(rows, as_json=as_json, title=title, columns=COLUMNS, empty="no bars")


def bar_row(bar: HistoryBar, *, daily: bool) -> dict[str, object]:
    """Return a bar as people read it: its opening time in UTC, of a daily bar the date alone."""
    time = f"{datetime.fromtimestamp(bar.ts_ns // NS_PER_S, UTC):%Y-%m-%d}" if daily else iso_utc(bar.ts_ns)
    return {"time": time, **{name: getattr(bar, name) for name in COLUMNS[1:]}}

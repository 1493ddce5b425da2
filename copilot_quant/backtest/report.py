"""Write a backtest's result as one HTML page with charts, that needs nothing but a browser: no network, no server.

The page is `report.html` with its places filled in; the charts are drawn by the library that the status page ships.
Whatever a strategy wrote (reasons, errors) is text there, never markup.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import services.monitoring
from shared.clock import NS_PER_S, parse_iso_utc

TRADES_SHOWN = 1000
"""In the table; the JSON has all, the chart too."""
_LIBRARY = "static/vendor/lightweight-charts.standalone.production.js"
_PERCENT = (
    "total_return",
    "annual_return",
    "annual_volatility",
    "max_drawdown",
    "exposure_mean",
    "hit_rate",
    "time_in_market",
)
FACTS = (
    ("final_equity", "final equity"), ("profit", "profit"), ("total_return", "return"),
    ("annual_return", "return a year"), ("annual_volatility", "volatility a year"), ("sharpe", "Sharpe"),
    ("sortino", "Sortino"), ("max_drawdown", "largest drawdown"), ("turnover", "turnover"), ("hit_rate", "hit rate"),
    ("round_trips", "round trips"), ("exposure_mean", "mean exposure"), ("time_in_market", "time in market"),
    ("commissions", "commissions"),
)  # fmt: skip
"""What is shown at the top: figure and its words."""


def page_of(content: Mapping[str, Any], prices: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """Return the page.

    Args:
        content: the result as plain values, see `BacktestResult.content`.
        prices: contract → (wall ns, price) at each sample.
    """
    options = content["options"]
    title = f"Backtest of {', '.join(options.get('strategies', ())) or 'a strategy'}"
    charges = f"commission {options.get('commission')}, slippage {options.get('slippage')}"
    subtitle = (
        f"{', '.join(options.get('symbols', ()))} from {content['first'][:19]} to {content['last'][:19]} UTC; "
        f"{content['events']:,} events; {charges}, latency {options.get('latency_ms')} ms; "
        f"limits: {options.get('limits')}{_parameters(options.get('params') or {})}"
    )
    places = {
        "title": html.escape(title),
        "subtitle": html.escape(subtitle),
        "facts": _facts(content["statistics"]),
        "scaled": html.escape(_scaled(content["statistics"])),
        "tables": "\n".join(_tables(content)),
        "library": _text(_LIBRARY_PATH),
        "data": json.dumps(_charts(content, prices)).replace("<", "\\u003c"),
    }
    # One pass: what was filled in is not looked at again, whatever it says.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: places[found[1]], _text(Path(__file__).with_name("report.html")))


_LIBRARY_PATH = Path(str(services.monitoring.__file__)).parent / _LIBRARY


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def shown(name: str, value: Any) -> str:
    """Return a figure for people."""
    if value is None:
        return "–"
    if name in _PERCENT:
        return f"{value * 100:,.2f} %"
    return f"{value:,}" if isinstance(value, int | str) else f"{value:,.2f}"


def _parameters(params: Mapping[str, Any]) -> str:
    each = [
        f"{name}: {', '.join(f'{key} {value}' for key, value in values.items())}"
        for name, values in params.items()
        if isinstance(values, Mapping) and values
    ]
    return f"; {'; '.join(each)}" if each else ""


def _scaled(figures: Mapping[str, Any]) -> str:
    """Return how far the yearly figures reach beyond what was played."""
    period = figures.get("returns_of")
    if period == "day":
        return "Yearly figures, Sharpe and Sortino are made of daily returns."
    return (
        f"Yearly figures, Sharpe and Sortino are scaled up from returns of {period} within one day: they say little "
        "about a year."
    )


def _facts(figures: Mapping[str, Any]) -> str:
    cells = []
    for name, words in FACTS:
        value = figures.get(name)
        tone = ""
        if name in ("profit", "total_return", "annual_return") and isinstance(value, int | float) and value:
            tone = " class='good'" if value > 0 else " class='bad'"
        cells.append(f"<div><span>{words}</span><b{tone}>{html.escape(shown(name, value))}</b></div>")
    return "".join(cells)


def _tables(content: Mapping[str, Any]) -> Iterable[str]:
    orders = [(name, str(count)) for name, count in content["orders"].items()]
    yield _table("Orders", ("what", "how many"), orders, numbers=(1,))
    refused = [(code, str(count), content["refusals"].get(code, "")) for code, count in content["rejected"].items()]
    if refused:
        yield _table("Refused", ("code", "how often", "the first time"), refused, numbers=(1,))
    units = [
        (one["unit"], str(one["intents"]), str(one["errors"]), one["paused"] or "; ".join(one["last_errors"][-1:]))
        for one in content["units"]
    ]
    yield _table("Units", ("unit", "intents", "errors", "what stopped it, or the last error"), units, numbers=(1, 2))
    columns = ("time", "contract", "side", "quantity", "price", "commission", "realized", "strategy", "reason")
    trades = content["trades"]
    rows = [tuple("" if one[name] is None else str(one[name]) for name in columns) for one in trades[:TRADES_SHOWN]]
    more = f", the first {TRADES_SHOWN:,} of them" if len(trades) > TRADES_SHOWN else ""
    yield _table(f"{len(trades):,} trades{more}", columns, rows, numbers=(3, 4, 5, 6))


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()
) -> str:  # fmt: skip
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if number in numbers else ''}>{html.escape(value)}</{tag}>"
            for number, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows) or "<tr><td class='dim'>none</td></tr>"
    head = f"<tr>{cells('th', columns)}</tr>"
    return f"<section><h2>{html.escape(title)}</h2><div class='wide'><table>{head}{body}</table></div></section>"


def _charts(content: Mapping[str, Any], prices: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, Any]:
    """Return what the charts draw: times in Unix seconds, each once."""
    curve = {parse_iso_utc(row[0]) // NS_PER_S: row[1:] for row in content["equity"]}
    times = list(curve)
    columns = list(zip(*curve.values(), strict=True)) or [()] * 4
    sampled = {name: {at_ns // NS_PER_S: price for at_ns, price in rows} for name, rows in prices.items()}
    trades: dict[str, list[tuple[int, int]]] = {name: [] for name in prices}
    for one in content["trades"]:
        at_s = parse_iso_utc(one["time"]) // NS_PER_S
        trades.setdefault(one["contract"], []).append((at_s, 1 if one["side"] == "BUY" else -1))
    return {
        "is_daily": content["statistics"].get("returns_of") == "day",
        "times": times,
        "equity": columns[0],
        "gross": columns[1],
        "net": columns[2],
        "drawdown": [None if each is None else each * 100 for each in columns[3]],
        "prices": {name: list(rows.items()) for name, rows in sampled.items()},
        "trades": trades,
    }

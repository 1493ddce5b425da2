"""What came of a backtest: figures, curve, trades, and what was refused, as values, JSON or a page.

Invariant: `to_json` of two runs of the same strategy on the same data is equal byte for byte; nothing of the machine or
of the time of the run is in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from copilot_quant.backtest.contracts import Contract
from copilot_quant.backtest.journal import Journal, Sample, TradeRecord
from copilot_quant.backtest.report import page_of
from copilot_quant.backtest.roundtrips import RoundTrip, round_trips
from copilot_quant.backtest.statistics import Figures, drawdowns, figures, finite, trading
from copilot_quant.backtest.units import Running
from copilot_quant.frames import frame, pandas
from services.strategy.core.usercode import RAISED, saved_of, text_of
from shared.clock import iso_utc
from shared.messages.orders import Intent
from shared.money import ZERO

VERSION = 1
ERRORS_SHOWN = 5
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class UnitResult:
    """How one unit fared; `errors` are those of its handlers, the last of them with file and line."""

    unit: str
    intents: int
    errors: int
    last_errors: tuple[str, ...]
    paused: str
    positions: dict[str, str]


@dataclass(slots=True)
class BacktestResult:
    """The result of one run; `statistics` is explained in docs/reference/backtest.md."""

    options: Mapping[str, Any]
    first: str
    last: str
    events: int
    statistics: Figures
    orders: dict[str, int]
    rejected: dict[str, int]
    refusals: dict[str, str]
    """Code → the first sentence it came with."""
    units: list[UnitResult]
    samples: list[Sample]
    drawdown: list[float]
    trades: list[TradeRecord]
    trips: list[RoundTrip]
    prices: dict[str, list[tuple[int, float]]]
    intents: list[Intent] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """Return the handlers' errors, with file and line."""
        return [error for unit in self.units for error in unit.last_errors]

    def equity(self) -> Any:
        """Return the curve as a pandas DataFrame: equity, gross, net, drawdown by time (UTC)."""
        rows = [
            {"equity": one.equity, "gross": one.gross, "net": one.net, "drawdown": below}
            for one, below in zip(self.samples, self.drawdown, strict=True)
        ]
        table = frame(rows, ("equity", "gross", "net", "drawdown"))
        table.index = pandas().DatetimeIndex([one.ts_ns for one in self.samples], tz="UTC", name="time")
        return table

    def content(self) -> dict[str, Any]:
        """Return everything as plain values: exact numbers as text, times as ISO 8601."""
        return {
            "version": VERSION,
            "options": dict(self.options),
            "first": self.first,
            "last": self.last,
            "events": self.events,
            "statistics": self.statistics,
            "orders": self.orders,
            "rejected": self.rejected,
            "refusals": self.refusals,
            "units": [
                {
                    "unit": one.unit, "intents": one.intents, "errors": one.errors,
                    "last_errors": list(one.last_errors), "paused": one.paused, "positions": one.positions,
                }
                for one in self.units
            ],
            "trades": [_trade(one) for one in self.trades],
            "round_trips": [_trip(one) for one in self.trips],
            "equity": [
                [iso_utc(one.ts_ns), finite(one.equity), finite(one.gross), finite(one.net), finite(below)]
                for one, below in zip(self.samples, self.drawdown, strict=True)
            ],
        }  # fmt: skip

    def to_json(self) -> str:
        """Return everything as one JSON document."""
        return json.dumps(self.content(), ensure_ascii=False, indent=1, sort_keys=False) + "\n"

    def to_html(self) -> str:
        """Return one page with charts, that needs nothing but a browser."""
        return page_of(self.content(), self.prices)

    def write_html(self, path: Path | str) -> None:
        """Write the page."""
        Path(path).write_text(self.to_html(), encoding="utf-8")


def result_of(
    journal: Journal, running: Sequence[Running], contracts: Mapping[str, Contract], *, cash: Decimal,
    options: Mapping[str, Any], is_daily: bool, sample_s: float, events: int, start_ns: int, end_ns: int,
) -> BacktestResult:  # fmt: skip
    """Return the result of a run."""
    multipliers = {name: each.info.multiplier for name, each in contracts.items()}
    trips = round_trips(journal.trades, multipliers)
    traded = sum((one.quantity * one.price * multipliers[one.contract] for one in journal.trades), ZERO)
    curve = figures(journal.samples, float(cash), sample_s=DAY_S if is_daily else sample_s)
    mean = curve["equity_mean"]
    commissions = sum((one.commission for one in journal.trades), ZERO)
    ends = Counter(state.value for state in journal.ends.values())
    legs = sum(len(intent.legs) for intent in journal.intents)
    orders = {"intents": len(journal.intents), "orders": legs, "cancels": journal.cancels, "fills": len(journal.trades)}
    return BacktestResult(
        options=options, first=iso_utc(start_ns), last=iso_utc(end_ns), events=events,
        statistics={**curve, **trading(trips, traded, commissions, mean if isinstance(mean, float) else None)},
        orders={**orders, **dict(sorted(ends.items()))}, rejected=dict(sorted(journal.rejected.items())),
        refusals=dict(sorted(journal.first_refusals.items())), units=[_unit(one, journal) for one in running],
        samples=journal.samples, drawdown=drawdowns(journal.samples), trades=journal.trades, trips=trips,
        prices=journal.prices, intents=journal.intents,
    )  # fmt: skip


def _unit(running: Running, journal: Journal) -> UnitResult:
    unit = running.unit
    held = {info.name: str(unit.position(con_id)) for con_id, info in unit.contracts.items() if unit.position(con_id)}
    name = unit.identity.unit
    errors = [*_unsavable(running), *(str(error) for error in unit.recent_errors[-ERRORS_SHOWN:])]
    return UnitResult(
        name, sum(intent.unit == name for intent in journal.intents), unit.saved.errors, tuple(errors),
        unit.saved.paused, held,
    )  # fmt: skip


def _unsavable(running: Running) -> list[str]:
    """Return why the state at the end could not be saved: live it is with every commit, and the unit pauses."""
    try:
        saved_of(running.strategy.state)
    except RAISED as e:  # user code: what a state holds is not ours to know
        return [f"the state cannot be saved, live this pauses the unit: {text_of(e)}"]
    return []


def _trade(one: TradeRecord) -> dict[str, Any]:
    return {
        "time": iso_utc(one.ts_ns), "strategy": one.strategy, "contract": one.contract, "side": one.side,
        "quantity": str(one.quantity), "price": str(one.price), "commission": str(one.commission),
        "realized": None if one.realized is None else str(round(one.realized, 6)), "intent": one.intent_id,
        "exec_id": one.exec_id, "reason": one.reason,
    }  # fmt: skip


def _trip(one: RoundTrip) -> dict[str, Any]:
    return {
        "strategy": one.strategy, "contract": one.contract, "side": one.side, "quantity": str(one.quantity),
        "opened": iso_utc(one.opened_ns), "closed": iso_utc(one.closed_ns), "profit": str(round(one.profit, 6)),
        "commission": str(round(one.commission, 6)),
    }  # fmt: skip

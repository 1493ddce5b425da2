"""Fold what the bus says into the state of the status page: pure, bounded, plain JSON values out.

Invariants:
1. Applying a message twice changes nothing that is shown (fills by execId and revision, decisions by intent): the
   collector may read entries again after a Redis failover.
2. Every list has a bound (`KEEP`, fills of the chart `KEEP_MARKS`); totals are counted apart.
3. Nothing here is a decision: the page shows, the services decide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from services.monitoring.core.protection import protected_quantity
from shared.messages.account import (
    AccountSnapshot,
    JournalEntry,
    PnlReport,
    PositionReport,
    PositionsComplete,
    Unexplained,
)
from shared.messages.base import Message
from shared.messages.control import Alert, BrokerStatus, BrokerWindow, Control, HaltStatus, Reconciled
from shared.messages.market import Bar, ContractInfo
from shared.messages.orders import Commission, Decision, Fill, Intent, OrderEvent, OrderState

KEEP = 60
KEEP_BARS = 720
KEEP_MARKS = 2000
CHART_INTERVAL = "5s"
_SHOWN_TAGS = ("NetLiquidation", "TotalCashValue", "AvailableFunds", "BuyingPower", "GrossPositionValue")


def clock_text(ts_ns: int) -> str:
    """Return the UTC time of day of a wall time, "" for 0."""
    return f"{datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC):%H:%M:%S}" if ts_ns else ""


def _text(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}" if value else "0"


def _price_text(value: Decimal | None) -> str | None:
    """Return a price for people: all its digits, and two at least."""
    if value is None:
        return None
    exponent = value.normalize().as_tuple().exponent
    return f"{value.normalize():f}" if isinstance(exponent, int) and exponent < -2 else f"{value:.2f}"


class Recent(OrderedDict[str, dict[str, Any]]):
    """The newest rows by key, at most `most`; a row that comes again keeps its place."""

    most = KEEP

    def note(self, key: str, row: dict[str, Any]) -> None:
        """Add or replace a row."""
        self[key] = row
        while len(self) > self.most:
            self.popitem(last=False)

    def newest(self) -> list[dict[str, Any]]:
        """Return the last `KEEP` rows, newest first."""
        return list(islice(reversed(self.values()), KEEP))


class Marks(Recent):
    """Rows that the chart shows too: as many as its bars may need."""

    most = KEEP_MARKS


class StatusView:
    """The page's state. `apply` takes messages, the collector sets what it reads from hashes, `state` shows all."""

    def __init__(self, mode: str, deployment: str) -> None:
        self.mode = mode
        self.deployment = deployment
        self.account = ""
        self.names: dict[int, str] = {}
        self.gateways: dict[str, BrokerStatus] = {}
        self.reconciled: Reconciled | None = None
        self.halt: dict[str, Any] = {"stage": "", "who": "", "reason": "", "orders_left": 0}
        self.heartbeats: list[dict[str, Any]] = []
        self.prices: list[dict[str, Any]] = []
        self.positions: dict[int, PositionReport] = {}
        self.open_orders: dict[str, OrderEvent] = {}
        self.pnl: PnlReport | None = None
        self.currency = ""
        self.account_values: dict[str, str] = {}
        self.lags: list[dict[str, Any]] = []
        self.lease_epochs: dict[str, int] = {}
        self.dead_letters: list[dict[str, Any]] = []
        self.dead_letter_count = 0
        self.strategies: list[dict[str, Any]] = []
        self.alerts: dict[str, Alert] = {}
        self.unexplained: dict[int, Unexplained] = {}
        self.outdated: JournalEntry | None = None
        """The last split that orders at older prices outlived."""
        self.window: BrokerWindow | None = None
        self.bars: dict[int, OrderedDict[int, Bar]] = {}
        self.bars_seen = 0
        self.fills_total = 0
        self._fills = Marks()
        self._intents = Recent()
        self._decisions = Recent()
        self._orders = Recent()
        self._controls = Recent()
        self._commissions: OrderedDict[str, Decimal] = OrderedDict()

    # -------------------------------------------------------------------------------------------- in

    def apply(self, message: Message) -> None:
        """Take one message of any stream; types that the page does not show are ignored."""
        match message:
            case Bar():
                self._on_bar(message)
            case Intent():
                self._on_intent(message)
            case Decision():
                self._on_decision(message)
            case OrderEvent():
                self._on_order(message)
            case Fill() | Commission():
                self._on_fill(message)
            case Control():
                self._controls.note(message.control_id, _control_row(message))
            case Alert():
                self._on_alert(message)
            case _:
                self._apply_state(message)

    def _apply_state(self, message: Message) -> None:
        match message:
            case BrokerStatus():
                self.gateways[message.instance] = message
            case BrokerWindow() | Reconciled():
                self._on_leader(message)
            case HaltStatus():
                self.halt = {**self.halt, **message.model_dump(mode="json", exclude={"ts_init_ns", "control_id"})}
            case PnlReport():
                self.account = message.account
                self.pnl = message
            case AccountSnapshot():
                self.account = message.account
                self.currency = message.currency or self.currency
            case PositionReport():
                self.account = message.account or self.account
                self.positions[message.con_id] = message
            case PositionsComplete():
                self.positions = {key: row for key, row in self.positions.items() if key in message.con_ids}
            case Unexplained() | JournalEntry():
                self._on_books(message)
            case ContractInfo():
                self.names[message.con_id] = message.name
            case _:
                pass

    def _on_leader(self, message: BrokerWindow | Reconciled) -> None:
        if isinstance(message, BrokerWindow):
            self.window = message
        else:
            self.reconciled = message

    def _on_books(self, message: Unexplained | JournalEntry) -> None:
        if isinstance(message, JournalEntry):
            self.outdated = message if message.orders else self.outdated
        elif message.expected == message.reported:
            self.unexplained.pop(message.con_id, None)
        else:
            self.unexplained[message.con_id] = message

    def _on_bar(self, bar: Bar) -> None:
        self.bars_seen += not bar.is_revised
        if bar.interval != CHART_INTERVAL:
            return
        kept = self.bars.setdefault(bar.con_id, OrderedDict())
        kept[bar.ts_open_ns] = bar
        while len(kept) > KEEP_BARS:
            del kept[min(kept)]

    def _on_intent(self, intent: Intent) -> None:
        order = " + ".join(
            " ".join(
                str(part)
                for part in (
                    leg.side.value,
                    _text(leg.quantity),
                    leg.order_type.value,
                    _price_text(leg.limit_price or leg.stop_price),
                )
                if part is not None
            )
            for leg in intent.legs
        )
        contract = self.name(intent.con_id, intent.contract)
        self._intents.note(
            intent.intent_id,
            {
                "intent_id": intent.intent_id,
                "time": clock_text(intent.ts_init_ns),
                "ts_ns": intent.ts_init_ns,
                "strategy": intent.strategy,
                "contract": contract,
                "order": f"{order} {contract}",
                "reason": intent.reason,
                "decision": "",
                "code": "",
                "text": "",
            },
        )

    def _on_decision(self, decision: Decision) -> None:
        intent = self._intents.get(decision.intent_id, {})
        answer = "approved" if decision.approved else "rejected"
        row = {
            "intent_id": decision.intent_id,
            "time": clock_text(decision.ts_init_ns),
            "strategy": decision.strategy,
            "contract": intent.get("contract") or self.name(decision.con_id),
            "order": intent.get("order", ""),
            "approved": decision.approved,
            "code": decision.code,
            "text": decision.text,
            "limit": decision.failed[0].limit if decision.failed else "",
            "measured": decision.failed[0].measured if decision.failed else "",
        }
        self._decisions.note(decision.intent_id, row)
        if intent:
            intent.update(decision=answer, code=decision.code, text=decision.text)

    def _on_order(self, event: OrderEvent) -> None:
        key = event.envelope_id() + (f"/{event.leg}" if not event.order_ref else "")
        self._orders.note(key, _order_row(event, self.name(event.con_id, event.contract)))
        self._orders.move_to_end(key)
        if event.state.is_final:
            self.open_orders.pop(event.envelope_id(), None)
        else:
            self.open_orders[event.envelope_id()] = event

    def _on_fill(self, message: Fill | Commission) -> None:
        if isinstance(message, Commission):
            self._commissions[message.exec_id] = message.commission
            while len(self._commissions) > KEEP_MARKS:
                self._commissions.popitem(last=False)
            return
        if message.exec_stem not in self._fills and message.revision == 1:
            self.fills_total += 1
        row = {
            "exec_id": message.exec_id,
            "time": clock_text(message.ts_event_ns or message.ts_init_ns),
            "ts_ns": message.ts_event_ns or message.ts_init_ns,
            "strategy": message.strategy,
            "side": message.side.value,
            "quantity": _text(message.quantity),
            "con_id": message.con_id,
            "contract": self.name(message.con_id, message.contract),
            "price": _text(message.price),
            "late": message.is_late,
            "corrected": message.revision > 1,
        }
        self._fills.note(message.exec_stem, row)

    def _on_alert(self, alert: Alert) -> None:
        if alert.is_cleared:
            self.alerts.pop(alert.alert_id, None)
        else:
            self.alerts.setdefault(alert.alert_id, alert)

    # ------------------------------------------------------------------------------------------- out

    def learn_names(self) -> None:
        """Take the names of contracts from what the units declare; marketdata's snapshots may not know them yet."""
        for row in self.strategies:
            for con_id, name in zip(row.get("contracts") or (), row.get("names") or (), strict=False):
                if isinstance(con_id, int) and isinstance(name, str):
                    self.names.setdefault(con_id, name)

    def name(self, con_id: int, given: str = "") -> str:
        """Return how a contract is shown."""
        return self.names.get(con_id) or given or f"#{con_id}"

    def leader(self) -> dict[str, Any]:
        """Return the leading gateway: from its heartbeat, with the broker's state as it said last."""
        for beat in self.heartbeats:
            if beat.get("service") == "gateway" and (beat.get("is_leader") or beat.get("role") == "leader"):
                said = self.gateways.get(str(beat.get("instance")))
                return {
                    "instance": beat.get("instance"),
                    "epoch": beat.get("epoch"),
                    "link": beat.get("link") or (said.state.value if said else ""),
                    "reason": beat.get("link_reason") or (said.reason if said else ""),
                    "broken_farms": beat.get("broken_farms") or [],
                }
        return {"instance": None, "epoch": None, "link": None, "reason": "no gateway leads", "broken_farms": []}

    def unknown_orders(self) -> int:
        """Return how many orders are in doubt."""
        return sum(event.state is OrderState.UNKNOWN for event in self.open_orders.values())

    def tick_rate(self) -> float | None:
        """Return the ticks a second that the leading marketdata reads, None without one."""
        for beat in self.heartbeats:
            if beat.get("service") == "marketdata" and beat.get("role") == "leader":
                rate = beat.get("ticks_per_s")
                return float(rate) if isinstance(rate, int | float) else None
        return None

    def resume_word(self) -> str:
        """Return what a person types to trade again after a halt: live the account, else the deployment's name."""
        return (self.account if self.mode == "live" else "") or self.deployment

    def state(self, now_ns: int) -> dict[str, Any]:
        """Return everything the page shows, as plain JSON values."""
        return {
            "mode": self.mode,
            "is_simulated": self.mode == "sim",
            "deployment": self.deployment,
            "account": self.account,
            "resume_word": self.resume_word(),
            "now_ns": now_ns,
            "time": clock_text(now_ns),
            "leader": self.leader(),
            "gateways": [
                {**status.model_dump(mode="json"), "since": clock_text(status.ts_init_ns)}
                for status in self.gateways.values()
            ],
            "halt": self.halt,
            "tick_rate": self.tick_rate(),
            "bars_total": self.bars_seen,
            "prices": [self._named(row) for row in self.prices],
            "positions": [
                _position_row(
                    report,
                    self.name(report.con_id, report.contract),
                    protected_quantity(report, self.open_orders.values()),
                )
                for report in self.positions.values()
                if report.position
            ],
            "pnl": {
                "daily": _text(self.pnl.daily) if self.pnl else None,
                "unrealized": _text(self.pnl.unrealized) if self.pnl else None,
                "realized": _text(self.pnl.realized) if self.pnl else None,
                "currency": self.currency,
                "commissions": _text(sum(self._commissions.values(), Decimal(0))),
                "commissions_of": len(self._commissions),
            },
            "account_values": self._account_values(),
            "intents": self._intents.newest(),
            "decisions": self._decisions.newest(),
            "orders": self._orders.newest(),
            "orders_working": len(self.open_orders),
            "orders_unknown": self.unknown_orders(),
            "fills": self._fills.newest(),
            "fills_total": self.fills_total,
            "lags": self.lags,
            "processes": self.heartbeats,
            "strategies": self.strategies,
            "controls": self._controls.newest()[:10],
            "alerts": [
                {
                    "alert_id": one.alert_id,
                    "severity": one.severity,
                    "text": one.text,
                    "since": clock_text(one.ts_init_ns),
                }
                for one in self.alerts.values()
            ],
            "dead_letters": self.dead_letter_count,
            "dead_letter_last": self.dead_letters[-5:],
            "unexplained": [row.model_dump(mode="json") for row in self.unexplained.values()],
        }

    def _account_values(self) -> dict[str, str]:
        """Return the shown tags: as the account gives them without a currency, else in the base currency."""
        found: dict[str, str] = {}
        for tag in _SHOWN_TAGS:
            in_base = f"{tag}:{self.currency or 'BASE'}"
            same = [name for name in self.account_values if name.startswith(f"{tag}:")]
            for name in (tag, in_base, f"{tag}:BASE", *(same if len(same) == 1 else ())):
                if name in self.account_values:
                    found[tag] = self.account_values[name]
                    break
        return found

    def _named(self, row: dict[str, Any]) -> dict[str, Any]:
        given = str(row["contract"])
        return row if not given.startswith("#") else {**row, "contract": self.name(int(row["con_id"]))}

    def chart(self, con_id: int) -> dict[str, Any]:
        """Return the bars of a contract, oldest first, and the fills to mark; times in whole seconds UTC."""
        kept = self.bars.get(con_id, OrderedDict())
        bars = [
            {
                "time": bar.ts_open_ns // 1_000_000_000,
                "open": float(bar.open),
                "high": float(bar.high),
                "low": float(bar.low),
                "close": float(bar.close),
            }
            for _, bar in sorted(kept.items())
        ]
        fills = [
            {
                "time": row["ts_ns"] // 1_000_000_000,
                "side": row["side"],
                "quantity": row["quantity"],
                "price": row["price"],
                "strategy": row["strategy"],
            }
            for row in self._fills.values()
            if row["con_id"] == con_id
        ]
        return {
            "con_id": con_id,
            "contract": self.name(con_id),
            "interval": CHART_INTERVAL,
            "bars": bars,
            "fills": fills,
        }


def _position_row(report: PositionReport, name: str, protected: Decimal) -> dict[str, Any]:
    return {
        "con_id": report.con_id,
        "contract": name,
        "position": _text(report.position),
        "average_cost": _text(report.average_cost),
        "market_price": _text(report.market_price),
        "unrealized_pnl": _text(report.unrealized_pnl),
        "realized_pnl": _text(report.realized_pnl),
        "currency": report.currency,
        "protected": _text(protected),
    }


def _order_row(event: OrderEvent, name: str) -> dict[str, Any]:
    return {
        "order_ref": event.order_ref,
        "time": clock_text(event.ts_event_ns or event.ts_init_ns),
        "strategy": event.strategy,
        "contract": name,
        "side": event.side.value,
        "quantity": _text(event.quantity),
        "type": event.order_type,
        "price": _text(event.limit_price or event.stop_price),
        "state": event.state.value,
        "filled": _text(event.filled),
        "average_price": _text(event.average_price),
        "by": event.by,
        "code": event.code,
        "text": event.text,
        "external": event.is_external,
    }


def _control_row(control: Control) -> dict[str, Any]:
    return {
        "time": clock_text(control.ts_init_ns),
        "action": control.action.value,
        "scope": control.scope,
        "who": control.who,
        "reason": control.reason,
    }


def price_row(con_id: int, fields: Mapping[str, bytes]) -> dict[str, Any]:
    """Return a row of last prices from the plain fields of `last:<conId>`."""
    text = {name: value.decode(errors="replace") for name, value in fields.items()}
    names = ("symbol", "bid", "bid_size", "ask", "ask_size", "last", "last_size", "volume", "quality", "ts")
    ts_ns = text.get("ts_ns", "")
    return {
        "con_id": con_id,
        "contract": text.get("contract") or text.get("symbol") or f"#{con_id}",
        **{name: text.get(name, "") for name in names},
        "ts_ns": int(ts_ns) if ts_ns.isdigit() else 0,
    }

"""Say once when something needs a person, and once when it is over.

Invariants:
1. An alert is raised once per episode and cleared once: what flickers shorter than its patience is never raised.
2. The same conditions in the same order give the same alerts; a restart restores what stands and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.monitoring.core.protection import is_protected
from services.monitoring.core.views import StatusView
from shared.messages.control import Alert, WindowPhase

NS_PER_S = 1_000_000_000
_FORGET_INSTANCE_NS = 300 * NS_PER_S
REQUIRED_SERVICES = ("gateway", "risk", "marketdata")


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is wrong now. It is raised once it has lasted `patience_s`."""

    alert_id: str
    severity: str
    text: str
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on a number is worth an alert: entries of lag, and seconds of patience."""

    lag_entries: int = 1_000
    heartbeat_s: float = 5.0
    leader_s: float = 5.0
    start_s: float = 20.0


@dataclass
class AlertBook:
    """The alerts that stand; `update` returns what to publish."""

    clear_after_s: float = 2.0
    standing: dict[str, Alert] = field(default_factory=dict)
    _pending: dict[str, int] = field(default_factory=dict)
    _absent: dict[str, int] = field(default_factory=dict)

    def restore(self, alerts: Iterable[Alert]) -> None:
        """Take what was published before, oldest first."""
        for alert in alerts:
            if alert.is_cleared:
                self.standing.pop(alert.alert_id, None)
            else:
                self.standing.setdefault(alert.alert_id, alert)

    def update(self, conditions: Iterable[Condition], now_ns: int) -> list[Alert]:
        """Return the alerts to publish now, given everything that is wrong at `now_ns` (wall time for the message)."""
        present = {condition.alert_id: condition for condition in conditions}
        out: list[Alert] = []
        for alert_id, condition in present.items():
            self._absent.pop(alert_id, None)
            if alert_id in self.standing:
                continue
            since_ns = self._pending.setdefault(alert_id, now_ns)
            if now_ns - since_ns >= condition.patience_s * NS_PER_S:
                alert = Alert(alert_id=alert_id, severity=condition.severity, text=condition.text, ts_init_ns=now_ns)
                self.standing[alert_id] = alert
                del self._pending[alert_id]
                out.append(alert)
        self._pending = {alert_id: since for alert_id, since in self._pending.items() if alert_id in present}
        for alert_id in [name for name in self.standing if name not in present]:
            gone_ns = self._absent.setdefault(alert_id, now_ns)
            if now_ns - gone_ns >= self.clear_after_s * NS_PER_S:
                alert = self.standing.pop(alert_id)
                del self._absent[alert_id]
                out.append(alert.model_copy(update={"is_cleared": True, "ts_init_ns": now_ns}))
        return out


class Pulse:
    """Remembers which processes were alive, to notice the missing."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def missing(self, heartbeats: Iterable[Mapping[str, Any]], now_ns: int, limit_s: float) -> list[tuple[str, str]]:
        """Return (service, instance) of processes that beat before and have not for `limit_s`.

        One that was replaced (another of its service started after its last beat) is forgotten at once, one that was
        taken away while others of its service live, after five minutes.
        """
        alive_services: dict[str, int] = {}
        for beat in heartbeats:
            service, instance = str(beat.get("service")), str(beat.get("instance"))
            started_ns = beat.get("started_ns")
            started_ns = started_ns if isinstance(started_ns, int) else 0
            alive_services[service] = max(started_ns, alive_services.get(service, 0))
            self._seen[service, instance] = max(now_ns, self._seen.get((service, instance), 0))
        for key, seen_ns in list(self._seen.items()):
            if key[0] not in alive_services:
                continue
            is_replaced = seen_ns < now_ns and alive_services[key[0]] > seen_ns
            if is_replaced or now_ns - seen_ns > _FORGET_INSTANCE_NS:
                del self._seen[key]
        return [key for key, seen_ns in self._seen.items() if now_ns - seen_ns > limit_s * NS_PER_S]


def conditions(view: StatusView, pulse: Pulse, limits: Limits, now_ns: int) -> list[Condition]:
    """Return everything that is wrong in a state."""
    return [
        *_process_conditions(view, pulse, limits, now_ns),
        *_link_conditions(view, limits),
        *_trading_conditions(view),
        *_data_conditions(view, limits),
    ]


def _named(service: str, instance: str) -> str:
    return instance if instance.startswith(service) else f"{service} {instance}"


def _process_conditions(view: StatusView, pulse: Pulse, limits: Limits, now_ns: int) -> list[Condition]:
    found = [
        Condition(f"heartbeat:{service}:{instance}", "error", f"{_named(service, instance)} has stopped beating")
        for service, instance in pulse.missing(view.heartbeats, now_ns, limits.heartbeat_s)
    ]
    alive = [beat.get("service") for beat in view.heartbeats]
    found += [
        Condition(f"service:{service}", "error", f"no {service} process is alive", limits.start_s)
        for service in REQUIRED_SERVICES
        if service not in alive
    ]
    for beat in view.heartbeats:
        if not beat.get("ready", True):
            reasons = "; ".join(str(reason) for reason in dict(beat.get("failed") or {}).values())
            name = _named(str(beat.get("service")), str(beat.get("instance")))
            alert_id = f"not-ready:{beat.get('service')}:{beat.get('instance')}"
            found.append(Condition(alert_id, "warning", f"{name} is not ready: {reasons}", limits.start_s))
    return found


def _link_conditions(view: StatusView, limits: Limits) -> list[Condition]:
    found: list[Condition] = []
    leader = view.leader()
    if leader["instance"] is None:
        found.append(Condition("no-leader", "error", "no gateway leads: no order can go out", limits.leader_s))
    elif leader["link"] not in ("READY", "", None) and not _is_in_window(view):
        text = f"the leading gateway {leader['instance']} is {leader['link']}: {leader['reason'] or 'no reason given'}"
        found.append(Condition("link", "error", text, limits.leader_s))
    if leader["broken_farms"] and not _is_in_window(view):
        text = f"IB's data farms are broken: {', '.join(map(str, leader['broken_farms']))}; orders go, prices may stand"
        found.append(Condition("farms", "warning", text, 30.0))
    if view.window is not None and view.window.phase is WindowPhase.OUTLIVED:
        text = (
            f"the broker's window {view.window.name} is over and the link has not come back: look at TWS, its login too"
        )
        found.append(Condition("window-outlived", "error", text))
    return found


def _trading_conditions(view: StatusView) -> list[Condition]:
    found: list[Condition] = []
    stage = view.halt.get("stage")
    if stage not in ("none", ""):
        by = f" by {view.halt['who']}" if view.halt.get("who") else ""
        why = f": {view.halt['reason']}" if view.halt.get("reason") else ""
        found.append(Condition("halted", "warning", f"trading is halted ({stage}){by}{why}"))
    if view.dead_letter_count:
        text = f"dead-letter holds {view.dead_letter_count} entries: cq tail dead-letter shows them"
        found.append(Condition("dead-letter", "error", text))
    unknown = view.unknown_orders()
    if unknown:
        text = f"{unknown} order(s) in doubt: only the broker's evidence ends that state"
        found.append(Condition("orders-unknown", "error", text, 2.0))
    for con_id, row in view.unexplained.items():
        text = f"{view.name(con_id)}: the broker holds {row.reported}, the books {row.expected}; {row.text}"
        found.append(Condition(f"unexplained:{con_id}", "error", text))
    outdated = [key for key in (view.outdated.orders if view.outdated is not None else ()) if key in view.open_orders]
    if view.outdated is not None and outdated:
        text = f"{view.name(view.outdated.con_id)}: {view.outdated.text}; at prices of before: {', '.join(outdated)}"
        found.append(Condition(f"split-orders:{view.outdated.con_id}", "error", text))
    orders = view.open_orders.values()
    bare = [view.name(key) for key, row in view.positions.items() if row.position and not is_protected(row, orders)]
    if bare:
        text = f"positions without a stop at the broker: {', '.join(sorted(bare))}"
        found.append(Condition("position.unprotected", "info", text, 30.0))
    return found


def _is_in_window(view: StatusView) -> bool:
    """Return whether the broker is expected to be away now: a link that is down then is no news."""
    return view.window is not None and view.window.phase is WindowPhase.WITHIN


def _data_conditions(view: StatusView, limits: Limits) -> list[Condition]:
    found: list[Condition] = []
    for row in view.lags:
        if isinstance(row.get("lag"), int) and row["lag"] > limits.lag_entries:
            text = f"{row['reader']} is {row['lag']} entries behind in {row['stream']}"
            found.append(Condition(f"lag:{row['stream']}:{row['reader']}", "warning", text, 5.0))
    for beat in view.heartbeats:
        if beat.get("service") == "marketdata" and beat.get("role") == "leader":
            for name in list(beat.get("silent") or [])[:20]:
                text = f"no ticks of {name} although its market is open"
                found.append(Condition(f"stale:{name}", "warning", text))
    delayed = sorted(str(row["contract"]) for row in view.prices if str(row.get("quality", "")).startswith("DELAYED"))
    if delayed:
        text = f"delayed data, not live: {', '.join(delayed[:10])}{' …' if len(delayed) > 10 else ''}"
        found.append(Condition("delayed", "info", text, 5.0))
    return found

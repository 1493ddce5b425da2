"""Say per contract which data flow, or why none do, and the cure.

Causes come from the broker itself: the last `DataStatus` of the contract (an error of its subscription, or the kind of
data) and the data farms that are down; then from the contract's own hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from copilot_quant.findings import Finding
from shared.clock import NS_PER_S
from shared.messages.market import ContractInfo, DataQuality, DataStatus
from shared.sessions import SessionCalendar

STALE_AFTER_S = 60.0
_PORTAL = "Client Portal → Settings → Market Data Subscriptions"
CURES: Mapping[int, str] = {
    101: "all market data lines of this login are used: fewer contracts in the strategies, or a Quote Booster at IB",
    200: "no such contract any more: `cq contract find` shows how it is written now",
    322: "TWS could not process the request: restart it if this stays",
    354: f"subscribe to this market's live data ({_PORTAL}), then log TWS out and in",
    420: "too many requests at once: it is asked for again by itself",
    10089: f"live data through the API need a subscription of their own ({_PORTAL})",
    10090: f"a part is not subscribed ({_PORTAL}); the rest flows",
    10091: f"a part needs an API subscription ({_PORTAL}); the rest flows",
    10167: f"delayed data flow instead; live ones need a subscription ({_PORTAL})",
    10168: "delayed data are off as well: subscribe, or allow delayed data in TWS",
    10186: f"neither live nor delayed data: subscribe ({_PORTAL})",
    10187: "historical data are not subscribed for this contract",
    10189: f"tick-by-tick data are not subscribed ({_PORTAL})",
    10197: "the same user is logged in elsewhere (TWS, mobile, Client Portal) and has the data: log out there",
    10225: "IB ended the bars after a correction of trades: they are asked for again by themselves",
}
"""What to do about an error of a subscription (ib-facts A.7, A.12)."""
_FLOWING = frozenset({10090, 10091, 10167, 300})
"""With these codes data come all the same."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What is known of one wanted contract: its last prices, definition, and the broker's last word on its data."""

    con_id: int
    last: Mapping[str, str]
    info: ContractInfo | None = None
    status: DataStatus | None = None

    @property
    def name(self) -> str:
        """Return how people write it."""
        if self.info is not None:
            return self.info.name
        return self.last.get("contract") or self.last.get("symbol") or f"#{self.con_id}"


def data_finding(facts: DataFacts, now_ns: int, broken_farms: Sequence[str]) -> Finding:
    """Return what flows for a contract and the cure where it does not."""
    name = f"data {facts.name}"
    status = facts.status
    age_s = (now_ns - int(facts.last["ts_ns"])) / NS_PER_S if facts.last.get("ts_ns") else None
    when = "no price has come yet" if age_s is None else f"last price {_ago(age_s)} ago"
    is_fresh = age_s is not None and age_s < STALE_AFTER_S
    if status is not None and status.code and status.code not in _FLOWING and not is_fresh:
        cure = CURES.get(status.code, "look the code up in TWS: Help → API message codes, or in its log")
        return Finding(name, "bad", f"{when}; the broker says {status.code}: {status.text}", cure)
    quality = facts.last.get("quality") or "UNKNOWN"
    if is_fresh:
        return _flowing(name, quality, when, status)
    if facts.info is not None and not SessionCalendar(facts.info.time_zone, facts.info.trading_hours).is_open(now_ns):
        return Finding(name, "ok", f"{when}: its market is closed now")
    if broken_farms:
        farms = ", ".join(broken_farms)
        return Finding(
            name, "warn", f"{when}; data farms down: {farms}", "IB's side: wait, it is resubscribed by itself"
        )
    if age_s is None:
        cure = f"`cq status`: is the link READY? does TWS show this contract's price? if not: {_PORTAL}"
        return Finding(name, "bad", when, cure)
    return Finding(
        name, "warn", f"{quality}, {when}", "does TWS show newer prices? `cq status` shows the broker's link"
    )


def _flowing(name: str, quality: str, when: str, status: DataStatus | None) -> Finding:
    if quality.startswith("DELAYED"):
        cure = CURES[10167] if status is None or not status.code else CURES.get(status.code, CURES[10167])
        return Finding(
            name, "warn", f"DATA_DELAYED, {when}", f"{cure}; risk warns or refuses on them, as the limits say"
        )
    if quality == DataQuality.FROZEN.name:
        return Finding(name, "ok", f"FROZEN, {when}: the market's last state while it is closed")
    return Finding(name, "ok", f"{quality}, {when}")


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

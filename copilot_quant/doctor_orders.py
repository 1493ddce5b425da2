"""Say why orders were refused lately and what the broker's link last complained of, and the cure.

Orders that the broker refused come with IB's own code and text, those that risk refused with the rule's. What is
older than an hour is history, not a finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from copilot_quant.findings import Finding
from shared.clock import NS_PER_S
from shared.messages.base import Message
from shared.messages.control import BrokerStatus, LinkState, PacingViolation
from shared.messages.orders import Decision, OrderEvent, OrderState

CLIENT_ID_IN_USE = 326
RECENT_S = 3600
MOST = 5
_PRECAUTIONS = "TWS: Configuration → API → Precautions, 'Bypass Order Precautions for API Orders'; or a smaller order"
ORDER_CURES: Mapping[str, str] = {
    "IB_103": "another program used this order id: `cq doctor` again; the gateway takes a higher one by itself",
    "IB_110": "the price does not fit the contract's tick size: `cq contract show` has it",
    "IB_163": f"the price is far from the market: {_PRECAUTIONS}",
    "IB_200": "no such contract any more: `cq contract find`",
    "IB_201": "IB's text says why: compare with buying power (`cq account`), trading permissions (Client Portal → "
    "Settings → Trading Permissions) and the market's hours",
    "IB_203": "this kind of security is not allowed in the account: Client Portal → Settings → Trading Permissions",
    "IB_321": "TWS is read-only: File → Global Configuration → API → Settings, untick 'Read-Only API'",
    "IB_383": f"the order is larger than TWS' presets allow: {_PRECAUTIONS}",
    "IB_399": "a warning of TWS: the order works",
    "IB_404": "no shares to lend: IB tries for a while, and the order waits",
}
"""What to do about an order that the broker refused (ib-facts A.4)."""
RISK_CURES: Mapping[str, str] = {
    "RISK_DATA_STALE": "no fresh price: the lines `data …` say why; is the market open?",
    "RISK_HALTED": "`cq resume --reason …` when the cause is gone",
    "RISK_BROKER_WINDOW": "the broker is expected to be away: again after it, or change GATEWAY_BROKER_WINDOWS",
    "RISK_NOT_ARMED": "live opens nothing while LIVE_STAGE is observe: `cq preflight --live`, then limited",
    "RISK_PREFLIGHT_MISSING": "`cq preflight --live` goes through what is missing; RISK_LIMITS_FILE names your limits",
    "RISK_OWNERS_UNSETTLED": "`cq positions` shows what is unassigned: `cq positions assign` says whose it is",
    "RISK_NOT_READY": "a gateway has to lead and to have asked the broker: `cq status`",
    "RISK_BUYING_POWER": "`cq account` has BuyingPower: order less, or free some",
    "RISK_MARKET_CLOSED": "again when it is open, or with --outside-rth and a limit",
    "RISK_TICK_SIZE": "the price does not fit the contract's tick size: `cq contract show` has it",
}
LINK_CURES: Mapping[int, str] = {
    100: "more than 50 messages a second on this login: end other programs that use it; what goes through us is paced",
    326: "another program has the gateway's client id, or TWS has not noticed that it ended: end it, wait some "
    "seconds, restart TWS if it stays, or set another id (IB_…_CLIENT_ID, GATEWAY_TRADING_CLIENT_IDS)",
    502: "is TWS running and logged in? API → Settings: 'Enable ActiveX and Socket Clients', and the port",
    162: "what goes through us is paced, so another program of this login asked for history too (together at most 60 "
    "requests of small bars in ten minutes): end it, wait ten minutes, or ask for larger bars",
    420: "what goes through us is paced, so another program of this login asked for live bars too, which count with "
    "history: end it",
    1100: "IB's side or this machine's network: TWS reconnects by itself; nights and weekends have resets",
    1300: "TWS listens at another port now: put it into IB_…_PORT",
    2110: "IB's side or this machine's network: TWS reconnects by itself",
}
_NO_LINK = "is TWS running and logged in? `cq connect` looks at it alone"

_GONE = "it stood by and is gone: start it again, unless you took it away"


def link_findings(
    statuses: Iterable[Message], now_ns: int, heartbeats: Iterable[Mapping[str, Any]] = ()
) -> list[Finding]:
    """Return what is wrong with the broker's link now, and whether it broke the pacing lately.

    Only leaders write: how the data session of a gateway that stands by does is in its heartbeat, which says it sooner;
    that a heartbeat has stopped they write, too, and an hour later it is history.
    """
    statuses = list(statuses)
    told = [one for one in statuses if isinstance(one, BrokerStatus)]
    standing_by = {row.get("instance") for row in heartbeats if row.get("role") == "standby"}
    latest = {one.instance: one for one in told if one.instance not in standing_by}
    found = [
        Finding(f"link of {name}", "bad", _words(one), LINK_CURES.get(one.code, _NO_LINK))
        if one.is_leader
        else Finding(f"gateway {name}", "warn", _words(one), _GONE)
        for name, one in sorted(latest.items())
        if one.state in (LinkState.DOWN, LinkState.DEGRADED) and (one.is_leader or _is_recent(one.ts_init_ns, now_ns))
    ]
    paced = [one for one in told if one.code == 100 and _is_recent(one.ts_init_ns, now_ns)]
    if paced:
        found.append(
            Finding("pacing", "warn", f"the broker ended {len(paced)} session(s) for it (100)", LINK_CURES[100])
        )
    return found + _refused_requests(statuses, now_ns)


def _refused_requests(told: Iterable[Message], now_ns: int) -> list[Finding]:
    """Return a finding per pacing code for which the broker refused requests lately."""
    refused = [one for one in told if isinstance(one, PacingViolation) and _is_recent(one.ts_init_ns, now_ns)]
    found = []
    for code in sorted({one.code for one in refused}):
        alike = [one for one in refused if one.code == code]
        last = alike[-1]
        text = f"{code}: {last.text} ({len(alike)} request(s) refused, the last for {last.request})"
        found.append(Finding("pacing", "warn", text, LINK_CURES.get(code, LINK_CURES[100])))
    return found


def data_link_finding(row: Mapping[str, Any]) -> Finding:
    """Say why a gateway has no data session; `row` is its heartbeat."""
    code = int(row.get("data_link_code", 0))
    is_leader = row.get("role") == "leader"
    text = f"{row['data_link']}, client id {row.get('client_id')}: {row.get('data_link_reason') or 'no reason given'}"
    more = " (in use)" if code == CLIENT_ID_IN_USE else ""
    cure = LINK_CURES.get(code, _NO_LINK)
    return Finding(f"data session of {row['instance']}", "bad" if is_leader else "warn", text + more, cure)


def _words(status: BrokerStatus) -> str:
    code = f"{status.code}: " if status.code and str(status.code) not in status.reason else ""
    return f"{status.state}, {code}{status.reason or 'no reason given'}"


def order_findings(messages: Iterable[Message], now_ns: int) -> list[Finding]:
    """Return the latest refusal of each kind within the last hour, newest first."""
    latest: dict[tuple[str, str], tuple[int, Finding]] = {}
    counts: dict[tuple[str, str], int] = {}
    for message in messages:
        refusal = _refusal(message)
        if refusal is None or not _is_recent(message.ts_init_ns, now_ns):
            continue
        by, code, text, contract = refusal
        key = by, code
        counts[key] = counts.get(key, 0) + 1
        cures = RISK_CURES if by == "risk" else ORDER_CURES
        cure = cures.get(code, "`cq limits show` has the limit" if by == "risk" else "look the code up in TWS")
        said = f"{f'{code} {contract}'.strip()}: {text}"
        latest[key] = message.ts_init_ns, Finding(f"rejected by {by}", "warn", said, cure)
    newest = sorted(latest.items(), key=lambda pair: -pair[1][0])[:MOST]
    return [
        Finding(one.name, one.state, f"{one.text} ({counts[key]} times)" if counts[key] > 1 else one.text, one.cure)
        for key, (_, one) in newest
    ]


def _refusal(message: Message) -> tuple[str, str, str, str] | None:
    """Return by whom, code, text and contract of a refusal; None for any other message."""
    if isinstance(message, Decision) and not message.approved:
        return "risk", message.code, message.text, ""
    if isinstance(message, OrderEvent) and message.state is OrderState.REJECTED and message.intent_id:
        return message.by or "broker", message.code, message.text, message.contract
    return None


def _is_recent(ts_ns: int, now_ns: int) -> bool:
    return now_ns - ts_ns < RECENT_S * NS_PER_S

"""Find what is wrong with the system and its data and say what to do, in the user's words.

The broker's side is in `doctor_broker`. Each examination returns findings: what was looked at, how it stands, and the
cure. Nothing here sends an order.
"""

from __future__ import annotations

import json
from typing import Literal

from copilot_quant.desk import Desk
from copilot_quant.doctor_data import DataFacts, data_finding
from copilot_quant.doctor_orders import data_link_finding, link_findings, order_findings
from copilot_quant.doctor_redis import redis_findings
from copilot_quant.findings import Finding
from shared.bus.addresses import Kind
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput
from shared.messages import decode_fields
from shared.messages.base import Message
from shared.messages.codec import decode_body
from shared.messages.control import LinkState
from shared.messages.market import ContractInfo, DataStatus

STATUS_ENTRIES = 5000
EXPECTED_SERVICES = ("gateway", "risk", "marketdata", "strategy", "monitoring")


async def examine_bus(desk: Desk, redis_kind: Kind = Kind.SINGLE) -> list[Finding]:
    """Look at Redis, the services' heartbeats, leadership, halt and dead letters."""
    findings = redis_findings(await desk.bus.server_facts(), redis_kind)
    heartbeats = await desk.heartbeats()
    alive = {row["service"] for row in heartbeats}
    findings += [
        Finding(service, "bad", "no process of it is alive", "start it; its log says why it ended")
        for service in EXPECTED_SERVICES
        if service not in alive
    ]
    for row in heartbeats:
        reasons = "; ".join(row["failed"].values())
        state: Literal["ok", "warn"] = "ok" if row["ready"] else "warn"
        findings.append(Finding(str(row["instance"]), state, reasons or "ready"))
        if row.get("data_link") in (LinkState.DOWN, LinkState.DEGRADED):
            findings.append(data_link_finding(row))
    if "gateway" in alive and not any(row.get("role") == "leader" for row in heartbeats):
        findings.append(Finding("leadership", "bad", "no gateway leads", "look at the gateways' reasons above"))
    halt = await desk.halt_status()
    if halt.get("stage") != "none":
        text = f"trading is halted: {halt.get('reason') or 'its state is missing'}"
        findings.append(Finding("halt", "warn", text, "`cq resume --reason …` when the cause is gone"))
    dead = await desk.bus.stream_length(desk.keys.dead_letter)
    if dead:
        findings.append(Finding("dead-letter", "warn", f"{dead} entries could not be read", "`cq tail dead-letter`"))
    return findings


async def examine_data(desk: Desk) -> list[Finding]:
    """Say for each contract that strategies want which data flow, how old the last price is, and the cure."""
    units = [json.loads(text) for text in (await desk.bus.hash_get_all(desk.keys.strategies)).values()]
    wanted = sorted({int(con_id) for unit in units for con_id in unit.get("contracts", [])})
    if not wanted:
        return []
    infos = await desk.bus.hash_get_all(desk.keys.contracts)
    statuses = await _last_data_statuses(desk)
    broken = sorted({str(farm) for row in await desk.heartbeats() for farm in row.get("broken_farms", [])})
    findings = []
    for con_id in wanted:
        body = infos.get(str(con_id))
        info = decode_body(ContractInfo.TYPE, body) if body is not None else None
        facts = DataFacts(
            con_id,
            await desk.last_price(con_id),
            info if isinstance(info, ContractInfo) else None,
            statuses.get(con_id),
        )
        findings.append(data_finding(facts, SYSTEM_CLOCK.wall_ns(), broken))
    return findings


async def examine_flow(desk: Desk) -> list[Finding]:
    """Say what the broker's link complained of and why orders were refused lately."""
    now_ns = SYSTEM_CLOCK.wall_ns()
    told = await _last_messages(desk, desk.keys.broker_status)
    findings = link_findings(told, now_ns, await desk.heartbeats())
    refused = [*await _last_messages(desk, desk.keys.decisions), *await _last_messages(desk, desk.keys.orders)]
    return findings + order_findings(refused, now_ns)


async def _last_messages(desk: Desk, stream: str) -> list[Message]:
    """Return what can be read of the end of a stream, oldest first."""
    found: list[Message] = []
    for entry in await desk.bus.read_last(stream, STATUS_ENTRIES):
        try:
            found.append(decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message)
        except BadInput:
            continue  # whoever consumes the stream dead-letters it
    return found


async def _last_data_statuses(desk: Desk) -> dict[int, DataStatus]:
    """Return the broker's last word on each contract's data."""
    told = await _last_messages(desk, desk.keys.broker_status)
    return {one.con_id: one for one in told if isinstance(one, DataStatus)}

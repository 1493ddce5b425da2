"""Find what is wrong and say what to do, in the user's words.

Each examination returns findings: what was looked at, how it stands, and the cure. Nothing here sends an order.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Literal

from copilot_quant.desk import Desk
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.logs import mask_account
from shared.settings import BrokerSettings, check_account
from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.requests_account import StartApi
from shared.tws.responses_account import ErrorMessage, ManagedAccounts, NextValidId

CONNECT_LIMIT_S = 5.0
STALE_AFTER_S = 60.0
LOOKING_CLIENT_ID = 28_513
"""A client id that no gateway uses: looking must not push anybody out."""
CLIENT_ID_IN_USE = 326
EXPECTED_SERVICES = ("gateway", "risk", "marketdata", "strategy", "monitoring")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warn", "bad"]
    text: str
    cure: str = ""


async def examine_broker(host: str, port: int, settings: BrokerSettings) -> list[Finding]:
    """Connect to a TWS or IB Gateway, complete the handshake, read its accounts, and leave."""
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as e:
        cure = (
            "start TWS or IB Gateway and log in; File → Global Configuration → API → Settings: tick 'Enable ActiveX "
            f"and Socket Clients'; the port there must be {port}; wait half a minute after the login"
        )
        return [Finding("connection", "bad", f"nothing answers at {where} ({str(e) or 'timed out'})", cure)]
    try:
        return await _examine_session(reader, writer, where, settings)
    finally:
        writer.close()


@dataclass(slots=True)
class _Greeting:
    """What the other side said of itself: server version, accounts, and an error that ends the session (326 …)."""

    version: int = 0
    accounts: tuple[str, ...] = ()
    is_ready: bool = False
    refusal: str = ""


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Greeting:
    connection = ClientConnection()
    greeting = _Greeting()
    while not (greeting.accounts and greeting.is_ready):
        writer.write(connection.data_to_send())
        data = await reader.read(65536)
        if not data:
            raise ConnectionError(greeting.refusal or "closed by the other side")
        for event in connection.receive_data(data):
            if isinstance(event, ServerHello):
                greeting.version = event.version
                connection.send(StartApi(LOOKING_CLIENT_ID))
            elif isinstance(event, ManagedAccounts):
                greeting.accounts = tuple(one for one in event.accounts.split(",") if one)
            elif isinstance(event, NextValidId):
                greeting.is_ready = True
            elif isinstance(event, ErrorMessage) and event.code == CLIENT_ID_IN_USE:
                greeting.refusal = f"{event.code}: {event.text}"
    return greeting


async def _examine_session(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str, settings: BrokerSettings
) -> list[Finding]:
    findings = [Finding("connection", "ok", f"{where} accepts connections")]
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            greeting = await _greet(reader, writer)
    except (TimeoutError, OSError) as e:
        cure = (
            "log in; answer any dialog on its screen; tick 'Enable ActiveX and Socket Clients'; add this machine to "
            "the trusted IPs"
        )
        text = f"it accepts, but its API does not answer ({str(e) or 'timed out'})"
        return [*findings, Finding("API", "bad", text, cure)]
    findings.append(Finding("API", "ok", f"server version {greeting.version}"))
    accounts = greeting.accounts
    shown = ", ".join(mask_account(one) for one in accounts)
    if settings.account not in accounts:
        cure = f"log in with the login of that account, or set IB_{settings.mode.upper()}_ACCOUNT to one of these"
        findings.append(Finding("account", "bad", f"{mask_account(settings.account)} is not among {shown}", cure))
    else:
        findings.append(Finding("account", "ok", shown))
    for account in accounts:
        complaint = check_account(settings.mode, account)
        if complaint:
            findings.append(
                Finding("mode", "bad", complaint, "connect to the port of the other mode, or change CQ_MODE")
            )
    return findings


async def examine_bus(desk: Desk) -> list[Finding]:
    """Look at Redis, the services' heartbeats, leadership, halt and dead letters."""
    await desk.bus.incarnation()
    findings = [Finding("Redis", "ok", "answers")]
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
    """Say for each wanted contract which data flow, how old the last price is, and the cure where none does."""
    findings = []
    units = [json.loads(text) for text in (await desk.bus.hash_get_all(desk.keys.strategies)).values()]
    wanted = sorted({int(con_id) for unit in units for con_id in unit.get("contracts", [])})
    now_ns = SYSTEM_CLOCK.wall_ns()
    for con_id in wanted:
        last = await desk.last_price(con_id)
        name = last.get("symbol") or f"#{con_id}"
        quality = last.get("quality", "none")
        age_s = (now_ns - int(last["ts_ns"])) / NS_PER_S if last.get("ts_ns") else None
        if age_s is None:
            cure = "check the market data subscription of this login (Client Portal → Settings → Market Data)"
            findings.append(Finding(f"data {name}", "bad", "no price has come yet", cure))
        elif quality.startswith("DELAYED"):
            cure = "subscribe to live data for this market, or accept delayed prices"
            findings.append(Finding(f"data {name}", "warn", f"DATA_DELAYED, last price {age_s:.0f} s ago", cure))
        else:
            state: Literal["ok", "warn"] = "ok" if age_s < STALE_AFTER_S else "warn"
            cure = "" if state == "ok" else "is this market open? `cq status` shows the broker's link"
            findings.append(Finding(f"data {name}", state, f"{quality}, last price {age_s:.0f} s ago", cure))
    return findings

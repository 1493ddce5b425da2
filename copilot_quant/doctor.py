"""Find what is wrong and say what to do, in the user's words.

Each examination returns findings: what was looked at, how it stands, and the cure. Nothing here sends an order.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from copilot_quant.desk import Desk
from copilot_quant.doctor_data import DataFacts, data_finding
from copilot_quant.doctor_redis import redis_findings
from copilot_quant.findings import Finding
from shared.bus.addresses import Kind
from shared.clock import SYSTEM_CLOCK
from shared.errors import BadInput
from shared.logs import mask_account
from shared.messages import decode_fields
from shared.messages.codec import decode_body
from shared.messages.market import ContractInfo, DataStatus
from shared.settings import BrokerSettings, check_account
from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.requests_account import StartApi
from shared.tws.responses_account import ErrorMessage, ManagedAccounts, NextValidId

CONNECT_LIMIT_S = 5.0
STATUS_ENTRIES = 5000
LOOKING_CLIENT_ID = 28_513
"""A client id that no gateway uses: looking must not push anybody out."""
CLIENT_ID_IN_USE = 326
LOST_CODES, BACK_CODES, FARM_CODES = frozenset({1100, 2110}), frozenset({1101, 1102}), frozenset({2103, 2105, 2157})
NOTICES_S = 0.5
ADVISOR = re.compile(r"D?F\d+")
EXPECTED_SERVICES = ("gateway", "risk", "marketdata", "strategy", "monitoring")


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
    """What the other side said of itself: server version, accounts, and codes about itself (326, 1100, 2103 …)."""

    version: int = 0
    accounts: tuple[str, ...] = ()
    is_ready: bool = False
    notices: dict[int, str] = field(default_factory=dict)

    def take(self, event: object, connection: ClientConnection) -> None:
        """Take one message of the session's beginning."""
        if isinstance(event, ServerHello):
            self.version = event.version
            connection.send(StartApi(LOOKING_CLIENT_ID))
        elif isinstance(event, ManagedAccounts):
            self.accounts = tuple(one for one in event.accounts.split(",") if one)
        elif isinstance(event, NextValidId):
            self.is_ready = True
        elif isinstance(event, ErrorMessage):
            self.notices[event.code] = event.text


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: _Greeting) -> None:
    """Complete the handshake, then listen a moment to what TWS says of its own connections."""
    connection = ClientConnection()
    while not (greeting.accounts and greeting.is_ready):
        writer.write(connection.data_to_send())
        data = await reader.read(65536)
        if not data:
            raise ConnectionError("closed by the other side")
        for event in connection.receive_data(data):
            greeting.take(event, connection)
    try:
        async with asyncio.timeout(NOTICES_S):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    greeting.take(event, connection)
    except (TimeoutError, OSError):
        pass  # that was all


def _why_no_api(greeting: _Greeting, error: Exception) -> Finding:
    """Say why a port that accepts has no API for us; causes that look alike are told apart by how far it came."""
    if CLIENT_ID_IN_USE in greeting.notices:
        text = f"{CLIENT_ID_IN_USE}: {greeting.notices[CLIENT_ID_IN_USE]}"
        return Finding("API", "bad", text, f"another `cq connect` has client id {LOOKING_CLIENT_ID}: wait for its end")
    if isinstance(error, TimeoutError):
        cure = (
            "finish the login; answer every dialog on its screen (also 'accept incoming connection'); else restart it"
        )
        return Finding("API", "bad", "it accepts, but its API does not answer (timed out)", cure)
    if not greeting.version:
        cure = (
            "API → Settings: add this machine to the trusted IPs, or untick 'Allow connections from localhost only'; "
            "tick 'Enable ActiveX and Socket Clients'; is this the API's port at all?"
        )
        return Finding("API", "bad", f"it closes the connection before a word ({error})", cure)
    cure = "answer the dialogs on its screen, add this machine to the trusted IPs; 32 clients are the most it takes"
    return Finding("API", "bad", f"it closes the connection after the greeting ({error})", cure)


def _connectivity(notices: Mapping[int, str]) -> list[Finding]:
    """Return what TWS itself misses: its connection to IB, or data farms."""
    found = []
    if (lost := notices.keys() & LOST_CODES) and not notices.keys() & BACK_CODES:
        code = min(lost)
        cure = "IB's side or this machine's network: TWS reconnects by itself; nights and weekends have resets"
        found.append(Finding("IB servers", "bad", f"{code}: {notices[code]}", cure))
    farms = sorted(notices.keys() & FARM_CODES)
    cure = "IB's side: it comes back by itself"
    return [*found, *(Finding("data farm", "warn", f"{code}: {notices[code]}", cure) for code in farms)]


async def _examine_session(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str, settings: BrokerSettings
) -> list[Finding]:
    findings = [Finding("connection", "ok", f"{where} accepts connections")]
    greeting = _Greeting()
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            await _greet(reader, writer, greeting)
    except (TimeoutError, OSError) as e:
        return [*findings, _why_no_api(greeting, e)]
    findings.append(Finding("API", "ok", f"server version {greeting.version}"))
    findings += _connectivity(greeting.notices)
    accounts = greeting.accounts
    advisors = [one for one in accounts if ADVISOR.fullmatch(one)]
    if advisors:
        text = f"the login manages advisor account {mask_account(advisors[0])}: this system trades one plain account"
        findings.append(Finding("login", "bad", text, "log in with the login of that one account"))
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


async def _last_data_statuses(desk: Desk) -> dict[int, DataStatus]:
    """Return the broker's last word on each contract's data."""
    found: dict[int, DataStatus] = {}
    for entry in await desk.bus.read_last(desk.keys.broker_status, STATUS_ENTRIES):
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput:
            continue  # whoever consumes the stream dead-letters it
        if isinstance(message, DataStatus):
            found[message.con_id] = message
    return found

"""Look at a TWS or IB Gateway through its API, and say what is wrong and what to click.

Read-only: handshake, accounts, positions, and the prices of one contract. Causes that look alike from outside (a
dialog, an untrusted address, a client id in use) are told apart by how far the session came.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from copilot_quant.doctor_data import CURES, FLOWING
from copilot_quant.findings import Finding
from shared.logs import mask_account
from shared.messages.market import DataQuality
from shared.settings import BrokerSettings, check_account
from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.contract import TwsContract
from shared.tws.layout import Request
from shared.tws.requests_account import CancelPositions, ReqPositions, StartApi
from shared.tws.requests_data import CancelMktData, ReqMarketDataType, ReqMktData
from shared.tws.responses_account import ErrorMessage, ManagedAccounts, NextValidId, Position, PositionEnd
from shared.tws.responses_market import MarketDataType, TickPrice

CONNECT_LIMIT_S = 5.0
LOOKING_CLIENT_ID = 28_513
"""A client id that no gateway uses: looking must not push anybody out."""
CLIENT_ID_IN_USE = 326
LOST_CODES, BACK_CODES, FARM_CODES = frozenset({1100, 2110}), frozenset({1101, 1102}), frozenset({2103, 2105, 2157})
NOTICES_S = 0.5
PROBE_LIMIT_S = 1.0
USUAL_PORTS: Mapping[int, str] = {
    7497: "TWS, paper",
    7496: "TWS, live",
    4002: "IB Gateway, paper",
    4001: "IB Gateway, live",
}
ANSWER_LIMIT_S = 4.0
DATA_REQUEST = 7001
QUALITIES = {quality.value: quality for quality in DataQuality if quality}
SAMPLE = TwsContract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
ADVISOR = re.compile(r"D?F\d+")


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
        nothing = Finding("connection", "bad", f"nothing answers at {where} ({str(e) or 'timed out'})", cure)
        return [nothing, *await _elsewhere(host, port, settings)]
    try:
        return await _examine_session(_Session(reader, writer), where, settings)
    finally:
        writer.close()


async def _elsewhere(host: str, port: int, settings: BrokerSettings) -> list[Finding]:
    """Say at which of the usual ports of TWS and IB Gateway something answers instead."""
    found = []
    for other, name in USUAL_PORTS.items():
        if other == port:
            continue
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                _, writer = await asyncio.open_connection(host, other)
        except (OSError, TimeoutError):
            continue
        writer.close()
        fits = name.endswith(settings.mode.value)
        cure = (
            f"set IB_{settings.mode.upper()}_PORT={other}"
            if fits
            else f"that is not {settings.mode}: log in to the other"
        )
        found.append(Finding("other port", "warn", f"something answers at {other}, the usual port of {name}", cure))
    return found


@dataclass(slots=True)
class _Seen:
    """What the other side said: server version, accounts, codes about itself (326, 1100, 2103 …), positions, data."""

    version: int = 0
    accounts: tuple[str, ...] = ()
    is_ready: bool = False
    notices: dict[int, str] = field(default_factory=dict)
    positions: list[Position] = field(default_factory=list)
    has_all_positions: bool = False
    data_type: int = 0
    data_errors: dict[int, str] = field(default_factory=dict)
    has_price: bool = False

    def take(self, event: object) -> None:
        """Take one message."""
        if isinstance(event, ServerHello):
            self.version = event.version
        elif isinstance(event, ManagedAccounts):
            self.accounts = tuple(one for one in event.accounts.split(",") if one)
        elif isinstance(event, NextValidId):
            self.is_ready = True
        elif isinstance(event, ErrorMessage):
            (self.data_errors if event.id == DATA_REQUEST else self.notices)[event.code] = event.text
        elif isinstance(event, Position):
            self.positions.append(event)
        elif isinstance(event, PositionEnd):
            self.has_all_positions = True
        elif isinstance(event, MarketDataType):
            self.data_type = event.market_data_type
        elif isinstance(event, TickPrice):
            self.has_price = self.has_price or event.price > 0


class _Session:
    """One connection, read until something was said or the time is up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connection = ClientConnection()
        self.seen = _Seen()

    async def listen(self, until: Callable[[_Seen], bool], limit_s: float, *requests: Request) -> None:
        """Send requests and read until `until` holds.

        Raises:
            TimeoutError: it does not within `limit_s`.
            OSError: the other side closed the connection.
        """
        for request in requests:
            self._connection.send(request)
        async with asyncio.timeout(limit_s):
            while not until(self.seen):
                self._writer.write(self._connection.data_to_send())
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionError("closed by the other side")
                for event in self._connection.receive_data(data):
                    self.seen.take(event)
                    if isinstance(event, ServerHello):
                        self._connection.send(StartApi(LOOKING_CLIENT_ID))
            self._writer.write(self._connection.data_to_send())

    async def listen_a_while(self, until: Callable[[_Seen], bool], limit_s: float, *requests: Request) -> None:
        """Do the same; that nothing was said, or no more, is an answer too."""
        try:
            await self.listen(until, limit_s, *requests)
        except (TimeoutError, OSError):
            pass  # what was seen says it


def _why_no_api(greeting: _Seen, error: Exception) -> Finding:
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


async def _examine_session(session: _Session, where: str, settings: BrokerSettings) -> list[Finding]:
    findings = [Finding("connection", "ok", f"{where} accepts connections")]
    greeting = session.seen
    try:
        await session.listen(lambda seen: bool(seen.accounts and seen.is_ready), CONNECT_LIMIT_S)
    except (TimeoutError, OSError) as e:
        return [*findings, _why_no_api(greeting, e)]
    await session.listen_a_while(lambda _: False, NOTICES_S)  # farms and lost connections come unasked
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
    if settings.account in accounts:
        findings.append(await _positions(session, settings.account))
        findings.append(await _data(session, settings.account))
    return findings


async def _positions(session: _Session, account: str) -> Finding:
    """Say what the account holds."""
    await session.listen_a_while(lambda seen: seen.has_all_positions, ANSWER_LIMIT_S, ReqPositions())
    if not session.seen.has_all_positions:
        return Finding("positions", "warn", "the list did not come", "`cq connect` again; restart TWS if it stays away")
    ours = [one for one in session.seen.positions if one.account == account and one.position]
    others = sum(one.account != account and bool(one.position) for one in session.seen.positions)
    text = ", ".join(f"{one.position} {one.contract.local_symbol or one.contract.symbol}" for one in ours) or "none"
    more = f" ({others} in other accounts, which are left alone)" if others else ""
    return Finding("positions", "ok", text + more)


async def _data(session: _Session, account: str) -> Finding:
    """Say which data flow for one contract: one that is held, else one that every login may see."""
    held = next((one.contract for one in session.seen.positions if one.account == account and one.position), None)
    contract = SAMPLE
    if held is not None:
        contract = TwsContract(con_id=held.con_id, exchange="SMART" if held.sec_type == "STK" else held.exchange)
    name = f"data {(held or SAMPLE).symbol}"
    await session.listen_a_while(
        lambda seen: seen.has_price or bool(seen.data_errors.keys() - FLOWING),
        ANSWER_LIMIT_S,
        CancelPositions(),
        ReqMarketDataType(int(DataQuality.DELAYED_FROZEN)),
        ReqMktData(DATA_REQUEST, contract),
    )
    await session.listen_a_while(lambda _: True, ANSWER_LIMIT_S, CancelMktData(DATA_REQUEST))
    seen = session.seen
    refused = sorted(seen.data_errors.keys() - FLOWING)
    if refused:
        code = refused[0]
        cure = CURES.get(code, "look the code up in TWS' log")
        return Finding(name, "warn", f"{code}: {seen.data_errors[code]}", cure)
    quality = QUALITIES.get(seen.data_type, DataQuality.LIVE)  # not said: live data, which need no fallback
    if not seen.has_price:
        return Finding(name, "warn", f"{quality.name}: no price came", "is its market open? does TWS show a price?")
    if quality in (DataQuality.DELAYED, DataQuality.DELAYED_FROZEN):
        return Finding(name, "warn", "prices come delayed", CURES[10167])
    return Finding(name, "ok", f"{quality.name}: prices come")

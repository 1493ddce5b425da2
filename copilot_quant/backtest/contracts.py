"""Know what is traded: the contracts of a backtest as the broker would define them, and when their markets are open.

A contract that the simulator lists keeps its conId, tick and exchange; any other has to be a stock, and gets a tick of
a cent. US stocks trade in the sessions of the exchange's calendar over the days of the data, half-days and holidays
included; what has no calendar here trades always.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.simulator.core.contracts import Instrument, Universe
from services.simulator.core.hours import Hours, TradingSession
from services.simulator.core.universe import PENNY, RULES, default_universe
from shared.clock import NS_PER_S
from shared.contracts import ContractName, parse_contract
from shared.errors import BadInput, ConfigError
from shared.messages.market import ContractInfo, PriceIncrement

CALENDAR = "XNYS"
NEW_YORK = ZoneInfo("America/New_York")
PRE_MARKET_HOUR, POST_MARKET_HOURS = 4, 4
MARGIN_DAYS = 7
"""Sessions are known so long before and beyond the data: an order of the last evening waits for the next session."""


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract: as people write it, as the exchange lists it, as strategies and risk see it."""

    name: str
    instrument: Instrument
    info: ContractInfo


def exchange_hours(first: date, last: date) -> Hours:
    """Return the sessions of US stocks around some days.

    Raises:
        ConfigError: the calendar library is not installed.
    """
    return Hours({CALENDAR: list(_sessions(first, last))})


@lru_cache(maxsize=8)
def _sessions(first: date, last: date) -> tuple[TradingSession, ...]:
    try:
        import exchange_calendars
    except ImportError as e:
        raise ConfigError("a backtest follows the exchange's calendar: pip install 'copilot-quant[backtest]'") from e
    margin = timedelta(days=MARGIN_DAYS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own about the pandas it meets
        calendar = exchange_calendars.get_calendar(CALENDAR, start=str(first - margin), end=str(last + margin))
        opens, closes = calendar.schedule["open"], calendar.schedule["close"]
    return tuple(_session(int(a.value), int(b.value)) for a, b in zip(opens, closes, strict=True))


def _session(open_ns: int, close_ns: int) -> TradingSession:
    opens = datetime.fromtimestamp(open_ns // NS_PER_S, NEW_YORK)
    first = opens.replace(hour=PRE_MARKET_HOUR, minute=0, second=0)
    last_ns = close_ns + POST_MARKET_HOURS * 3600 * NS_PER_S
    return TradingSession(open_ns, close_ns, int(first.timestamp()) * NS_PER_S, last_ns)


def day_of(at_ns: int) -> date:
    """Return the New York date of a moment."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, NEW_YORK).date()


def midnight_ns(day: date) -> int:
    """Return when a date begins in New York."""
    return int(datetime.combine(day, datetime.min.time(), NEW_YORK).astimezone(UTC).timestamp()) * NS_PER_S


def contracts_of(
    names: Sequence[str], hours: Hours, first_prices: Mapping[str, float], infos: Mapping[str, ContractInfo]
) -> dict[str, Contract]:
    """Return the contracts of some names, in their order.

    Args:
        names: in the contract grammar.
        hours: of their markets.
        first_prices: name → the price that its data begin with.
        infos: what the broker said of a name when the data were recorded; wins over what is listed here.

    Raises:
        UnknownContract: a name that cannot be read.
        BadInput: it is neither a stock nor listed by the simulator.
    """
    sessions = hours.calendars.get(CALENDAR, [])
    today = day_of(sessions[-1].close_ns) if sessions else date(2026, 1, 1)
    listed = _listed(today)
    found: dict[str, Contract] = {}
    for text in names:
        wanted, info = parse_contract(text), infos.get(text)
        instrument = replace(_instrument(wanted, listed, info), price=first_prices[text])
        found[text] = Contract(text, instrument, info or _info(str(wanted), instrument, hours))
    return found


@lru_cache(maxsize=4)
def _listed(today: date) -> Universe:
    """Return what the simulator lists; nobody changes it here."""
    return default_universe(today)


def universe_of(contracts: Mapping[str, Contract]) -> Universe:
    """Return an exchange's listings of just these contracts."""
    return Universe([each.instrument for each in contracts.values()], RULES)


def _instrument(name: ContractName, listed: Universe, info: ContractInfo | None) -> Instrument:
    con_id = info.con_id if info is not None else name.con_id or 0
    known = listed.by_id(con_id) if con_id else listed.by_symbol(name.symbol, name.sec_type, name.currency)
    if known is not None:
        return known
    symbol, kind, currency = name.symbol, name.sec_type, name.currency
    if info is not None:
        symbol, kind, currency = info.symbol, info.sec_type, info.currency
    if kind != "STK":
        raise BadInput(f"{name}: the simulator lists no such contract, and only stocks can do without")
    return Instrument(
        con_id=con_id or zlib.crc32(f"{symbol}:{currency}".encode()) | 1 << 30, symbol=symbol, sec_type="STK",
        currency=currency, primary_exchange="NYSE", exchanges=("SMART", "NYSE"), long_name=symbol, rule=PENNY,
        price=100.0,
    )  # fmt: skip


def _info(name: str, instrument: Instrument, hours: Hours) -> ContractInfo:
    increments = tuple(PriceIncrement(low_edge=edge, increment=step) for edge, step in instrument.rule.increments)
    return ContractInfo(
        con_id=instrument.con_id, name=name, symbol=instrument.symbol, sec_type=instrument.sec_type,
        exchange=instrument.route, primary_exchange=instrument.primary_exchange, currency=instrument.currency,
        local_symbol=instrument.local_symbol, trading_class=instrument.trading_class, expiry=instrument.expiry,
        right=instrument.right, multiplier=instrument.multiplier, min_tick=instrument.min_tick, increments=increments,
        long_name=instrument.long_name, time_zone=instrument.time_zone,
        trading_hours=_hours_text(instrument, hours, extended=True),
        liquid_hours=_hours_text(instrument, hours, extended=False),
    )  # fmt: skip


def _hours_text(instrument: Instrument, hours: Hours, *, extended: bool) -> str:
    """Return all known sessions as IB writes them, closed weekdays too; empty where the market is always open."""
    sessions = hours.calendars.get(instrument.calendar, [])
    zone = ZoneInfo(instrument.time_zone)
    spans: dict[date, str] = {}
    for session in sessions:
        opens, closes = (
            datetime.fromtimestamp(at_ns // NS_PER_S, zone)
            for at_ns in session.bounds(extended=extended and instrument.sec_type == "STK")
        )
        spans[closes.date()] = f"{opens:%Y%m%d:%H%M}-{closes:%Y%m%d:%H%M}"
    parts = []
    day, last = min(spans, default=date.max), max(spans, default=date.min)
    while day <= last:
        if day in spans or day.weekday() < 5:
            parts.append(spans.get(day, f"{day:%Y%m%d}:CLOSED"))
        day += timedelta(days=1)
    return ";".join(parts)

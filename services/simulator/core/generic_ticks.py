"""Know TWS' generic ticks: which may be asked for, and what they say of an instrument here.

The values are made up, but hold together: an instrument's historical and implied volatility are near its own, its
yearly high is above its monthly one, and the same instrument has the same ones on every run.

Known limits: no auction ticks (225); asked for, they are legal and silent, as at TWS outside of auctions.

Source: ib-facts A.11, E.3; the list of legal ticks as TWS prints it in error 321.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.simulator.core.chance import hash_unit
from services.simulator.core.contracts import Instrument
from services.simulator.core.market import NS_PER_S, Prices
from shared.tws import responses as rs

LEGAL: dict[int, str] = {
    100: "Option Volume", 101: "Option Open Interest", 104: "Historical Volatility", 105: "Average Opt Volume",
    106: "Option Implied Volatility", 165: "Miscellaneous Stats", 221: "Mark Price", 225: "Auction", 232: "Mark Price",
    233: "RTVolume", 236: "inventory", 258: "Fundamentals", 292: "Wide_news", 293: "TradeCount", 294: "TradeRate",
    295: "VolumeRate", 318: "LastRTHTrade", 375: "RTTrdVolume", 411: "rthistvol", 456: "IBDividends",
    460: "Bond Factor Multiplier", 576: "EtfNavBidAsk", 577: "EtfNavLast", 586: "IPOHLMPRC", 587: "Pl Price Delayed",
    588: "Futures Open Interest", 595: "Short-Term Volume X Mins", 619: "Slow Mark Price",
}  # fmt: skip
RT_VOLUME, RT_TRADE_VOLUME, MARK_PRICE, SLOW_MARK_PRICE, TRADE_COUNT, NEWS = 233, 375, 232, 619, 293, 292
_SIZES = (27, 28, 29, 30, 86, 87, 89)
_WEEK_S = 7 * 86400
_SPANS = ((13, 15, 16), (26, 17, 18), (52, 19, 20))
"""Weeks, and the tick types of their low and high."""


def parse_generic_ticks(text: str) -> frozenset[int] | None:
    """Return the numbers of a list such as `100,233,292:BRFG,mdoff`, or None if one is not legal."""
    numbers: set[int] = set()
    for word in text.replace(" ", "").split(","):
        head = word.partition(":")[0]
        if head in ("", "mdoff"):
            continue
        if not (head.isascii() and head.isdigit() and len(head) <= 4 and int(head) in LEGAL):
            return None
        numbers.add(int(head))
    return frozenset(numbers)


def legal_text(text: str, sec_type: str) -> str:
    """Return what TWS says about a list that it does not take."""
    legal = ",".join(f"{number}({name})" for number, name in LEGAL.items())
    return (
        f"Error validating request.-'bQ' : cause - Incorrect generic tick list of {text}.  "
        f"Legal ones for ({sec_type}) are: {legal}"
    )


def standing_ticks(
    req_id: int, instrument: Instrument, wanted: frozenset[int], prices: Prices, now_ns: int
) -> list[rs.Response]:
    """Return the generic ticks that do not change with every trade, for the beginning of a subscription."""
    unit = hash_unit(instrument.con_id, 1)
    made: list[rs.Response] = []
    for number, sec_type, kind, value in _standing(instrument, unit):
        if number in wanted and sec_type in ("", instrument.sec_type):
            is_size = kind in _SIZES
            made.append(rs.TickSize(req_id, kind, value) if is_size else rs.TickGeneric(req_id, kind, value))
    if 165 in wanted:
        made += _year(req_id, instrument, prices, now_ns)
    if 258 in wanted and instrument.stock_type == "COMMON":
        earned = instrument.price * (0.02 + 0.04 * unit)
        ratios = {"NPRICE": instrument.price, "TTMEPSXCLX": earned, "PEEXCLXOR": instrument.price / earned,
                  "BETA": 0.6 + unit}  # fmt: skip
        text = ";".join(f"{name}={value:.5f}" for name, value in ratios.items())
        made.append(rs.TickString(req_id, 47, f"{text};"))
    if 456 in wanted and instrument.sec_type == "STK":
        yearly = round(instrument.price * 0.01 * unit, 2)
        made.append(rs.TickString(req_id, 59, f"{yearly},{yearly},20270215,{round(yearly / 4, 2)}"))
    return made


def average_option_volume(instrument: Instrument) -> int:
    """Return how many options on a stock trade on an average day."""
    return int(2e4 + 3e4 * hash_unit(instrument.con_id, 1))


def _standing(instrument: Instrument, unit: float) -> Iterator[tuple[int, str, int, float]]:
    """Yield generic tick, security type if only that has it, tick type, value."""
    yield 100, "STK", 29, float(int(1000 + 9000 * unit) * 7)
    yield 100, "STK", 30, float(int(1000 + 9000 * unit) * 5)
    yield 101, "STK", 27, float(int(9e4 + 9e5 * unit))
    yield 101, "STK", 28, float(int(8e4 + 8e5 * unit))
    yield 104, "", 23, round(instrument.volatility * (0.9 + 0.2 * unit), 6)
    yield 105, "STK", 87, float(average_option_volume(instrument))
    yield 106, "", 24, round(instrument.volatility, 6)
    yield 236, "STK", 46, 3.0
    yield 236, "STK", 89, float(int(1e6 + 9e6 * unit))
    yield 411, "", 58, round(instrument.volatility * (0.8 + 0.4 * unit), 6)
    yield 588, "FUT", 86, float(int(1e5 + 2e6 * unit))


def _year(req_id: int, instrument: Instrument, prices: Prices, now_ns: int) -> list[rs.Response]:
    tick = float(instrument.min_tick)
    weekly = [prices.mid(instrument, now_ns - week * _WEEK_S * NS_PER_S) for week in range(53)]
    made: list[rs.Response] = []
    for weeks, low, high in _SPANS:
        for kind, price in ((low, min(weekly[: weeks + 1])), (high, max(weekly[: weeks + 1]))):
            made.append(rs.TickPrice(req_id, kind, round(round(price / tick) * tick, 6)))
    made.append(rs.TickSize(req_id, 21, float(max(1, instrument.size) * 2000)))
    return made

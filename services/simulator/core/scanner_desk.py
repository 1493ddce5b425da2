"""Serve market scans over the listed contracts, and TWS' display groups: small, and the same on every run.

A scan ranks the listed contracts of its instrument and location, within its filters, by what its code names, and is
sent again every 30 seconds, as TWS does. A filter or code that is not known here is refused, never passed over.

Known limits: size and market value are made up, and the same all day; ratings filter nothing but bonds.

Source: ib-facts B.5 (20, 67, 68), B.7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from services.simulator.core.contracts import Instrument
from services.simulator.core.floor import Floor
from services.simulator.core.generic_ticks import average_option_volume
from services.simulator.core.market import NS_PER_S
from services.simulator.core.sessions import Session
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.fields import TagValue

PERIOD_NS = 30 * NS_PER_S
MAX_SCANS = 10
MAX_ROWS = 50
_DAY_NS = 86_400 * NS_PER_S
TYPES = {"STK": "STK", "ETF.EQ.US": "STK", "FUT.US": "FUT", "IND.US": "IND", "BOND": "BOND"}
_BY_CHANGE, _BY_FALL, _BY_SIZE, _BY_VOLATILITY, _BY_CALM, _BY_VALUE, _BY_YIELD = range(7)
CODES = {
    "TOP_PERC_GAIN": _BY_CHANGE, "TOP_PERC_LOSE": _BY_FALL, "MOST_ACTIVE": _BY_SIZE, "HOT_BY_VOLUME": _BY_SIZE,
    "HOT_BY_PRICE": _BY_CHANGE, "TOP_TRADE_COUNT": _BY_SIZE, "HIGH_VS_13W_HL": _BY_CHANGE, "LOW_VS_13W_HL": _BY_FALL,
    "HIGH_VS_26W_HL": _BY_CHANGE, "LOW_VS_26W_HL": _BY_FALL, "HIGH_VS_52W_HL": _BY_CHANGE, "LOW_VS_52W_HL": _BY_FALL,
    "TOP_OPEN_PERC_GAIN": _BY_CHANGE, "TOP_OPEN_PERC_LOSE": _BY_FALL, "TOP_TRADE_RATE": _BY_SIZE,
    "TOP_VOLUME_RATE": _BY_SIZE, "MOST_ACTIVE_USD": _BY_VALUE, "TOP_PRICE_RANGE": _BY_VOLATILITY,
    "HOT_BY_PRICE_RANGE": _BY_VOLATILITY, "HIGH_OPT_IMP_VOLAT": _BY_VOLATILITY, "LOW_OPT_IMP_VOLAT": _BY_CALM,
    "OPT_VOLUME_MOST_ACTIVE": _BY_SIZE, "HIGH_OPT_VOLUME_PUT_CALL_RATIO": _BY_FALL, "FAR_PRICE": _BY_VALUE,
    "BOND_CUSIP_AZ": _BY_VALUE, "BOND_CUSIP_ZA": _BY_VALUE, "HIGH_COUPON_RATE": _BY_YIELD,
}  # fmt: skip
_LOCATIONS = {"STK.US": "", "STK.US.MAJOR": "", "STK.NASDAQ": "NASDAQ", "STK.NYSE": "NYSE", "STK.ARCA": "ARCA"}
"""The primary exchange that a location means; other locations mean the whole of their instrument."""
_FILTERS = frozenset(
    {
        "priceAbove", "priceBelow", "volumeAbove", "marketCapAbove1e6", "marketCapBelow1e6", "changePercAbove",
        "changePercBelow",
    }
)  # fmt: skip
"""Filters by name (scannerSubscriptionFilterOptions)."""
_STOCK_TYPES = {"": "", "ALL": "", "STOCK": "COMMON", "CORP": "COMMON", "ETF": "ETF"}
GROUPS = "4|1|2|5|3|6"
PREFIX = "Historical Market Data Service error message:"


def parameters_xml() -> str:
    """Return what scans there are, in TWS' form."""
    instruments = "".join(f"<Instrument><name>{name}</name><type>{name}</type></Instrument>" for name in TYPES)
    scans = "".join(
        f"<ScanType><displayName>{code}</displayName><scanCode>{code}</scanCode></ScanType>" for code in CODES
    )
    filters = "".join(f"<AbstractField><code>{name}</code></AbstractField>" for name in sorted(_FILTERS))
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse>'
        f'<InstrumentList varName="instrumentList">{instruments}</InstrumentList>'
        f'<ScanTypeList varName="scanTypeList">{scans}</ScanTypeList>'
        f'<FilterList varName="filterList">{filters}</FilterList></ScanParameterResponse>'
    )


class ScannerDesk:
    """Scans and display groups."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._scans: dict[tuple[int, int], rq.ReqScannerSubscription] = {}
        self._groups: dict[tuple[int, int], int] = {}
        self._chosen: dict[int, str] = {}

    # -------------------------------------------------------------------------------------------- scans
    def parameters(self, session: Session, _: rq.ReqScannerParameters) -> None:
        """Send what scans there are."""
        self._floor.send(session.session, rs.ScannerParameters(parameters_xml()))

    def scan(self, session: Session, request: rq.ReqScannerSubscription) -> None:
        """Start a scan."""
        key = (session.session, request.req_id)
        if request.instrument not in TYPES or request.scan_code not in CODES:
            text = f"{PREFIX}Scanner type with code {request.scan_code} is disabled or unknown for {request.instrument}"
            self._floor.error(*key, 162, text)
        elif request.instrument == "STK" and request.location_code not in ("", *_LOCATIONS):
            self._floor.error(*key, 162, f"{PREFIX}Location {request.location_code} is unknown for STK")
        elif request.stock_type_filter not in _STOCK_TYPES or not _are_known(request.filter_options):
            self._floor.error(*key, 162, f"{PREFIX}Invalid scanner filter")
        elif key in self._scans:
            self._floor.error(*key, 322, "Error processing request.-'bS' : cause - Duplicate ticker id")
        elif len([each for each in self._scans if each[0] == session.session]) >= MAX_SCANS:
            text = f"{PREFIX}Only {MAX_SCANS} simultaneous API scanner subscriptions are allowed"
            self._floor.error(*key, 162, text)
        else:
            self._scans[key] = request
            self._send(key, request)

    def cancel_scan(self, session: Session, request: rq.CancelScannerSubscription) -> None:
        """Stop a scan; TWS confirms with 162."""
        key = (session.session, request.req_id)
        if self._scans.pop(key, None) is None:
            self._floor.error(*key, 365, f"No scanner subscription found for ticker id:{request.req_id}")
        else:
            self._floor.error(*key, 162, f"{PREFIX}API scanner subscription cancelled: {request.req_id}")

    def _send(self, key: tuple[int, int], request: rq.ReqScannerSubscription) -> None:
        if self._scans.get(key) is not request:
            return
        found = [each for each in self._floor.universe if self._fits(each, request)]
        found.sort(key=lambda each: (self._rank(each, request.scan_code), each.con_id))
        wanted = request.number_of_rows
        limit = MAX_ROWS if wanted is None or wanted < 0 else min(wanted, MAX_ROWS)
        rows = tuple(
            rs.ScannerRow(rank, each.contract(), each.trading_class or each.symbol, each.trading_class or each.symbol)
            for rank, each in enumerate(found[:limit])
        )
        self._floor.send(key[0], rs.ScannerData(key[1], rows))
        self._floor.later(PERIOD_NS, lambda: self._send(key, request))

    def _fits(self, instrument: Instrument, request: rq.ReqScannerSubscription) -> bool:
        if instrument.sec_type != TYPES[request.instrument]:
            return False
        exchange = _LOCATIONS.get(request.location_code, "")
        kind = "ETF" if request.instrument == "ETF.EQ.US" else _STOCK_TYPES[request.stock_type_filter]
        if (exchange and instrument.primary_exchange != exchange) or (kind and instrument.stock_type != kind):
            return False
        price = self._floor.mark(instrument)
        value = _market_value(instrument, price)
        in_range = _is_within(price, request.above_price, request.below_price) and _is_within(
            value, request.market_cap_above, request.market_cap_below
        )
        for option in request.filter_options:
            measured, side = self._measured(instrument, price, option.tag)
            if (measured - float(option.value)) * side < 0:
                return False
        volume, options = request.above_volume, request.average_option_volume_above
        if options and average_option_volume(instrument) < options:
            return False
        return in_range and (volume is None or instrument.size * 1000 >= volume) and _fits_bond(instrument, request)

    def _measured(self, instrument: Instrument, price: float, tag: str) -> tuple[float, int]:
        """Return what a filter of a name looks at, and 1 if it wants more, -1 if less."""
        side = 1 if "Above" in tag else -1
        if tag.startswith("price"):
            return price, side
        if tag.startswith("volume"):
            return instrument.size * 1000.0, side
        if tag.startswith("marketCap"):
            return _market_value(instrument, price), side
        return self._change(instrument) * 100.0, side

    def _change(self, instrument: Instrument) -> float:
        yesterday = self._floor.prices.mid(instrument, self._floor.now_ns - _DAY_NS)
        return self._floor.mark(instrument) / yesterday - 1 if yesterday else 0.0

    def _rank(self, instrument: Instrument, code: str) -> float:
        """Return what the scan sorts by, best first."""
        order = CODES[code]
        if order == _BY_SIZE:
            return -float(instrument.size)
        if order in (_BY_VOLATILITY, _BY_CALM):
            return instrument.volatility if order == _BY_CALM else -instrument.volatility
        if order == _BY_VALUE:
            return -_market_value(instrument, self._floor.mark(instrument))
        if order == _BY_YIELD:
            return -instrument.bond.coupon if instrument.bond else 0.0
        change = self._change(instrument)
        return change if order == _BY_FALL else -change

    # -------------------------------------------------------------------------------------------- display groups
    def groups(self, session: Session, request: rq.QueryDisplayGroups) -> None:
        """Send the groups of a TWS window."""
        self._floor.send(session.session, rs.DisplayGroupList(request.req_id, GROUPS))

    def subscribe_group(self, session: Session, request: rq.SubscribeToGroupEvents) -> None:
        """Tell which contract a group shows, now and when it changes."""
        self._groups[(session.session, request.req_id)] = request.group_id
        chosen = self._chosen.get(request.group_id, "none")
        self._floor.send(session.session, rs.DisplayGroupUpdated(request.req_id, chosen))

    def update_group(self, session: Session, request: rq.UpdateDisplayGroup) -> None:
        """Let the group of a subscription show another contract."""
        group = self._groups.get((session.session, request.req_id))
        if group is None:
            text = "Error processing request.-'cR' : cause - Not subscribed to the group"
            self._floor.error(session.session, request.req_id, 322, text)
            return
        self._chosen[group] = request.contract_info
        for (number, req_id), shown in self._groups.items():
            if shown == group:
                self._floor.send(number, rs.DisplayGroupUpdated(req_id, request.contract_info))

    def leave_group(self, session: Session, request: rq.UnsubscribeFromGroupEvents) -> None:
        """Stop telling."""
        self._groups.pop((session.session, request.req_id), None)

    def forget(self, session: int) -> None:
        """Drop a session that has ended."""
        self._scans = {key: scan for key, scan in self._scans.items() if key[0] != session}
        self._groups = {key: group for key, group in self._groups.items() if key[0] != session}


def _are_known(options: Iterable[TagValue]) -> bool:
    try:
        return all(each.tag in _FILTERS and math.isfinite(float(each.value)) for each in options)
    except ValueError:
        return False


def _market_value(instrument: Instrument, price: float) -> float:
    """Return what a company is worth in millions; made up from what usually trades of it."""
    return instrument.size * price * 20.0


def _is_within(value: float, above: Any, below: Any) -> bool:
    return (above is None or value >= float(above)) and (below is None or value <= float(below))


def _fits_bond(instrument: Instrument, request: rq.ReqScannerSubscription) -> bool:
    """Check the filters that only bonds have; other contracts pass unless one is set."""
    terms = instrument.bond
    dates = (request.maturity_date_above, request.maturity_date_below)
    rates = (request.coupon_rate_above, request.coupon_rate_below)
    ratings = (
        request.moody_rating_above, request.moody_rating_below, request.sp_rating_above, request.sp_rating_below,
    )  # fmt: skip
    if terms is None:
        return not any(dates) and rates == (None, None) and not any(ratings)
    moody, _, other = terms.ratings.partition("/")
    first, last = dates
    return (
        (not first or instrument.expiry >= first)
        and (not last or instrument.expiry <= last)
        and _is_within(terms.coupon, *rates)
        and all(
            not wanted or _notch(own) <= _notch(wanted) for own, wanted in ((moody, ratings[0]), (other, ratings[2]))
        )
        and all(
            not wanted or _notch(own) >= _notch(wanted) for own, wanted in ((moody, ratings[1]), (other, ratings[3]))
        )
    )


def _notch(rating: str) -> int:
    """Return how far a rating is from the best; what is not rated comes last."""
    letters = rating.strip().upper()
    head = letters.rstrip("+-123")
    scale = ("AAA", "AA", "A", "BBB", "BAA", "BB", "BA", "B", "CCC", "CAA", "CC", "CA", "C", "D")
    step = {"+": 0, "1": 0, "-": 2, "3": 2}.get(letters[-1:], 1)
    return scale.index(head) * 3 + step if head in scale else 99

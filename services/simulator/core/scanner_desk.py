"""Serve market scans over the listed contracts, and TWS' display groups: small, and the same on every run.

A scan ranks the listed contracts of its instrument and price range by what its code names, and is sent again every
30 seconds, as TWS does.

Known limits: a scan's code decides only whether it ranks by gain, loss or volume; filters beside price and volume are
taken and have no effect.

Source: ib-facts B.5 (20, 67, 68), B.7.
"""

from __future__ import annotations

from services.simulator.core.contracts import Instrument
from services.simulator.core.floor import Floor
from services.simulator.core.market import NS_PER_S
from services.simulator.core.sessions import Session
from shared.tws import requests as rq
from shared.tws import responses as rs

PERIOD_NS = 30 * NS_PER_S
MAX_SCANS = 10
MAX_ROWS = 50
_DAY_NS = 86_400 * NS_PER_S
TYPES = {"STK": "STK", "ETF.EQ.US": "STK", "FUT.US": "FUT", "IND.US": "IND"}
CODES = (
    "TOP_PERC_GAIN", "TOP_PERC_LOSE", "MOST_ACTIVE", "HOT_BY_VOLUME", "HOT_BY_PRICE", "TOP_TRADE_COUNT",
    "HIGH_VS_13W_HL", "LOW_VS_13W_HL",
)  # fmt: skip
GROUPS = "4|1|2|5|3|6"
PREFIX = "Historical Market Data Service error message:"


def parameters_xml() -> str:
    """Return what scans there are, in TWS' form."""
    instruments = "".join(f"<Instrument><name>{name}</name><type>{name}</type></Instrument>" for name in TYPES)
    scans = "".join(
        f"<ScanType><displayName>{code}</displayName><scanCode>{code}</scanCode></ScanType>" for code in CODES
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse>'
        f'<InstrumentList varName="instrumentList">{instruments}</InstrumentList>'
        f'<ScanTypeList varName="scanTypeList">{scans}</ScanTypeList></ScanParameterResponse>'
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
        price = self._floor.mark(instrument)
        above, below, volume = request.above_price, request.below_price, request.above_volume
        return (
            instrument.sec_type == TYPES[request.instrument]
            and (above is None or price >= float(above))
            and (below is None or price <= float(below))
            and (volume is None or instrument.size * 1000 >= volume)
        )

    def _rank(self, instrument: Instrument, code: str) -> float:
        """Return what the scan sorts by, best first."""
        if code in ("MOST_ACTIVE", "HOT_BY_VOLUME", "TOP_TRADE_COUNT"):
            return -float(instrument.size)
        yesterday = self._floor.prices.mid(instrument, self._floor.now_ns - _DAY_NS)
        change = self._floor.mark(instrument) / yesterday - 1 if yesterday else 0.0
        return change if code in ("TOP_PERC_LOSE", "LOW_VS_13W_HL") else -change

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

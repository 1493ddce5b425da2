"""Serve small canned company data: fundamental reports, and the corporate calendar of Wall Street Horizon.

All of it follows from the contract alone: quarterly earnings and dividends on the same days of every year, figures
that fit its price. None of it is true of the real company.

Source: ib-facts B.5 (51, 104, 105), B.7 (52, 53, 100-103); IB's error list for 10278 to 10284.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.simulator.core.chance import hash_unit
from services.simulator.core.contracts import Instrument, NotFound
from services.simulator.core.floor import Floor
from services.simulator.core.sessions import Session
from services.simulator.core.times import local
from shared.tws import requests as rq
from shared.tws import responses as rs

NO_REPORT = "We are sorry, but fundamentals data for the security specified is not available.{text}"
EVENTS = {"wshe_ed": "Earnings Date", "wshe_div": "Dividend"}
MAX_EVENTS = 100
_DAYS_BACK, _DAYS_AHEAD = 365, 365
_REPORTS = ("ReportSnapshot", "ReportsFinSummary", "ReportRatios", "ReportsFinStatements", "RESC", "CalendarReport")


class ReportsDesk:
    """The company data side of the exchange."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._asked_meta: set[int] = set()
        """Sessions that have asked for the calendar's description, which TWS wants first."""

    # -------------------------------------------------------------------------------------------- fundamentals
    def fundamentals(self, session: Session, request: rq.ReqFundamentalData) -> None:
        """Send a report on a company."""
        floor, number = self._floor, request.req_id
        found = floor.universe.resolve(request.contract)
        if isinstance(found, NotFound):
            floor.error(session.session, number, 200, found.text)
        elif request.report_type not in _REPORTS:
            text = f"Error validating request.-'cK' : cause - Invalid report type '{request.report_type}'"
            floor.error(session.session, number, 321, text)
        elif found.instrument.stock_type != "COMMON":
            floor.error(session.session, number, 430, NO_REPORT.format(text=f"Not found: {found.instrument.symbol}"))
        else:
            floor.send(session.session, rs.FundamentalData(number, self._report(found.instrument, request.report_type)))

    def _report(self, company: Instrument, kind: str) -> str:
        today = local(self._floor.now_ns, company.time_zone).date()
        unit = hash_unit(company.con_id, 3)
        shares = round(company.size * 4e7 * (0.5 + unit))
        earned = round(company.price * (0.02 + 0.04 * unit), 2)
        figures = {
            "SharesOut": f"{shares}", "MKTCAP": f"{shares * company.price / 1e6:.5f}", "TTMEPSXCLX": f"{earned:.2f}",
            "PEEXCLXOR": f"{company.price / earned:.5f}", "NPRICE": f"{company.price:.2f}", "BETA": f"{0.6 + unit:.2f}",
        }  # fmt: skip
        ratios = "".join(f'<Ratio FieldName="{name}" Type="N">{value}</Ratio>' for name, value in figures.items())
        periods = "".join(
            f'<EPS asofDate="{day:%Y-%m-%d}" period="3M" reportType="A">{earned / 4:.2f}</EPS>'
            for day in earnings_days(company, today - timedelta(days=730), today)
        )
        events = "".join(
            f'<Event Date="{day:%Y-%m-%d}">Earnings Release</Event>'
            for day in earnings_days(company, today, today + timedelta(days=_DAYS_AHEAD))
        )
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{kind} Made="up by the simulator">'
            f'<CoIDs><CoID Type="CompanyName">{_escaped(company.long_name)}</CoID></CoIDs>'
            f'<Issues><Issue Type="C"><IssueID Type="Ticker">{company.symbol}</IssueID>'
            f'<IssueID Type="ISIN">{company.isin}</IssueID>'
            f"<Exchange>{company.primary_exchange}</Exchange></Issue></Issues>"
            f'<Ratios>{ratios}</Ratios><EPSs currency="{company.currency}">{periods}</EPSs><Events>{events}</Events>'
            f"</{kind}>"
        )

    # -------------------------------------------------------------------------------------------- calendar
    def calendar_meta(self, session: Session, request: rq.ReqWshMetaData) -> None:
        """Send what kinds of events there are."""
        self._asked_meta.add(session.session)
        kinds = [
            {"tag": tag, "name": name, "columns": ["earnings_date", "time_of_day"]} for tag, name in EVENTS.items()
        ]
        meta = {"meta_data": {"event_types": kinds, "filters": ["watchlist", "country", *EVENTS]}}
        self._floor.send(session.session, rs.WshMetaData(request.req_id, json.dumps(meta)))

    def cancel_meta(self, session: Session, request: rq.CancelWshMetaData) -> None:
        """Leave the description: it was sent at once, so only one that was asked for can be left."""
        if session.session not in self._asked_meta:
            self._floor.error(session.session, request.req_id, 10280, "Failed cancel WSH metadata")

    def calendar(self, session: Session, request: rq.ReqWshEventData) -> None:
        """Send the events of some companies, soonest first."""
        floor, number = self._floor, request.req_id
        if session.session not in self._asked_meta:
            floor.error(session.session, number, 10282, "WSH metadata not requested")
            return
        try:
            wanted = json.loads(request.filter) if request.filter.strip() else {}
            companies = self._companies(request, wanted)
            first, last = self._span(request)
        except (ValueError, TypeError, AttributeError, RecursionError) as e:
            floor.error(session.session, number, 10283, f"Fail request WSH event data:{e}")
            return
        tags = [tag for tag in EVENTS if str(wanted.get(tag, "")).lower() == "true"] or list(EVENTS)
        events = sorted(
            (event for company in companies for event in _events(company, tags, first, last)),
            key=lambda each: (each["event_date"], each["conid"], each["event_type"]),
        )
        limit = MAX_EVENTS if request.total_limit is None else max(0, min(request.total_limit, MAX_EVENTS))
        floor.send(session.session, rs.WshEventData(number, json.dumps(events[:limit])))

    def cancel_calendar(self, session: Session, request: rq.CancelWshEventData) -> None:
        """Leave the events: they were sent at once, so there is nothing to leave but after a first request."""
        if session.session not in self._asked_meta:
            self._floor.error(session.session, request.req_id, 10284, "Fail cancel WSH event data")

    def forget(self, session: int) -> None:
        """Drop a session that has ended."""
        self._asked_meta.discard(session)

    def _companies(self, request: rq.ReqWshEventData, wanted: dict[str, Any]) -> list[Instrument]:
        universe = self._floor.universe
        numbers = [int(each) for each in wanted.get("watchlist", [])]
        if request.con_id:
            numbers.append(request.con_id)
        found = [universe.by_id(number) for number in numbers]
        if request.fill_watchlist or request.fill_portfolio or request.fill_competitors or not numbers:
            found += list(universe)
        unique = {each.con_id: each for each in found if each is not None and each.stock_type == "COMMON"}
        return list(unique.values())

    def _span(self, request: rq.ReqWshEventData) -> tuple[date, date]:
        today = local(self._floor.now_ns, "UTC").date()
        first = _day(request.start_date) or today - timedelta(days=_DAYS_BACK)
        last = _day(request.end_date) or today + timedelta(days=_DAYS_AHEAD)
        return max(first, today - timedelta(days=10 * 365)), min(last, today + timedelta(days=2 * 365))


def _day(text: str) -> date | None:
    return datetime.strptime(text.strip(), "%Y%m%d").replace(tzinfo=UTC).date() if text.strip() else None


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def earnings_days(company: Instrument, first: date, last: date) -> Iterator[date]:
    """Yield the days of a company's quarterly results, weekdays all."""
    offset = int(hash_unit(company.con_id, 4) * 25)
    for year in range(first.year - 1, last.year + 1):
        for month in (1, 4, 7, 10):
            day = date(year, month, 1) + timedelta(days=offset)
            day += timedelta(days=max(0, 7 - day.weekday()) if day.weekday() >= 5 else 0)
            if first <= day <= last:
                yield day


def _events(company: Instrument, tags: list[str], first: date, last: date) -> Iterator[dict[str, Any]]:
    for tag in tags:
        for day in earnings_days(company, first, last):
            data: dict[str, Any] = {"time_of_day": "AFTER MARKET"}
            if tag == "wshe_div":
                data = {"amount": round(company.price * 0.0025, 2), "currency": company.currency}
            yield {
                "event_type": tag, "conid": company.con_id, "company": {"ticker": company.symbol},
                "event_date": f"{day:%Y%m%d}", "data": data,
            }  # fmt: skip

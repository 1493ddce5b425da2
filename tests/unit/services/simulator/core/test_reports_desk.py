from __future__ import annotations

import json
from datetime import date
from xml.etree import ElementTree

import pytest

from services.simulator.core.reports_desk import earnings_days
from services.simulator.core.universe import default_universe
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver

KINDS = ("ReportSnapshot", "ReportsFinSummary", "ReportRatios", "ReportsFinStatements", "RESC", "CalendarReport")


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1, 178)
    return driver


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_names_its_company_and_says_that_it_is_made_up(exchange: Driver, kind: str) -> None:
    exchange.ask(1, rq.ReqFundamentalData(3, AAPL, kind))
    (answer,) = exchange.got(1, rs.FundamentalData)
    root = ElementTree.fromstring(answer.xml.encode())
    assert root.tag == kind and root.attrib == {"Made": "up by the simulator"}
    assert [each.text for each in root.iter("IssueID")] == ["AAPL", "US0378331005"]
    assert len(list(root.iter("EPS"))) == 8


def test_every_company_has_a_report_that_parses(exchange: Driver) -> None:
    companies = [each for each in exchange.engine.floor.universe if each.stock_type == "COMMON"]
    for company in companies:
        exchange.ask(1, rq.ReqFundamentalData(3, company.contract(), "ReportSnapshot"))
    answers = exchange.got(1, rs.FundamentalData)
    assert len(answers) == len(companies) > 10
    assert all(ElementTree.fromstring(each.xml.encode()).tag == "ReportSnapshot" for each in answers)


def test_what_has_no_reports(exchange: Driver) -> None:
    exchange.ask(1, rq.ReqFundamentalData(3, AAPL, "Secrets"))
    exchange.ask(1, rq.ReqFundamentalData(4, TwsContract(symbol="SPY", sec_type="STK", exchange="SMART"), "RESC"))
    exchange.ask(1, rq.ReqFundamentalData(5, TwsContract(symbol="NOSUCH", sec_type="STK"), "RESC"))
    assert exchange.errors(1) == [(3, 321), (4, 430), (5, 200)]


def events(exchange: Driver, **fields: object) -> list[dict[str, object]]:
    exchange.ask(1, rq.ReqWshEventData(2, **fields))  # type: ignore[arg-type]
    found: list[dict[str, object]] = json.loads(exchange.got(1, rs.WshEventData)[-1].json)
    return found


def test_the_calendar_wants_its_description_asked_for_first(exchange: Driver) -> None:
    exchange.ask(1, rq.ReqWshEventData(2, AAPL_ID))
    exchange.ask(1, rq.CancelWshMetaData(3))
    exchange.ask(1, rq.CancelWshEventData(4))
    assert exchange.errors(1) == [(2, 10282), (3, 10280), (4, 10284)]
    exchange.ask(1, rq.ReqWshMetaData(1))
    meta = json.loads(exchange.got(1, rs.WshMetaData)[0].json)
    assert {each["tag"] for each in meta["meta_data"]["event_types"]} == {"wshe_ed", "wshe_div"}
    assert events(exchange, con_id=AAPL_ID)
    exchange.ask(1, rq.CancelWshMetaData(1))
    exchange.ask(1, rq.CancelWshEventData(2))
    assert len(exchange.errors(1)) == 3
    exchange.disconnect(1)
    assert not exchange.engine.reports._asked_meta


def test_events_follow_the_filters(exchange: Driver) -> None:
    exchange.ask(1, rq.ReqWshMetaData(1))
    quarters = events(exchange, con_id=AAPL_ID, start_date="20260101", end_date="20261231")
    assert len(quarters) == 8 and {each["conid"] for each in quarters} == {AAPL_ID}
    assert quarters == sorted(quarters, key=lambda each: str(each["event_date"]))
    wanted = json.dumps({"watchlist": ["8314", "272093"], "wshe_ed": "true"})
    both = events(exchange, filter=wanted, start_date="20260101", end_date="20261231")
    assert {each["conid"] for each in both} == {8314, 272093} and {each["event_type"] for each in both} == {"wshe_ed"}
    assert len(events(exchange, fill_portfolio=True, total_limit=5)) == 5
    assert events(exchange, con_id=1) == []


@pytest.mark.parametrize(
    "fields", [{"filter": "{"}, {"filter": "[1]"}, {"filter": '{"watchlist": ["x"]}'}, {"start_date": "soon"}]
)
def test_a_bad_filter_is_an_error(exchange: Driver, fields: dict[str, str]) -> None:
    exchange.ask(1, rq.ReqWshMetaData(1))
    exchange.ask(1, rq.ReqWshEventData(2, **fields))  # type: ignore[arg-type]
    assert exchange.errors(1) == [(2, 10283)]


def test_results_come_on_weekdays_four_times_a_year() -> None:
    for company in default_universe(date(2026, 11, 23)):
        if company.stock_type == "COMMON":
            days = list(earnings_days(company, date(2024, 1, 1), date(2026, 12, 31)))
            assert len(days) == 12 and all(day.weekday() < 5 for day in days)

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order

SAP = TwsContract(symbol="SAP", sec_type="STK", exchange="SMART")


@pytest.fixture
def exchange() -> Driver:
    driver = Driver(history_pacing=False)
    driver.connect(1)
    return driver


def details(driver: Driver, **fields: object) -> list[rs.ContractDetails]:
    answer = driver.ask(1, rq.ReqContractDetails(3, TwsContract(**fields)))  # type: ignore[arg-type]
    return [each for each in answer if isinstance(each, rs.ContractDetails)]


def test_contract_details(exchange: Driver) -> None:
    [apple] = details(exchange, symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
    assert (apple.contract.con_id, apple.min_tick, apple.contract.primary_exchange) == (265598, 0.01, "NASDAQ")
    assert len(apple.market_rule_ids.split(",")) == len(apple.valid_exchanges.split(","))
    assert apple.trading_hours.count(";") == 5
    [same] = details(exchange, con_id=265598)
    assert same.contract == apple.contract
    assert len(details(exchange, symbol="AAPL", sec_type="STK")) == len(apple.valid_exchanges.split(","))
    assert len(details(exchange, symbol="SAP", sec_type="STK", exchange="SMART")) == 2
    assert len(details(exchange, symbol="SAP", sec_type="STK", exchange="SMART", currency="EUR")) == 1
    months = details(exchange, symbol="ES", sec_type="FUT", exchange="CME")
    assert [each.contract_month for each in months] == ["202612", "202703", "202706", "202709"]
    assert len(details(exchange, symbol="ES", sec_type="FUT", exchange="CME", last_trade_date="202612")) == 1
    [option] = details(
        exchange, symbol="SPY", sec_type="OPT", exchange="SMART", last_trade_date="20261218", strike=600.0, right="C"
    )
    assert option.under_con_id == 756733 and option.contract.multiplier == "100"
    exchange.ask(1, rq.ReqContractDetails(4, TwsContract(symbol="NOSUCH")))
    assert exchange.errors(1) == [(4, 200)]


def test_symbols_rules_and_option_parameters(exchange: Driver) -> None:
    [samples] = exchange.ask(1, rq.ReqMatchingSymbols(3, "am"))
    assert isinstance(samples, rs.SymbolSamples) and {"AMD", "AMZN"} <= {each.symbol for each in samples.samples}
    [rule] = exchange.ask(1, rq.ReqMarketRule(26))
    assert isinstance(rule, rs.MarketRule) and rule.increments == (rs.PriceIncrement(0.0, 0.01),)
    exchange.ask(1, rq.ReqMarketRule(9999))
    assert exchange.errors(1) == [(9999, 321)]
    answer = exchange.ask(1, rq.ReqSecDefOptParams(4, "SPY", "", "STK", 756733))
    assert isinstance(answer[0], rs.SecDefOptParams) and len(answer[0].strikes) == 17
    assert answer[-1] == rs.SecDefOptParamsEnd(4)


def test_an_option_price_and_its_volatility_agree(exchange: Driver) -> None:
    option = TwsContract(
        symbol="SPY", sec_type="OPT", exchange="SMART", last_trade_date="20261218", strike=600.0, right="C"
    )
    from decimal import Decimal

    [priced] = exchange.ask(1, rq.CalculateOptionPrice(3, option, Decimal("0.2"), Decimal(600)))
    assert isinstance(priced, rs.TickOptionComputation) and 5 < priced.option_price < 30
    [implied] = exchange.ask(
        1, rq.CalculateImpliedVolatility(4, option, Decimal(str(priced.option_price)), Decimal(600))
    )
    assert isinstance(implied, rs.TickOptionComputation) and abs(implied.implied_vol - 0.2) < 0.001


@pytest.mark.parametrize(
    ("bar_size", "duration", "count"),
    [
        ("1 secs", "60 S", 60),
        ("5 secs", "600 S", 120),
        ("1 min", "1 D", 1440),
        ("1 hour", "2 D", 48),
        ("1 day", "5 D", 5),
    ],
)
@pytest.mark.parametrize(
    "what", ["TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "HISTORICAL_VOLATILITY", "FEE_RATE"]
)
def test_bars_of_every_size(exchange: Driver, bar_size: str, duration: str, count: int, what: str) -> None:
    request = rq.ReqHistoricalData(3, AAPL, bar_size=bar_size, duration=duration, what_to_show=what)
    [answer] = exchange.ask(1, request)
    assert isinstance(answer, rs.HistoricalData) and len(answer.bars) == count
    assert all(
        each.low <= min(each.open, each.close) and max(each.open, each.close) <= each.high for each in answer.bars
    )
    assert (answer.bars[0].volume == -1) == (what not in ("TRADES", "ADJUSTED_LAST"))
    [again] = exchange.ask(1, request)
    assert again == answer


def test_history_errors(exchange: Driver) -> None:
    for request in (
        rq.ReqHistoricalData(3, AAPL, bar_size="7 min"),
        rq.ReqHistoricalData(3, AAPL, duration="one day"),
        rq.ReqHistoricalData(3, AAPL, duration="30 D", bar_size="1 secs"),
        rq.ReqHistoricalData(3, AAPL, what_to_show="NONSENSE"),
        rq.ReqHistoricalData(3, AAPL, end="yesterday"),
        rq.ReqHistoricalData(3, AAPL, end="20261120 10:00:00 US/Eastern", keep_up_to_date=True),
        rq.ReqHistoricalData(3, SAP),
        rq.CancelHistoricalData(3),
    ):
        exchange.ask(1, request)
    assert [code for _, code in exchange.errors(1)] == [321, 162, 162, 162, 162, 321, 200, 366]


def test_bars_kept_up_to_date_end_with_their_cancel(exchange: Driver) -> None:
    exchange.ask(1, rq.ReqHistoricalData(3, AAPL, duration="60 S", bar_size="5 secs", keep_up_to_date=True))
    exchange.run(7)
    updates = exchange.got(1, rs.HistoricalDataUpdate)
    assert len(updates) >= 5 and len({each.date for each in updates}) == 2
    exchange.ask(1, rq.CancelHistoricalData(3))
    exchange.run(5)
    assert len(exchange.got(1, rs.HistoricalDataUpdate)) == len(updates)


def test_pacing_of_small_bars() -> None:
    driver = Driver()
    driver.connect(1)
    for number in range(3):
        driver.ask(1, rq.ReqHistoricalData(number, AAPL, duration="60 S", bar_size="5 secs"))
    assert driver.errors(1) == [(1, 162), (2, 162)]
    driver.run(16)
    driver.ask(1, rq.ReqHistoricalData(5, AAPL, duration="60 S", bar_size="5 secs"))
    assert len(driver.errors(1)) == 2


def test_other_history(exchange: Driver) -> None:
    [head] = exchange.ask(1, rq.ReqHeadTimestamp(3, AAPL))
    assert isinstance(head, rs.HeadTimestamp) and head.timestamp.endswith("14:30:00")
    [histogram] = exchange.ask(1, rq.ReqHistogramData(3, AAPL, period="1 day"))
    assert isinstance(histogram, rs.HistogramData) and histogram.entries
    for what, kind in (
        ("TRADES", rs.HistoricalTicksLast),
        ("BID_ASK", rs.HistoricalTicksBidAsk),
        ("MIDPOINT", rs.HistoricalTicks),
    ):
        [ticks] = exchange.ask(1, rq.ReqHistoricalTicks(3, AAPL, number_of_ticks=10, what_to_show=what))
        assert isinstance(ticks, kind) and len(ticks.ticks) == 10
    [schedule] = exchange.ask(1, rq.ReqHistoricalData(3, AAPL, duration="7 D", what_to_show="SCHEDULE"))
    assert isinstance(schedule, rs.HistoricalSchedule) and len(schedule.sessions) == 5


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (rq.ReqMktDepth(3, AAPL), 10092),
        (rq.ReqFundamentalData(3, AAPL), 321),
        (rq.ReqNewsArticle(3), 10172),
        (rq.ReqHistoricalNews(3), 321),
        (rq.UpdateDisplayGroup(3, "none"), 322),
        (rq.CancelScannerSubscription(3), 365),
        (rq.ExerciseOptions(3, AAPL), 322),
        (rq.ReqWshEventData(3), 10282),
        (rq.RequestFA(1), 321),
        (rq.ReqScannerSubscription(3), 162),
    ],
)
def test_absent_services_say_so(exchange: Driver, request_: rq.Request, code: int) -> None:
    exchange.ask(1, request_)
    assert [each for _, each in exchange.errors(1)] == [code]


@pytest.mark.parametrize(
    "request_",
    [
        rq.ReqMktDepthExchanges(), rq.ReqSmartComponents(3, "9c0001"), rq.ReqFamilyCodes(), rq.ReqSoftDollarTiers(3),
        rq.ReqUserInfo(3), rq.ReqScannerParameters(), rq.ReqNewsProviders(), rq.ReqNewsBulletins(True),
        rq.QueryDisplayGroups(3), rq.SubscribeToGroupEvents(3, 1), rq.ReqManagedAccounts(), rq.VerifyRequest(),
    ],
)  # fmt: skip
def test_tables_are_answered(exchange: Driver, request_: rq.Request) -> None:
    assert exchange.ask(1, request_)
    assert exchange.errors(1) == []


@pytest.mark.parametrize(
    ("wanted", "cusips"),
    [
        (TwsContract(symbol="912810TX6", sec_type="BOND"), ["912810TX6"]),
        (TwsContract(symbol="US-T", sec_type="BOND"), ["912810TX6", "91282CJZ5"]),
        (TwsContract(symbol="AAPL", sec_type="BOND", exchange="SMART"), ["037833EV8"]),
        (TwsContract(sec_id_type="CUSIP", sec_id="06051GLH0", sec_type="BOND"), ["06051GLH0"]),
        (TwsContract(con_id=710_000_010), ["912810TX6"]),
    ],
)
def test_bonds_are_found_by_cusip_or_issuer(exchange: Driver, wanted: TwsContract, cusips: list[str]) -> None:
    answers = exchange.ask(1, rq.ReqContractDetails(3, wanted))
    assert [each.cusip for each in answers if isinstance(each, rs.BondContractDetails)] == cusips
    assert isinstance(answers[-1], rs.ContractDetailsEnd)


def test_a_bond_trades_in_percent_of_a_thousand_dollars(exchange: Driver) -> None:
    bond = TwsContract(con_id=710_000_020, exchange="SMART")
    exchange.ask(1, rq.ReqMktData(5, bond))
    exchange.quote(97.8, 97.95, con_id=710_000_020)
    exchange.place(1, 1, order("BUY", 20, "LMT", lmt_price="97.95"), bond)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    account = exchange.engine.accounts["DUSIM0001"]
    assert 1_000_000 - account.cash["USD"] - account.commissions == 20 * 10 * Decimal("97.95")
    exchange.place(1, 2, order("BUY", 20, "LMT", lmt_price="97.9555"), bond)
    assert exchange.errors(1) == [(2, 110)]

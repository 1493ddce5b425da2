from __future__ import annotations

from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver, order


def trader() -> tuple[Driver, int]:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    return driver, session


def test_account_updates_end_and_go_on_with_positions() -> None:
    driver, session = trader()
    answer = driver.ask(session, rq.ReqAccountUpdates(subscribe=True, account="DUSIM0001"))
    assert answer[-1] == rs.AccountDownloadEnd("DUSIM0001")
    values = {(each.key, each.currency): each.value for each in answer if isinstance(each, rs.AccountValue)}
    assert values[("NetLiquidation", "USD")] == "1000000.00"
    assert values[("BuyingPower", "USD")] == "4000000.00"
    assert values[("CashBalance", "BASE")] == "1000000.00"
    driver.place(session, 1, order())
    driver.run()
    [portfolio] = driver.got(session, rs.PortfolioValue)
    assert portfolio.position == 100 and round(portfolio.average_cost, 4) == 100.03
    latest = {each.key: each.value for each in driver.got(session, rs.AccountValue) if each.currency == "USD"}
    assert latest["TotalCashValue"] == "989997.00"
    driver.ask(session, rq.ReqAccountUpdates(subscribe=False, account="DUSIM0001"))
    driver.place(session, 2, order())
    driver.run()
    assert len(driver.got(session, rs.PortfolioValue)) == 1


def test_an_unknown_account_is_refused() -> None:
    driver, session = trader()
    driver.ask(session, rq.ReqAccountUpdates(subscribe=True, account="DU9"))
    driver.ask(session, rq.ReqAccountUpdatesMulti(8, "DU9"))
    driver.ask(session, rq.ReqPnL(9, "DU9"))
    assert driver.errors(session) == [(-1, 321), (8, 321), (9, 321)]


def test_positions_summary_and_profit() -> None:
    driver, session = trader()
    driver.ask(session, rq.ReqPositions())
    driver.place(session, 1, order())
    driver.run()
    assert driver.got(session, rs.Position)[-1].position == 100
    answer = driver.ask(session, rq.ReqAccountSummary(5, "All", "NetLiquidation,$LEDGER:USD"))
    assert answer[-1] == rs.AccountSummaryEnd(5)
    assert {each.tag for each in answer if isinstance(each, rs.AccountSummary)} >= {"NetLiquidation", "CashBalance"}
    driver.ask(session, rq.ReqAccountSummary(6, "All", "NetLiquidation"))
    driver.ask(session, rq.ReqAccountSummary(7, "All", "NetLiquidation"))
    assert driver.errors(session) == [(7, 322)]
    driver.quote(110.00, 110.02)
    driver.trade(110.00, 1)
    [profit] = driver.ask(session, rq.ReqPnL(8, "DUSIM0001"))
    assert isinstance(profit, rs.PnL) and profit.unrealized == 997.0 and profit.daily == 997.0
    [single] = driver.ask(session, rq.ReqPnLSingle(9, "DUSIM0001", "", AAPL_ID))
    assert isinstance(single, rs.PnLSingle) and (single.position, single.value) == (100, 11000.0)
    driver.place(session, 2, order("SELL"))
    driver.run()
    assert driver.got(session, rs.Position)[-1].position == 0
    [profit] = driver.ask(session, rq.ReqPnL(10, "DUSIM0001"))
    assert isinstance(profit, rs.PnL) and (profit.unrealized, profit.realized) == (0.0, 996.0)


def test_multi_requests() -> None:
    driver, session = trader()
    answer = driver.ask(session, rq.ReqAccountUpdatesMulti(5, "DUSIM0001"))
    assert answer[-1] == rs.AccountUpdateMultiEnd(5)
    driver.place(session, 1, order())
    driver.run()
    answer = driver.ask(session, rq.ReqPositionsMulti(6, "DUSIM0001"))
    assert [type(each).__name__ for each in answer] == ["PositionMulti", "PositionMultiEnd"]

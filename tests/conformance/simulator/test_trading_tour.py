"""What few clients use, with ib_insync's own classes: combinations, conditions, bonds, advisors' and company data."""

from __future__ import annotations

import asyncio
import json
import logging

import ib_insync
import pytest

from tests.conformance.simulator.conftest import Simulators
from tests.conformance.simulator.test_tour import until

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
QUIET = {202, 2104, 2106, 2158}


async def test_rare_things(simulators: Simulators, caplog: pytest.LogCaptureFixture) -> None:
    simulator = simulators.start(SIM_ADVISOR="true")
    ib = ib_insync.IB()
    errors: list[tuple[int, str]] = []
    ib.errorEvent += lambda _, code, text, __: errors.append((code, text))
    with caplog.at_level(logging.ERROR):
        await ib.connectAsync("127.0.0.1", simulator.port, clientId=1, timeout=20)
        try:
            await combination(ib)
            await conditions(ib)
            await bond(ib)
            await advisor(ib)
            await company(ib)
        finally:
            ib.disconnect()
            await asyncio.sleep(0.1)
    assert [each for each in errors if each[0] not in QUIET] == []
    assert [each.getMessage() for each in caplog.records] == []


async def combination(ib: ib_insync.IB) -> None:
    """A pair of stocks is quoted and traded as one, and each leg is filled and held."""
    legs = [
        ib_insync.ComboLeg(conId=265598, ratio=1, action="BUY", exchange="SMART"),
        ib_insync.ComboLeg(conId=272093, ratio=2, action="SELL", exchange="SMART"),
    ]
    pair = ib_insync.Contract(symbol="AAPL,MSFT", secType="BAG", exchange="SMART", currency="USD", comboLegs=legs)
    ticker = ib.reqMktData(pair)
    await until(lambda: ticker.bid < ticker.ask < 0, "a quote below zero")
    trade = ib.placeOrder(pair, ib_insync.LimitOrder("BUY", 10, round(ticker.ask + 20, 2)))
    await until(lambda: trade.isDone() and len(trade.fills) >= 3, "a filled combination")
    assert trade.orderStatus.status == "Filled"
    assert {fill.contract.secType for fill in trade.fills} == {"BAG", "STK"}
    await until(
        lambda: {each.contract.symbol: each.position for each in ib.positions()} == {"AAPL": 10, "MSFT": -20}, "legs"
    )
    ib.cancelMktData(pair)


async def conditions(ib: ib_insync.IB) -> None:
    """Every kind of condition arrives as it was sent; one that holds lets its order go, another keeps it."""
    [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("AAPL", "SMART", "USD"))
    kinds = [
        ib_insync.PriceCondition(price=100000.0, conId=stock.conId, exch="SMART", isMore=True, conjunction="a"),
        ib_insync.TimeCondition(time="20991231 15:30:00 US/Eastern", isMore=True, conjunction="a"),
        ib_insync.MarginCondition(percent=1, isMore=False, conjunction="a"),
        ib_insync.ExecutionCondition(secType="STK", exch="SMART", symbol="TSLA", conjunction="a"),
        ib_insync.VolumeCondition(volume=10**9, conId=stock.conId, exch="SMART", isMore=True, conjunction="a"),
        ib_insync.PercentChangeCondition(
            changePercent=500.0, conId=stock.conId, exch="SMART", isMore=True, conjunction="a"
        ),
    ]
    held = ib.placeOrder(stock, ib_insync.MarketOrder("BUY", 1, conditions=kinds, orderRef="held"))
    free = ib_insync.TimeCondition(time="20200101 15:30:00 US/Eastern", isMore=True)
    gone = ib.placeOrder(stock, ib_insync.MarketOrder("BUY", 1, conditions=[free]))
    await until(lambda: gone.orderStatus.status == "Filled", "an order whose condition holds")
    assert held.orderStatus.status == "PreSubmitted"
    [seen] = [each for each in await ib.reqAllOpenOrdersAsync() if each.order.orderRef == "held"]
    assert seen.order.conditions == kinds
    ib.cancelOrder(held.order)
    await until(lambda: held.orderStatus.status == "Cancelled", "a cancelled conditional order")


async def bond(ib: ib_insync.IB) -> None:
    """A bond has details of its own, a price and a snapshot."""
    # A whole coupon: ib_insync reads it as one, and drops bonds that have another.
    [details] = await ib.reqContractDetailsAsync(ib_insync.Bond(symbol="91282CJZ5", exchange="SMART"))
    assert (details.cusip, details.coupon, details.maturity) == ("91282CJZ5", 4, "20340215")
    assert details.contract is not None
    [ticker] = await ib.reqTickersAsync(details.contract)
    assert 50 < ticker.bid < ticker.ask < 150


async def advisor(ib: ib_insync.IB) -> None:
    """Groups come, and what was replaced comes back."""
    xml = await ib.requestFAAsync(1)
    assert xml is not None and "DUSIM0001" in xml
    ib.replaceFA(1, xml.replace("All", "Mine"))
    await asyncio.sleep(0.2)
    assert "Mine" in (await ib.requestFAAsync(1) or "")


async def company(ib: ib_insync.IB) -> None:
    """Reports, and the corporate calendar."""
    [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("IBM", "NYSE", "USD"))
    assert "Ticker" in await ib.reqFundamentalDataAsync(stock, "ReportSnapshot")
    meta = await ib.getWshMetaDataAsync()
    assert json.loads(meta)["meta_data"]
    events = json.loads(await ib.getWshEventDataAsync(ib_insync.WshEventData(conId=stock.conId)))
    assert events and {each["conid"] for each in events} == {stock.conId}
    ib.cancelWshEventData()
    ib.cancelWshMetaData()

"""Every kind of data that the simulator has, asked for with ib_insync's own methods, makes sense and no complaint."""

from __future__ import annotations

import asyncio
import logging
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import ib_insync
import pytest

from tests.conformance.simulator.conftest import Simulators

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]
CALL = ib_insync.Option("SPY", "20261218", 600, "C", "SMART")


async def until(condition: object, what: str) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not seen: {what}")


async def test_tour(simulators: Simulators, caplog: pytest.LogCaptureFixture) -> None:
    simulator = simulators.start()
    ib = ib_insync.IB()
    errors: list[tuple[int, str]] = []
    ib.errorEvent += lambda _, code, text, __: errors.append((code, text))
    with caplog.at_level(logging.ERROR):
        await ib.connectAsync("127.0.0.1", simulator.port, clientId=1, timeout=8)
        try:
            await live(ib)
            await past(ib)
            await tables(ib)
        finally:
            ib.disconnect()
            await asyncio.sleep(0.1)
    unexpected = [each for each in errors if each[0] not in (2104, 2106, 2158, 2152) and "cancelled" not in each[1]]
    assert unexpected == []
    assert [each.getMessage() for each in caplog.records if not is_expected(each)] == []


def is_expected(record: logging.LogRecord) -> bool:
    """Say whether a line of ib_insync is about a cancel, its own slip in it included.

    It empties its order book when it cancels one, and stumbles over an update that was on its way, from TWS too.
    """
    where = trace_of(record)
    return "cancelled" in record.getMessage() or ("IndexError" in where and "updateMktDepth" in where)


def trace_of(record: logging.LogRecord) -> str:
    """Return where the exception of a line came from."""
    return "".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else ""


async def live(ib: ib_insync.IB) -> None:
    """Depth, generic ticks, greeks, bars, scans, profit and loss."""
    [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("AAPL", "SMART", "USD"))
    [option] = await ib.qualifyContractsAsync(CALL)
    depth = ib.reqMktDepth(stock, 5, isSmartDepth=True)
    await until(lambda: len(depth.domBids) == 5 and len(depth.domAsks) == 5, "five rows a side")
    assert depth.domBids[0].price < depth.domAsks[0].price
    assert [each.price for each in depth.domBids] == sorted((each.price for each in depth.domBids), reverse=True)
    ticker = ib.reqMktData(stock, "100,101,104,106,165,233,236,293,375,411,456")
    await until(lambda: ticker.rtVolume > 0 and ticker.histVolatility > 0 and ticker.high52week > 0, "generic ticks")
    assert ticker.low52week <= ticker.low26week <= ticker.low13week
    chain = ib.reqMktData(option)
    await until(lambda: chain.modelGreeks and chain.bidGreeks and chain.askGreeks, "greeks")
    model: Any = chain.modelGreeks
    assert 0 < model.delta < 1
    bars = ib.reqRealTimeBars(stock, 5, "MIDPOINT", False)
    await until(lambda: len(bars) > 0, "a live bar")
    scan = await ib.reqScannerDataAsync(ib_insync.ScannerSubscription(5, "STK", "STK.US.MAJOR", "MOST_ACTIVE"))
    assert [row.rank for row in scan] == [0, 1, 2, 3, 4]
    single = ib.reqPnLSingle(ib.managedAccounts()[0], "", stock.conId)
    await until(lambda: single.position == 0, "a position's profit and loss")
    ib.cancelMktDepth(stock, isSmartDepth=True)
    ib.cancelRealTimeBars(bars)
    ib.cancelMktData(stock)
    ib.cancelMktData(option)


async def past(ib: ib_insync.IB) -> None:
    """Bars of every kind, ticks, histogram, head, schedule."""
    [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("MSFT", "SMART", "USD"))
    for what in ("TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST", "HISTORICAL_VOLATILITY", "FEE_RATE"):
        bars = await ib.reqHistoricalDataAsync(stock, "", "1 D", "1 hour", what, useRTH=False)
        assert len(bars) >= 23, what
        assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars), what
    for size in ("30 secs", "3 mins", "15 mins", "2 hours", "1 day", "1 week", "1 month"):
        assert await ib.reqHistoricalDataAsync(stock, "", "1 D" if "sec" in size else "1 M", size, "TRADES", False), (
            size
        )
    end = datetime.now(UTC) - timedelta(hours=1)
    for what in ("TRADES", "BID_ASK", "MIDPOINT"):
        ticks = await ib.reqHistoricalTicksAsync(stock, "", end, 20, what, useRth=False)
        assert len(ticks) == 20 and all(each.time <= end for each in ticks), what
    assert await ib.reqHistogramDataAsync(stock, useRTH=False, period="3 days")
    head = await ib.reqHeadTimeStampAsync(stock, "TRADES", useRTH=False, formatDate=1)
    assert head.year < 2010
    schedule = await ib.reqHistoricalScheduleAsync(stock, 10)
    assert schedule.sessions and schedule.timeZone == "US/Eastern"


async def tables(ib: ib_insync.IB) -> None:
    """News, chains, calculations, components, parameters."""
    [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("SPY", "SMART", "USD"))
    [option] = await ib.qualifyContractsAsync(CALL)
    codes = "+".join(each.code for each in await ib.reqNewsProvidersAsync())
    found: Any = await ib.reqHistoricalNewsAsync(stock.conId, codes, "", "", 5)  # a list, not what is annotated
    assert len(found) == 5
    news = found[0]
    article = await ib.reqNewsArticleAsync(news.providerCode, news.articleId)
    assert article.articleText
    [smart, *_] = await ib.reqSecDefOptParamsAsync("SPY", "", "STK", stock.conId)
    assert 600.0 in smart.strikes and "20261218" in smart.expirations
    priced: Any = await ib.calculateOptionPriceAsync(option, 0.2, 600)
    assert priced.gamma > 0
    implied: Any = await ib.calculateImpliedVolatilityAsync(option, priced.optPrice, 600)
    assert implied.impliedVol == pytest.approx(0.2, abs=1e-4)
    assert await ib.reqSmartComponentsAsync("9c0001")
    assert await ib.reqMktDepthExchangesAsync()
    assert "TOP_PERC_GAIN" in await ib.reqScannerParametersAsync()
    await ib.reqUserInfoAsync()  # hands nothing on

"""Run the common scenario with unmodified ib_insync or ib_async, and print what came of it as one line of JSON.

`python scenario_ib.py ib_insync PORT`. Complaints are everything the library logs at warning level or above that it did
not get as an announced notice, and every exception; the caller fails on any.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from typing import Any

NAME, PORT = sys.argv[1], int(sys.argv[2])
CLIENT_ID = int(sys.argv[3]) if len(sys.argv) > 3 else 11
EXPECTED_ERRORS = {202, 2104, 2106, 2158, 10147, 10148, 200, 110}
ib_module: Any = importlib.import_module(NAME)


class Complaints(logging.Handler):
    """Collect what the library complains about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record unless it is an error that the scenario asked for."""
        text = record.getMessage()
        is_asked_for = text.startswith("Canceled order: ") or "API historical data query cancelled" in text
        if not is_asked_for and not any(
            text.startswith((f"Error {code},", f"Warning {code},")) for code in EXPECTED_ERRORS
        ):
            self.lines.append(f"{record.name}: {text} {record.exc_info or ''}")


async def until(condition: Any, what: str, timeout_s: float = 10.0) -> None:
    """Wait for a condition or fail with what was missing."""
    for _ in range(int(timeout_s / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not seen within {timeout_s} s: {what}")


async def run(result: dict[str, Any]) -> None:
    """Connect, trade, ask, and compare what the client knows."""
    ib = ib_module.IB()
    errors: list[tuple[int, int, str]] = []
    ib.errorEvent += lambda req_id, code, text, contract: errors.append((req_id, code, text))
    await ib.connectAsync("127.0.0.1", PORT, clientId=CLIENT_ID, timeout=8)
    result["version"] = ib.client.serverVersion()
    result["accounts"] = ib.managedAccounts()

    aapl = ib_module.Stock("AAPL", "SMART", "USD")
    [aapl] = await ib.qualifyContractsAsync(aapl)
    assert aapl.conId == 265598
    eurusd = ib_module.Forex("EURUSD")
    [eurusd] = await ib.qualifyContractsAsync(eurusd)
    details = await ib.reqContractDetailsAsync(aapl)
    assert details[0].minTick == 0.01 and details[0].longName == "APPLE INC"
    rule = await ib.reqMarketRuleAsync(int(details[0].marketRuleIds.split(",")[0]))
    assert rule[0].increment == 0.01
    samples = await ib.reqMatchingSymbolsAsync("MSFT")
    assert samples[0].contract.conId == 272093
    sap = await ib.reqContractDetailsAsync(ib_module.Stock("SAP", "SMART", ""))
    assert len(sap) == 2, "SAP is ambiguous without a currency"

    ticker = ib.reqMktData(aapl, "233")
    pair = ib.reqMktData(eurusd)
    await until(lambda: ticker.bid > 0 and ticker.ask > ticker.bid and ticker.last > 0, "quotes and trades")
    await until(lambda: pair.bid > 0 and pair.ask > pair.bid, "forex quotes")
    tape = ib.reqTickByTickData(aapl, "BidAsk")
    await until(lambda: tape.tickByTicks, "tick by tick")
    [snapshot] = await ib.reqTickersAsync(ib_module.Stock("MSFT", "SMART", "USD", conId=272093))
    assert snapshot.bid > 0

    bars = await ib.reqHistoricalDataAsync(aapl, "", "3600 S", "1 min", "TRADES", False)
    assert len(bars) >= 59 and all(bar.low <= bar.open <= bar.high for bar in bars)
    days = await ib.reqHistoricalDataAsync(aapl, "", "10 D", "1 day", "TRADES", True)
    assert len(days) >= 5
    head = await ib.reqHeadTimeStampAsync(aapl, "TRADES", False, 1)
    assert head
    live = ib.reqRealTimeBars(aapl, 5, "TRADES", False)
    kept = await ib.reqHistoricalDataAsync(
        aapl, "", f"{600 + CLIENT_ID} S", "5 secs", "TRADES", False, keepUpToDate=True
    )
    count = len(kept)
    await until(lambda: len(kept) > count, "a bar kept up to date", 12)
    await until(lambda: len(live) > 0, "a real-time bar", 12)
    ib.cancelHistoricalData(kept)
    ib.cancelRealTimeBars(live)

    # a market order
    market = ib.placeOrder(aapl, ib_module.MarketOrder("BUY", 100, orderRef="mkt"))
    await until(lambda: market.isDone() and market.fills and market.fills[-1].commissionReport.execId, "a fill")
    assert market.orderStatus.status == "Filled" and market.fills[0].execution.orderRef == "mkt"
    # partial fills: more than the market shows at once
    big = ib.placeOrder(aapl, ib_module.LimitOrder("BUY", 4000, round(ticker.ask + 5, 2), orderRef="big", tif="GTC"))
    await until(lambda: big.orderStatus.status == "Filled", "a large order in parts", 30)
    result["big_fills"] = len(big.fills)
    assert len(big.fills) > 1 and sum(fill.execution.shares for fill in big.fills) == 4000
    # a bracket, its change, its cancel
    entry, target, stop = ib.bracketOrder(
        "SELL", 50, round(ticker.ask + 20, 2), round(ticker.bid - 40, 2), round(ticker.ask + 60, 2)
    )
    entry.orderRef, target.orderRef, stop.orderRef = "entry", "target", "stop"
    trades = [ib.placeOrder(aapl, order) for order in (entry, target, stop)]
    await until(
        lambda: [trade.orderStatus.status for trade in trades] == ["Submitted", "PreSubmitted", "PreSubmitted"],
        "a working bracket",
    )
    entry.lmtPrice = round(entry.lmtPrice + 1, 2)
    entry.transmit = True
    ib.placeOrder(aapl, entry)
    await until(lambda: any(log.message == "Modified" for log in trades[0].log) or trades[0].log[-1], "a change")
    opened = await ib.reqAllOpenOrdersAsync()
    assert len(opened) >= 3
    result["entry_price"] = {trade.order.orderRef: trade.order.lmtPrice for trade in opened}["entry"] == entry.lmtPrice
    ib.cancelOrder(entry)
    await until(lambda: all(trade.orderStatus.status == "Cancelled" for trade in trades), "a cancelled bracket")
    # stop and stop limit orders
    held = ib.placeOrder(aapl, ib_module.StopLimitOrder("BUY", 10, 900, 890, orderRef="held"))
    await until(lambda: held.orderStatus.status == "PreSubmitted", "a held stop limit")
    ib.cancelOrder(held.order)
    await until(lambda: held.orderStatus.status == "Cancelled", "a cancelled stop limit")
    # refusals
    bad = ib.placeOrder(aapl, ib_module.LimitOrder("BUY", 1, 100.001, orderRef="bad"))
    await until(lambda: any(code == 110 for _, code, _ in errors), "error 110")
    nowhere = ib.placeOrder(ib_module.Stock("NOSUCH", "SMART", "USD"), ib_module.MarketOrder("BUY", 1))
    await until(lambda: any(code == 200 for _, code, _ in errors), "error 200")
    assert not bad.fills and not nowhere.fills
    # what-if
    state = await ib.whatIfOrderAsync(aapl, ib_module.MarketOrder("BUY", 100))
    assert float(state.initMarginChange) > 0

    fills = await ib.reqExecutionsAsync()
    result["executions"] = len(fills)
    assert {fill.execution.orderRef for fill in fills} >= {"mkt", "big"}
    completed = await ib.reqCompletedOrdersAsync(False)
    result["completed"] = len(completed)
    assert len(completed) >= 6
    positions = await ib.reqPositionsAsync()
    result["position"] = {position.contract.symbol: position.position for position in positions}
    opened = await ib.reqAllOpenOrdersAsync()
    executed: dict[str, float] = {}
    for fill in fills:
        executed[fill.execution.orderRef] = executed.get(fill.execution.orderRef, 0) + fill.execution.shares
    result["final"] = {
        "completed": {each.order.orderRef: [each.orderStatus.status, each.order.filledQuantity] for each in completed},
        "executed": executed,
        "open": sorted(trade.order.orderRef for trade in opened),
        "position": result["position"],
        "changed_price_was_seen": result.pop("entry_price"),
    }
    values = {value.tag: value.value for value in ib.accountValues() if value.currency == "USD"}
    assert float(values["NetLiquidation"]) > 0 and float(values["BuyingPower"]) > 0
    summary = await ib.accountSummaryAsync()
    assert any(value.tag == "NetLiquidation" for value in summary)
    profit = ib.reqPnL(result["accounts"][0])
    await until(lambda: profit.dailyPnL == profit.dailyPnL, "profit and loss")
    assert await ib.reqCurrentTimeAsync()
    ib.cancelMktData(aapl)
    ib.cancelTickByTickData(aapl, "BidAsk")
    await asyncio.sleep(0.1)
    result["errors"] = sorted({code for _, code, _ in errors})
    ib.disconnect()
    await asyncio.sleep(0.1)


def main() -> int:
    """Run and report."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    result: dict[str, Any] = {"client": NAME}
    try:
        asyncio.run(run(result))
    except Exception as e:
        result["failed"] = f"{type(e).__name__}: {e}"
    result["complaints"] = complaints.lines
    print(json.dumps(result))
    return 1 if complaints.lines or "failed" in result else 0


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    sys.exit(main())

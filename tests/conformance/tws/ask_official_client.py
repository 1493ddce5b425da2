"""Let the official client send every request it can; in a process of its own.

`python ask_official_client.py VERSION...`; stdout: one JSON line per request: [name, server version, frame in hex].
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from typing import Any

from ibapi.client import EClient
from ibapi.contract import ComboLeg, Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.order_cancel import OrderCancel
from ibapi.scanner import ScannerSubscription
from ibapi.tag_value import TagValue
from ibapi.wrapper import EWrapper


class Wire:
    """Stands where the socket stands."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendMsg(self, msg: bytes) -> int:  # noqa: N802 -- its name
        """Remember the frame."""
        self.sent.append(msg)
        return len(msg)

    def isConnected(self) -> bool:  # noqa: N802 -- its name
        """Say yes."""
        return True


def main() -> None:
    """Send requests."""
    for version in map(int, sys.argv[1:]):
        for name, frame in requests(version):
            print(json.dumps([name, version, frame.hex()]))


def requests(version: int) -> list[tuple[str, bytes]]:
    """Return every request the client can send, as frames."""
    client = EClient(EWrapper())
    wire = Wire()
    client.conn = wire
    client.serverVersion_ = version
    client.connState = EClient.CONNECTED
    client.clientId = 3
    client.optCapab = ""
    stock = Contract()
    stock.symbol, stock.secType, stock.exchange, stock.currency = "AAPL", "STK", "SMART", "USD"
    bag = Contract()
    bag.symbol, bag.secType, bag.exchange, bag.currency = "SPY", "BAG", "SMART", "USD"
    leg = ComboLeg()
    leg.conId, leg.ratio, leg.action, leg.exchange = 1, 1, "BUY", "SMART"
    bag.comboLegs = [leg]
    limit = Order()
    limit.action, limit.totalQuantity, limit.orderType, limit.lmtPrice = "BUY", Decimal(100), "LMT", 10.25
    limit.tif, limit.orderRef = "DAY", "ref"
    rich = Order()
    rich.action, rich.totalQuantity, rich.orderType = "SELL", Decimal("0.5"), "PEG BENCH"
    rich.algoStrategy, rich.algoParams = "Adaptive", [TagValue("adaptivePriority", "Normal")]
    rich.hedgeType, rich.hedgeParam, rich.scalePriceIncrement = "D", "1", 0.5
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("startApi", ()),
        ("reqIds", (1,)),
        ("placeOrder", (7, stock, limit)),
        ("placeOrder", (8, bag, rich)),
        ("cancelOrder", (7, OrderCancel())),
        ("reqOpenOrders", ()),
        ("reqAllOpenOrders", ()),
        ("reqAutoOpenOrders", (True,)),
        ("reqGlobalCancel", (OrderCancel(),)),
        ("reqExecutions", (1, ExecutionFilter())),
        ("exerciseOptions", (1, stock, 1, 3, "DUSIM1", 0, "", "", False)),
        ("reqCompletedOrders", (False,)),
        ("reqMktData", (1, stock, "233", False, False, [])),
        ("reqMktData", (1, bag, "", False, False, [])),
        ("cancelMktData", (1,)),
        ("reqMarketDataType", (3,)),
        ("reqTickByTickData", (1, stock, "Last", 0, True)),
        ("cancelTickByTickData", (1,)),
        ("reqAccountUpdates", (True, "DUSIM1")),
        ("reqAccountSummary", (1, "All", "NetLiquidation")),
        ("cancelAccountSummary", (1,)),
        ("reqPositions", ()),
        ("cancelPositions", ()),
        ("reqPositionsMulti", (1, "DUSIM1", "")),
        ("cancelPositionsMulti", (1,)),
        ("reqAccountUpdatesMulti", (1, "DUSIM1", "", True)),
        ("cancelAccountUpdatesMulti", (1,)),
        ("reqPnL", (1, "DUSIM1", "")),
        ("cancelPnL", (1,)),
        ("reqPnLSingle", (1, "DUSIM1", "", 265598)),
        ("cancelPnLSingle", (1,)),
        ("reqContractDetails", (1, stock)),
        ("reqMktDepthExchanges", ()),
        ("reqMktDepth", (1, stock, 5, True, [])),
        ("cancelMktDepth", (1, True)),
        ("reqNewsBulletins", (True,)),
        ("cancelNewsBulletins", ()),
        ("reqManagedAccts", ()),
        ("requestFA", (1,)),
        ("replaceFA", (1, 1, "<xml/>")),
        ("reqHistoricalData", (1, stock, "", "1 D", "1 min", "TRADES", 1, 1, False, [])),
        ("reqHistoricalData", (1, bag, "", "1 D", "1 min", "TRADES", 1, 1, True, [])),
        ("cancelHistoricalData", (1,)),
        ("reqHeadTimeStamp", (1, stock, "TRADES", 1, 1)),
        ("cancelHeadTimeStamp", (1,)),
        ("reqHistogramData", (1, stock, True, "3 days")),
        ("cancelHistogramData", (1,)),
        ("reqHistoricalTicks", (1, stock, "", "", 10, "TRADES", 1, False, [])),
        ("reqScannerParameters", ()),
        ("reqScannerSubscription", (1, ScannerSubscription(), [], [])),
        ("cancelScannerSubscription", (1,)),
        ("reqRealTimeBars", (1, stock, 5, "TRADES", False, [])),
        ("cancelRealTimeBars", (1,)),
        ("reqNewsProviders", ()),
        ("reqNewsArticle", (1, "BRFG", "BRFG$1", [])),
        ("reqHistoricalNews", (1, 265598, "BRFG", "", "", 10, [])),
        ("queryDisplayGroups", (1,)),
        ("subscribeToGroupEvents", (1, 1)),
        ("updateDisplayGroup", (1, "none")),
        ("unsubscribeFromGroupEvents", (1,)),
        ("reqSecDefOptParams", (1, "SPY", "", "STK", 756733)),
        ("reqSoftDollarTiers", (1,)),
        ("reqFamilyCodes", ()),
        ("reqMatchingSymbols", (1, "AAP")),
        ("reqCurrentTime", ()),
        ("reqCurrentTimeInMillis", ()),
        ("reqMarketRule", (26,)),
        ("reqSmartComponents", (1, "9c0001")),
        ("calculateImpliedVolatility", (1, stock, 1.5, 10.0, [])),
        ("calculateOptionPrice", (1, stock, 0.5, 10.0, [])),
        ("setServerLogLevel", (5,)),
    ]
    if version >= 200:
        days = ExecutionFilter()
        days.lastNDays, days.specificDates = 3, [20261124, 20261125]
        calls.append(("reqExecutions", (1, days)))
    if version >= 199:
        rich.customerAccount, rich.professionalCustomer, rich.includeOvernight = "CUST", True, True
        rich.manualOrderIndicator, rich.imbalanceOnly = 1, True
    frames = []
    for name, args in calls:
        wire.sent.clear()
        getattr(client, name)(*args)
        if wire.sent:  # nothing if this version does not have it
            frames.append((name, wire.sent[0]))
    return frames


if __name__ == "__main__":
    main()

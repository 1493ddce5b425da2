"""Run the common scenario with the official client (`ibapi-latest`, or `ibapi` 9.81), and print what came of it.

`python scenario_ibapi.py PORT CLIENT_ID`. The official client is strict: a message with a surplus or missing field is
logged or ends its reader, so any log line at error level and any 5xx error of its own is a complaint.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from decimal import Decimal
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.order import Order
from ibapi.wrapper import EWrapper

PORT, CLIENT_ID = int(sys.argv[1]), int(sys.argv[2])
IS_OLD = not hasattr(Order(), "advancedErrorOverride")
if not IS_OLD:
    from ibapi.execution import ExecutionFilter
    from ibapi.order_cancel import OrderCancel
else:
    from ibapi.execution import ExecutionFilter
EXPECTED = {202, 2104, 2106, 2158, 110, 200, 10148, 10147, 162}


class Complaints(logging.Handler):
    """Collect what the library logs at error level."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        text = record.getMessage()
        if not text.startswith(("ERROR ", "ANSWER ")) and "no fundamental" not in text:
            self.lines.append(f"{record.name}: {text}")


class App(EWrapper, EClient):
    """Keep everything that comes, by kind."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.seen: dict[str, list[Any]] = {}
        self.errors: list[tuple[int, int, str]] = []

    def note(self, kind: str, *values: Any) -> None:
        """Remember one callback."""
        self.seen.setdefault(kind, []).append(values)

    def error(self, *args: Any) -> None:
        """Remember an error, whatever this version's signature."""
        numbers = [arg for arg in args if isinstance(arg, int)]
        texts = [arg for arg in args if isinstance(arg, str)]
        code = numbers[-1]
        self.errors.append((numbers[0], code, texts[0] if texts else ""))


def _recorder(name: str) -> Any:
    def record(self: App, *args: Any, **kwargs: Any) -> None:
        self.note(name, *args, *kwargs.values())

    return record


for _name in (
    "nextValidId", "managedAccounts", "contractDetails", "contractDetailsEnd", "tickPrice", "tickSize", "tickString",
    "tickByTickBidAsk", "historicalData", "historicalDataEnd", "historicalDataUpdate", "realtimeBar", "openOrder",
    "openOrderEnd", "orderStatus", "execDetails", "execDetailsEnd", "completedOrder", "completedOrdersEnd", "position",
    "positionEnd", "updateAccountValue", "accountDownloadEnd", "accountSummary", "accountSummaryEnd", "pnl",
    "currentTime", "symbolSamples", "marketRule", "headTimestamp", "marketDataType", "tickReqParams",
    "commissionReport",
    "commissionAndFeesReport", "updatePortfolio",
):  # fmt: skip
    setattr(App, _name, _recorder(_name))


def stock(symbol: str) -> Contract:
    """Return a US stock."""
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = symbol, "STK", "SMART", "USD"
    return contract


def order(
    ref: str, action: str, quantity: int, kind: str, limit: float | None = None, stop: float | None = None
) -> Order:
    """Return an order with a reference."""
    made = Order()
    made.action, made.orderType = action, kind
    made.totalQuantity = quantity if IS_OLD else Decimal(quantity)
    made.eTradeOnly = made.firmQuoteOnly = False
    if limit is not None:
        made.lmtPrice = limit
    if stop is not None:
        made.auxPrice = stop
    made.orderRef = ref
    return made


def cancel(app: App, order_id: int) -> None:
    """Cancel an order, whatever this version's signature."""
    app.cancelOrder(order_id) if IS_OLD else app.cancelOrder(order_id, OrderCancel())


def until(condition: Any, what: str, timeout_s: float = 15.0) -> None:
    """Wait for a condition or fail."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not seen within {timeout_s} s: {what}")


def run(app: App, result: dict[str, Any]) -> None:
    """Connect, trade, ask."""
    seen = app.seen
    app.connect("127.0.0.1", PORT, CLIENT_ID)
    threading.Thread(target=app.run, daemon=True).start()
    until(lambda: "nextValidId" in seen and "managedAccounts" in seen, "nextValidId and managedAccounts")
    result["version"] = app.serverVersion()
    account = seen["managedAccounts"][0][0].strip(",")
    number = seen["nextValidId"][0][0]
    aapl = stock("AAPL")
    app.reqContractDetails(1001, aapl)
    until(lambda: "contractDetailsEnd" in seen, "contract details")
    details = seen["contractDetails"][0][1]
    assert details.contract.conId == 265598 and details.longName == "APPLE INC", details
    app.reqMarketRule(26)
    app.reqMatchingSymbols(1002, "MSFT")
    app.reqHeadTimeStamp(1003, aapl, "TRADES", 0, 1)
    until(lambda: {"marketRule", "symbolSamples", "headTimestamp"} <= set(seen), "reference data")
    app.reqMktData(1004, aapl, "", False, False, [])
    until(lambda: len(seen.get("tickPrice", [])) > 4 and "tickString" in seen, "ticks")
    app.reqTickByTickData(1005, aapl, "BidAsk", 0, False)
    until(lambda: "tickByTickBidAsk" in seen, "tick by tick")
    app.reqHistoricalData(1006, aapl, "", "3600 S", "1 min", "TRADES", 0, 1, False, [])
    app.reqRealTimeBars(1007, aapl, 5, "TRADES", False, [])
    until(lambda: len(seen.get("historicalData", [])) >= 59, "historical bars")
    until(lambda: "historicalDataEnd" in seen, "the end of the bars")
    until(lambda: "realtimeBar" in seen, "a real-time bar")
    ask = next(values[2] for values in reversed(seen["tickPrice"]) if values[1] == 2)
    bid = next(values[2] for values in reversed(seen["tickPrice"]) if values[1] == 1)

    def statuses(order_id: int) -> list[str]:
        return [values[1] for values in seen.get("orderStatus", []) if values[0] == order_id]

    app.placeOrder(number, aapl, order("mkt", "BUY", 100, "MKT"))
    until(lambda: "Filled" in statuses(number), "a filled market order")
    until(lambda: "commissionReport" in seen or "commissionAndFeesReport" in seen, "a commission report")
    big = number + 1
    app.placeOrder(big, aapl, order("big", "BUY", 4000, "LMT", round(ask + 5, 2)))
    until(lambda: "Filled" in statuses(big), "a large order in parts", 30)
    shares = sum(float(values[2].shares) for values in seen["execDetails"] if values[2].orderId == big)
    assert shares == 4000, shares
    parent, target, stop = number + 2, number + 3, number + 4
    entry = order("entry", "SELL", 50, "LMT", round(ask + 20, 2))
    entry.transmit = False
    take = order("target", "BUY", 50, "LMT", round(bid - 40, 2))
    take.parentId, take.transmit = parent, False
    loss = order("stop", "BUY", 50, "STP", stop=round(ask + 60, 2))
    loss.parentId = parent
    for number_, each in ((parent, entry), (target, take), (stop, loss)):
        app.placeOrder(number_, aapl, each)
    until(lambda: "Submitted" in statuses(parent) and statuses(stop)[-1:] == ["PreSubmitted"], "a working bracket")
    entry.lmtPrice, entry.transmit = round(entry.lmtPrice + 1, 2), True
    changes = len(seen["openOrder"])
    app.placeOrder(parent, aapl, entry)
    until(lambda: len(seen["openOrder"]) > changes, "a change")
    prices = [values[2].lmtPrice for values in seen["openOrder"] if values[0] == parent]
    changed_price_was_seen = prices[-1] == entry.lmtPrice
    cancel(app, parent)
    until(lambda: all(statuses(each)[-1] == "Cancelled" for each in (parent, target, stop)), "a cancelled bracket")
    held = number + 5
    app.placeOrder(held, aapl, order("held", "BUY", 10, "STP LMT", 900, 890))
    until(lambda: statuses(held)[-1:] == ["PreSubmitted"], "a held stop limit")
    cancel(app, held)
    until(lambda: statuses(held)[-1:] == ["Cancelled"], "a cancelled stop limit")
    what_if = order("what-if", "BUY", 100, "MKT")
    what_if.whatIf = True
    app.placeOrder(number + 6, aapl, what_if)
    until(
        lambda: any(values[2].whatIf and float(values[3].initMarginChange) > 0 for values in seen["openOrder"]),
        "margins",
    )
    app.placeOrder(number + 7, aapl, order("bad", "BUY", 1, "LMT", 100.001))
    until(lambda: any(code == 110 for _, code, _ in app.errors), "error 110")
    opened_before = len(seen["openOrder"])
    app.reqAllOpenOrders()
    app.reqExecutions(1008, ExecutionFilter())
    app.reqCompletedOrders(False)
    app.reqPositions()
    app.reqAccountUpdates(True, account)
    app.reqAccountSummary(1009, "All", "NetLiquidation,BuyingPower")
    app.reqPnL(1010, account, "")
    app.reqCurrentTime()
    ends = {"openOrderEnd", "execDetailsEnd", "completedOrdersEnd", "positionEnd", "accountDownloadEnd", "currentTime",
            "accountSummaryEnd", "pnl"}  # fmt: skip
    until(lambda: ends <= set(seen), f"all end markers, missing {ends - set(seen)}")
    result["executions"] = sum(1 for values in seen["execDetails"] if values[0] == 1008)
    result["completed"] = len(seen["completedOrder"])
    executed: dict[str, float] = {}
    for values in seen["execDetails"]:
        if values[0] == 1008:
            executed[values[2].orderRef] = executed.get(values[2].orderRef, 0) + float(values[2].shares)
    result["position"] = {values[1].symbol: float(values[2]) for values in seen["position"]}
    result["final"] = {
        "completed": {
            each.orderRef: [state.status, float(each.filledQuantity)] for _, each, state in seen["completedOrder"]
        },
        "executed": executed,
        "open": sorted(values[2].orderRef for values in seen["openOrder"][opened_before:]),
        "position": result["position"],
        "changed_price_was_seen": changed_price_was_seen,
    }
    result["errors"] = sorted({code for _, code, _ in app.errors})
    unexpected = [each for each in app.errors if each[1] not in EXPECTED]
    assert not unexpected, unexpected


def main() -> int:
    """Run and report."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    result: dict[str, Any] = {"client": "ibapi"}
    app = App()
    try:
        run(app, result)
    except Exception as e:
        result["failed"] = f"{type(e).__name__}: {e}; errors {app.errors[-5:]}"
    finally:
        app.disconnect()  # its reader would keep the process alive
    result["complaints"] = complaints.lines
    print(json.dumps(result))
    return 1 if complaints.lines or "failed" in result else 0


if __name__ == "__main__":
    sys.exit(main())

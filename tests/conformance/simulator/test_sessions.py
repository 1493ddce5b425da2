"""What a login and its switches mean for clients, seen with ib_insync: accounts, client ids, read-only, permissions."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import ib_insync
import pytest

from tests.conformance.simulator.conftest import RunningSimulator, Simulators

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]
ACCOUNTS = ["DU1111111", "DU2222222"]


@asynccontextmanager
async def client(simulator: RunningSimulator, number: int) -> AsyncIterator[tuple[ib_insync.IB, list[tuple[int, int]]]]:
    """Connect ib_insync, and collect its errors as (request id, code)."""
    ib = ib_insync.IB()
    errors: list[tuple[int, int]] = []
    ib.errorEvent += lambda req_id, code, *_: errors.append((req_id, code))
    await ib.connectAsync("127.0.0.1", simulator.port, clientId=number, timeout=8)
    try:
        yield ib, errors
    finally:
        ib.disconnect()
        await asyncio.sleep(0.05)


async def until(condition: Callable[[], Any], what: str) -> None:
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"not seen: {what}")


def inject(simulator: RunningSimulator, name: str, **parameters: Any) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{simulator.control_port}/faults/{name}", json.dumps(parameters).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["ok"]


async def test_a_login_with_two_accounts(simulators: Simulators) -> None:
    simulator = simulators.start(SIM_ACCOUNTS=",".join(ACCOUNTS))
    async with client(simulator, 5) as (ib, errors):
        assert ib.managedAccounts() == ACCOUNTS
        [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("MSFT", "SMART", "USD"))
        for account, quantity in zip(ACCOUNTS, (10, 30), strict=True):
            trade = ib.placeOrder(stock, ib_insync.MarketOrder("BUY", quantity, account=account))
            await until(trade.isDone, f"a fill in {account}")
            assert trade.fills[0].execution.acctNumber == account
        without = ib.placeOrder(stock, ib_insync.MarketOrder("BUY", 1))
        await until(lambda: any(each[0] == without.order.orderId for each in errors), "a refusal without an account")
        held = {each.account: each.position for each in await ib.reqPositionsAsync()}
        assert held == {ACCOUNTS[0]: 10, ACCOUNTS[1]: 30}
        summary = await ib.accountSummaryAsync()
        assert {each.account for each in summary if each.tag == "NetLiquidation"} == set(ACCOUNTS)


async def test_client_ids(simulators: Simulators) -> None:
    simulator = simulators.start(SIM_MASTER_CLIENT_ID="99")
    async with client(simulator, 5) as (ib, _), client(simulator, 99) as (master, _):
        [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("MSFT", "SMART", "USD"))
        twin = ib_insync.IB()
        seen: list[int] = []
        twin.errorEvent += lambda _, code, *__: seen.append(code)
        with pytest.raises((TimeoutError, ConnectionError)):
            await twin.connectAsync("127.0.0.1", simulator.port, clientId=5, timeout=2)
        assert 326 in seen and ib.isConnected()
        trade = ib.placeOrder(stock, ib_insync.LimitOrder("BUY", 10, 10, orderRef="seen by the master"))
        await until(lambda: master.openTrades(), "the order at the master client")
        assert master.openTrades()[0].order.orderRef == "seen by the master"
        master.cancelOrder(master.openTrades()[0].order)  # a view, not control
        await asyncio.sleep(0.3)
        assert not trade.isDone()
        used = trade.order.orderId
    async with client(simulator, 5) as (again, _):
        assert again.client.getReqId() > used
        assert [each.order.orderRef for each in again.openTrades()] == ["seen by the master"]


async def test_client_0_and_orders_by_hand(simulators: Simulators) -> None:
    simulator = simulators.start()
    async with client(simulator, 0) as (ib, _):
        inject(simulator, "manual_order", symbol="AAPL", action="SELL", order_type="LMT", limit="900.00", quantity="10")
        await until(lambda: ib.openTrades(), "the order by hand")
        [trade] = ib.openTrades()
        assert trade.order.orderId < 0  # ib_insync asks for the binding of future orders by itself
        ib.cancelOrder(trade.order)
        await until(trade.isDone, "its cancel")


async def test_a_read_only_api(simulators: Simulators) -> None:
    simulator = simulators.start(SIM_READ_ONLY="true")
    async with client(simulator, 5) as (ib, errors):
        [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("MSFT", "SMART", "USD"))
        trade = ib.placeOrder(stock, ib_insync.MarketOrder("BUY", 10))
        await until(lambda: (trade.order.orderId, 321) in errors, "error 321")
        assert not trade.fills and ib.positions() == []


async def test_delayed_data(simulators: Simulators) -> None:
    simulator = simulators.start(SIM_DATA="delayed")
    async with client(simulator, 5) as (ib, errors):
        [stock] = await ib.qualifyContractsAsync(ib_insync.Stock("MSFT", "SMART", "USD"))
        ib.reqMktData(stock)
        await until(lambda: any(code == 354 for _, code in errors), "error 354")
        ib.reqMarketDataType(3)
        ticker = ib.reqMktData(ib_insync.Stock("AAPL", "SMART", "USD"))
        await until(lambda: ticker.bid > 0 and ticker.marketDataType == 3, "delayed quotes")
        assert any(code == 10167 for _, code in errors)


async def test_thirty_two_clients(simulators: Simulators) -> None:
    simulator = simulators.start()
    clients = [ib_insync.Client(_Silent()) for _ in range(33)]
    codes: list[int] = []
    clients[32].wrapper.error = lambda _, code, *__: codes.append(code)
    try:
        for number, each in enumerate(clients[:32]):
            await each.connectAsync("127.0.0.1", simulator.port, number + 1, 5)
        with pytest.raises((TimeoutError, ConnectionError)):
            await clients[32].connectAsync("127.0.0.1", simulator.port, 100, 2)
        assert codes == [326] and all(each.isReady() for each in clients[:32])
    finally:
        for each in clients:
            each.disconnect()
        await asyncio.sleep(0.1)


class _Silent:
    """Take every callback and do nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

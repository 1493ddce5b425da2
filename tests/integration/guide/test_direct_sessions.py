"""Direct sessions with a simulated TWS: what they may do, what they say when it goes wrong, and that they come back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot_quant.brokers.connection_manager import IBKRConnectionManager
from shared.errors import BadInput, BrokerUnavailable, Refused
from tests.integration.guide.conftest import Exchange
from tests.support import ROOT, clean_environment, eventually_sync, free_port

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@pytest.fixture
def tws(paper: Exchange, monkeypatch: pytest.MonkeyPatch) -> Exchange:
    for name, value in paper.env.items():
        monkeypatch.setenv(name, value)
    return paper


@pytest.fixture
def manager(tws: Exchange) -> Iterator[IBKRConnectionManager]:
    one = IBKRConnectionManager(paper_trading=True)
    assert one.connect(), one.last_error
    yield one
    one.disconnect()


def test_a_session_reads_everything(manager: IBKRConnectionManager) -> None:
    from ib_insync import Stock

    ib = manager.get_ib()
    assert ib.managedAccounts() == ["DUB267514"] and ib.isConnected()
    assert {"NetLiquidation", "TotalCashValue"} <= {item.tag for item in ib.accountSummary()}
    (found,) = ib.reqContractDetails(Stock("AAPL", "SMART", "USD"))
    assert len(ib.reqHistoricalData(found.contract, "", "10 D", "1 day", "TRADES", True)) > 4
    status = manager.status()
    assert status["connected"] and status["mode"] == "paper"
    assert status["via"] == "direct"  # no system runs here
    assert status["client_id"] >= 11 and status["accounts"] == ["DUB267514"]
    assert manager.health()["healthy"] is True
    with pytest.raises(BadInput, match="connection manager"):
        ib.connect()


@pytest.mark.parametrize("deep", [False, True])
def test_orders_are_refused_with_the_name_of_who_takes_them(manager: IBKRConnectionManager, deep: bool) -> None:
    from ib_insync import MarketOrder, Stock

    ib, stock = manager.get_ib(), Stock("AAPL", "SMART", "USD")
    target = ib.client if deep else ib
    order = (77, stock, MarketOrder("BUY", 1)) if deep else (stock, MarketOrder("BUY", 1))
    with pytest.raises(Refused, match="IBKRBroker"):
        target.placeOrder(*order)
    with pytest.raises(Refused, match="IBKRBroker"):
        target.reqGlobalCancel()
    with pytest.raises(Refused, match="IBKRBroker"):
        target.cancelOrder(1)
    assert ib.reqAllOpenOrders() == []


def test_asking_what_an_order_would_cost_is_looking(manager: IBKRConnectionManager) -> None:
    from ib_insync import MarketOrder, Stock

    ib = manager.get_ib()
    (found,) = ib.reqContractDetails(Stock("AAPL", "SMART", "USD"))
    assert float(ib.whatIfOrder(found.contract, MarketOrder("BUY", 1)).initMarginChange) > 0


def test_who_asks_for_raw_orders_may_send_them(tws: Exchange) -> None:
    from ib_insync import LimitOrder, Stock

    with IBKRConnectionManager(paper_trading=True, allow_raw_orders=True) as raw:
        ib = raw.get_ib()
        (found,) = ib.reqContractDetails(Stock("AAPL", "SMART", "USD"))
        trade = ib.placeOrder(found.contract, LimitOrder("BUY", 1, 1.0))
        eventually_sync(lambda: trade.orderStatus.status == "Submitted", 5)
        ib.cancelOrder(trade.order)
        eventually_sync(lambda: trade.orderStatus.status == "Cancelled", 5)


async def test_it_works_where_a_loop_runs_already(tws: Exchange) -> None:
    """As in a notebook's cell."""
    with IBKRConnectionManager(paper_trading=True) as manager:
        ib = manager.get_ib()
        assert ib.positions() == []
        assert await asyncio.wait_for(ib.reqCurrentTimeAsync(), 5) is not None


def test_two_managers_take_two_ids_and_an_id_in_use_is_said_at_once(manager: IBKRConnectionManager) -> None:
    taken = manager.status()["client_id"]
    with IBKRConnectionManager(paper_trading=True) as other:
        assert other.status()["client_id"] not in (taken, 101)
    third = IBKRConnectionManager(paper_trading=True, client_id=taken)
    assert third.connect() is False
    assert f"client id {taken} is in use" in third.last_error and "another client_id" in third.last_error
    assert f"process {os.getpid()}" in third.last_error  # the holder is one of ours, so it is named
    with pytest.raises(BrokerUnavailable, match="in use"):
        third.get_ib()


def test_nobody_there_is_false_with_what_to_do(tws: Exchange) -> None:
    nobody = IBKRConnectionManager(paper_trading=True, port=free_port())
    assert nobody.connect() is False and nobody.is_connected() is False
    assert "nothing answers" in nobody.last_error and "Enable ActiveX" in nobody.last_error
    with pytest.raises(BrokerUnavailable, match="nothing answers"), nobody:
        pass
    assert nobody.health()["healthy"] is False


def test_a_login_with_another_account_is_left(tws: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_PAPER_ACCOUNT", "DU999999")
    wrong = IBKRConnectionManager(paper_trading=True)
    assert wrong.connect() is False and "IB_PAPER_ACCOUNT" in wrong.last_error
    assert not wrong.is_connected()


def test_a_live_flag_on_a_paper_port_is_refused(tws: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_LIVE_ACCOUNT", "U1234567")
    wrong = IBKRConnectionManager(paper_trading=False, port=tws.port)
    assert wrong.connect() is False and "U1234567" in wrong.last_error


def test_the_example_prints_what_the_guide_promises(tws: Exchange, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("example")
    command = [sys.executable, str(ROOT / "examples" / "test_ibkr_connection.py")]
    done = subprocess.run(
        command, cwd=folder, env=clean_environment(tws.env), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "✓ Connected successfully!\n✓ Account Balance: $1,000,000.00 (paper money)\n✓ Connection test passed\n"
    )
    assert (folder / "ibkr.log").read_text()


def test_the_examples_run_where_only_the_packages_were_installed(
    tws: Exchange, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As after `pip install -r requirements.txt`, which does not install this project: also what they start."""
    folder = tmp_path_factory.mktemp("packages-only")
    env = {**clean_environment(tws.env), "PYTHONPATH": sysconfig.get_path("purelib")}
    python = str(Path(sys.executable).resolve())
    for words, expected in (
        (["-c", "import copilot_quant"], "No module named 'copilot_quant'"),
        ([str(ROOT / "examples" / "test_ibkr_connection.py")], "✓ Connection test passed"),
        ([str(ROOT / "examples" / "ibkr_live_data_example.py"), "AAPL"], "AAPL"),
    ):
        done = subprocess.run([python, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=110)
        assert expected in done.stdout + done.stderr, (words, done.stdout, done.stderr)
        assert (done.returncode == 0) == words[0].endswith(".py"), done.stderr


def test_the_example_says_what_is_wrong(tmp_path_factory: pytest.TempPathFactory) -> None:
    command = [sys.executable, str(ROOT / "examples" / "test_ibkr_connection.py")]
    env = clean_environment({"IB_PAPER_ACCOUNT": "DUB267514", "IB_PAPER_PORT": str(free_port())})
    folder = tmp_path_factory.mktemp("example")
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "nothing answers" in done.stdout and "Traceback" not in done.stderr


def test_a_lost_session_is_opened_again_and_told(tws: Exchange) -> None:
    """Last in this file: its exchange starts again."""
    told: list[str] = []
    manager = IBKRConnectionManager(
        paper_trading=True, on_connect=lambda: told.append("on"), on_disconnect=lambda: told.append("off")
    )
    assert manager.connect()
    ib = manager.get_ib()
    tws.kill()
    eventually_sync(lambda: told == ["on", "off"], 10)
    assert not manager.is_connected()
    tws.start()
    eventually_sync(lambda: told == ["on", "off", "on"], 30)
    assert ib.managedAccounts() == ["DUB267514"] and manager.status()["reconnects"] == 1
    manager.disconnect()
    assert not manager.is_connected()

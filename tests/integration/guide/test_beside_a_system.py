"""What the guide's classes do beside a system that runs: sessions for looking go through its guard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot_quant.background import BACKGROUND
from copilot_quant.brokers.connection_manager import IBKRConnectionManager
from shared.errors import Refused
from tests.integration.guide.conftest import Exchange
from tests.support import Spawner

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def system(module_spawn: Spawner, folder: Path, paper: Exchange) -> None:
    (folder / "none.toml").write_text("")
    words = ["up", "--gateways", "1", "--workers", "1", "--strategies", str(folder / "none.toml")]
    up = module_spawn.command([sys.executable, "-m", "copilot_quant.cli", *words], env=paper.env, name="up")
    up.wait_for_output("status page", 90)


@pytest.fixture
def here(system: None, paper: Exchange, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in paper.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


@pytest.fixture
def manager(here: None) -> Iterator[IBKRConnectionManager]:
    one = IBKRConnectionManager(paper_trading=True)
    assert one.connect(), one.last_error
    yield one
    one.disconnect()


def test_a_session_goes_through_the_guard_and_reads(manager: IBKRConnectionManager, paper: Exchange) -> None:
    status = manager.status()
    assert (status["via"], status["accounts"]) == ("guard", ["DUB267514"]) and status["port"] != paper.port
    ib = manager.get_ib()
    assert "NetLiquidation" in {item.tag for item in ib.accountSummary()}
    assert ib.positions() == [] and manager.health()["healthy"]


def test_the_guard_refuses_what_slips_past_our_class(manager: IBKRConnectionManager) -> None:
    """The bytes of an order, sent as the library would: nothing reaches the broker."""
    from ib_insync.client import Client

    ib = manager.get_ib()
    codes: list[int] = []
    ib.errorEvent += lambda req_id, code, text, contract: codes.append(code)

    async def slip_past() -> None:
        Client.reqGlobalCancel(ib.client)

    BACKGROUND.run(slip_past(), limit_s=5)
    ib.sleep(1.0)
    assert 321 in codes, codes
    assert ib.reqAllOpenOrders() == []


def test_what_only_the_gateway_may_ask_is_refused_with_where_to_ask(manager: IBKRConnectionManager) -> None:
    from ib_insync import MarketOrder, Stock

    ib = manager.get_ib()
    (found,) = ib.reqContractDetails(Stock("AAPL", "SMART", "USD"))
    with pytest.raises(Refused, match="--what-if"):
        ib.whatIfOrder(found.contract, MarketOrder("BUY", 1))


def test_an_address_of_ones_own_and_raw_orders_go_straight(here: None, paper: Exchange) -> None:
    for manager in (
        IBKRConnectionManager(paper_trading=True, port=paper.port),
        IBKRConnectionManager(paper_trading=True, allow_raw_orders=True),
    ):
        with manager:
            assert manager.status()["via"] == "direct" and manager.status()["port"] == paper.port


def test_the_id_of_a_gateway_is_said_to_be_the_gateways(here: None, paper: Exchange) -> None:
    taken = IBKRConnectionManager(paper_trading=True, client_id=1)
    assert taken.connect() is False and "gateway-1 of the system that runs here" in taken.last_error

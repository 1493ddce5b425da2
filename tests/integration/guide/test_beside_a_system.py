"""What the guide's classes do beside a system that runs: sessions for looking go through its guard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from copilot_quant.background import BACKGROUND
from copilot_quant.brokers.connection_manager import IBKRConnectionManager
from shared.errors import Refused
from tests.integration.guide.conftest import Exchange
from tests.support import clean_environment, eventually_sync

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(180)]


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


def cq(folder: Path, paper: Exchange, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "copilot_quant.cli", *words], cwd=folder, env=clean_environment(paper.env),
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_checklist_sees_the_system_that_runs(here: None, paper: Exchange, folder: Path) -> None:
    assert cq(folder, paper, "halt", "--reason", "drill").returncode == 0
    assert cq(folder, paper, "resume", "--reason", "drill").returncode == 0
    assert cq(folder, paper, "order", "buy", "AAPL", "100000").returncode == 77
    done = cq(folder, paper, "preflight", "--no-ask", "--json")
    items = {row["item"]: row for row in json.loads(done.stdout)["items"]}
    seen = ("errors", "pacing", "limits", "emergency_stop", "rules_tested", "small_sizes", "manual_override")
    assert {key: items[key]["state"] for key in seen} == dict.fromkeys(seen, "ok"), items
    assert all(items[key]["by"] == "checked" for key in seen)
    assert items["api_access"]["text"] == "it answers at loopback only" or items["api_access"]["state"] == "open"
    assert done.returncode == 69 and items["paper_month"]["state"] == "bad"  # it began just now


def test_a_halt_while_redis_hangs_is_held_by_the_guard(here: None, paper: Exchange, folder: Path) -> None:
    """The process is stopped, so its port takes connections and answers nothing."""
    env = json.loads((folder / ".cq" / "run.json").read_text())["env"]
    port = urlsplit(env["REDIS_URL"]).port
    found = subprocess.run(
        ["pgrep", "-f", f"(redis|valkey)-server.*:{port}"], capture_output=True, text=True, timeout=10
    )
    (pid,) = map(int, found.stdout.split())
    os.kill(pid, signal.SIGSTOP)
    try:
        done = cq(folder, paper, "halt", "--reason", "redis hangs", "--json")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"stage": "holding", "by": "guard"}
    eventually_sync(lambda: "redis hangs" in cq(folder, paper, "status").stdout, 30, every_s=1.0)
    assert cq(folder, paper, "resume", "--reason", "drill").returncode == 0


def test_the_id_of_a_gateway_is_said_to_be_the_gateways(here: None, paper: Exchange) -> None:
    taken = IBKRConnectionManager(paper_trading=True, client_id=1)
    assert taken.connect() is False and "gateway-1 of the system that runs here" in taken.last_error

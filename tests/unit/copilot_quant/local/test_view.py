"""What the demo's view shows on a narrow screen: words may be cut, numbers never."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from copilot_quant.local.books import Verdict
from copilot_quant.local.supervision import ProcessInfo
from copilot_quant.local.view import Frame, render

STATE = {
    "account": "DUSIM0001",
    "leader": {"instance": "gateway-1", "epoch": 1795702785922438, "link": "READY"},
    "prices": [{"contract": "SPY@ARCA", "bid": "621.6", "ask": 621.61, "last": "1234567.125"}],
    "positions": [{"contract": "SPY@ARCA", "position": "-10", "average_cost": "621.7", "unrealized_pnl": "-1"}],
    "decisions": [
        {"time": "14:20:31", "strategy": "mean_reversion", "order": "SELL 10 LMT 438.85 MSFT@NASDAQ", "approved": True},
        {"time": "14:20:30", "strategy": "pairs", "contract": "SPY@ARCA", "approved": False, "code": "RISK_HALTED"},
    ],
    "fills": [
        {"time": "14:20:32", "strategy": "mean_reversion_on_quotes", "side": "SELL", "quantity": "10",
         "contract": "MSFT@NASDAQ", "price": "438.8"},
    ],
    "lags": [{"lag": 0, "stream": "intents", "reader": "risk"}, {"lag": 1234, "stream": "fills", "reader": "audit"}],
}  # fmt: skip


PROCESSES = [ProcessInfo("gateway-1", "RUNNING", 11251, 46), ProcessInfo("risk", "BACKOFF", 0, 0)]
VERDICT = Verdict(orders=9, sent_twice=0, executions=9, fills_lost=0, fills_twice=0, dead_letters=0)


def drawn(width: int, height: int = 44, notes: tuple[str, ...] = (), **changes: Any) -> str:
    console = Console(file=StringIO(), width=width, height=height, record=True, color_system=None)
    frame = Frame({**STATE, **changes}, PROCESSES, VERDICT, "http://127.0.0.1:1/", notes)
    console.print(render(frame, width), height=height)
    return console.export_text()


@pytest.mark.parametrize("width", [120, 150, 200])
def test_numbers_times_and_answers_are_never_cut(width: int) -> None:
    text = drawn(width)
    for whole in ("621.60", "621.61", "1234567.125", "621.70", "-1.00", "438.80", "14:20:31", "14:20:32", "1234"):
        assert whole in text, whole
    assert "approved" in text and "RISK_HALTED" in text and "SELL 10 LMT 438.85 MSFT" in text


@pytest.mark.parametrize("width, height", [(80, 24), (80, 40), (100, 30), (120, 40), (150, 44)])
def test_mode_account_address_books_and_keys_are_on_every_screen(width: int, height: int) -> None:
    """Also while the broker gives a long reason, with every note there is room for."""
    reason = "Connectivity between IBKR and Trader Workstation has been lost. " * 2
    leader = {"instance": "gateway-1", "epoch": 1795702785922438, "link": "DEGRADED", "reason": reason}
    text = drawn(width, height, ("17:00:01  one", "17:00:02  two", "17:00:03  " + "three " * 30), leader=leader)
    for whole in ("S I M U L A T E D", "DUSIM0001", "http://127.0.0.1:1/", "sent twice 0", "fills lost 0", "DEGRADED"):
        assert whole in text, whole
    assert "17:00:03  three" in text and "f kill the leading gateway" in text and "q quit" in text
    assert "ticks/s" in text and len(text.rstrip().splitlines()) == height


@pytest.mark.parametrize("width", [80, 100, 119, 120, 131, 132])
def test_contracts_prices_and_answers_are_whole_at_every_width(width: int) -> None:
    prices = [{"contract": "GOOGL@NASDAQ", "bid": "187.62", "ask": "187.64", "last": "187.61"}]
    fill = {
        "time": "14:20:32",
        "strategy": "dip",
        "side": "SELL",
        "quantity": "10",
        "contract": "MSFT",
        "price": "438.81",
    }
    decision = {"time": "14:20:31", "strategy": "dip", "order": "SELL 10 LMT 438.85 MSFT", "approved": True}
    text = drawn(width, 36, prices=prices, fills=[fill], decisions=[decision])
    for whole in (
        "GOOGL",
        "187.62",
        "187.64",
        "187.61",
        "438.81",
        "SELL 10 LMT 438.85 MSFT",
        "approved",
        "621.70",
        "-1.00",
    ):
        assert whole in text, whole


def test_a_narrow_screen_names_contracts_and_what_does_not_run() -> None:
    text = drawn(80, 30)
    assert "processes 1 of 2 run (not risk)" in text and "audit by 1234 of fills" in text
    assert text.count("SPY") >= 2 and "621.60" in text and "1234567.125" in text


def test_the_readers_that_lag_come_first() -> None:
    text = drawn(200)
    assert text.index(" audit ") < text.index(" risk ", text.index(" reader "))


def test_contracts_are_shown_without_the_exchange() -> None:
    text = drawn(200)
    assert "SELL 10 LMT 438.85 MSFT " in text and "MSFT@" not in text and "SPY@" not in text

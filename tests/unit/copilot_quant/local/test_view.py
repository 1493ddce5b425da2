"""What the demo's view shows on a narrow screen: words may be cut, numbers never."""

from __future__ import annotations

from io import StringIO

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


def drawn(width: int) -> str:
    console = Console(file=StringIO(), width=width, height=44, record=True, color_system=None)
    processes = [ProcessInfo("gateway-1", "RUNNING", 11251, 46)]
    verdict = Verdict(orders=9, sent_twice=0, executions=9, fills_lost=0, fills_twice=0, dead_letters=0)
    console.print(render(Frame(STATE, processes, verdict, "http://127.0.0.1:1/")))
    return console.export_text()


@pytest.mark.parametrize("width", [120, 150, 200])
def test_numbers_times_and_answers_are_never_cut(width):
    text = drawn(width)
    for whole in ("621.60", "621.61", "1234567.125", "621.70", "-1.00", "438.80", "14:20:31", "14:20:32", "1234"):
        assert whole in text, whole
    assert "approved" in text and "RISK_HALTED" in text and "SELL" in text


def test_the_readers_that_lag_come_first():
    text = drawn(200)
    assert text.index(" audit ") < text.index(" risk ", text.index(" reader "))


def test_orders_are_shown_without_the_exchange():
    text = drawn(200)
    assert "SELL 10 LMT 438.85 MSFT " in text and "MSFT@" not in text
    assert "SPY@ARCA" in text  # where there is room for it

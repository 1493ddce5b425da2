"""Each shipped example trades, tested with what users test theirs with."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from copilot_quant.testing import START_NS, StrategyTest, stock
from services.strategy.api import ClosedBar, Side
from shared.messages.orders import Group, OrderState
from strategies.breakout import Breakout
from strategies.ma_crossover import MaCrossover
from strategies.mean_reversion import MeanReversion
from strategies.pairs import Pairs
from strategies.rebalancer import Rebalancer
from tests.support import ROOT

MINUTE_NS = 60_000_000_000
PAGES = ROOT / "docs" / "examples"


def last(test: StrategyTest) -> tuple[str, Side, Decimal]:
    """Return contract, side and quantity of the last order."""
    order = test.orders[-1]
    return order.contract, order.legs[0].side, order.legs[0].quantity


def test_the_crossover_is_long_while_prices_rise_and_short_while_they_fall() -> None:
    test = StrategyTest(MaCrossover, [stock("IBM")], quantity=10, fast=2, slow=4)
    for close in (100.0, 101.0, 102.0, 103.0):
        test.bar("IBM", close)
    assert last(test) == ("IBM", Side.BUY, 10) and len(test.orders) == 1
    test.fill(test.orders[-1], price=103.0)
    test.bar("IBM", 104.0)
    assert len(test.orders) == 1, "it is there already"
    for close in (95.0, 90.0):
        test.bar("IBM", close)
    assert last(test) == ("IBM", Side.SELL, 20) and len(test.orders) == 2
    test.fill(test.orders[-1], price=90.0)
    assert test.position("IBM") == -10


def test_mean_reversion_buys_a_dip_at_the_ask_and_cancels_what_finds_nobody() -> None:
    test = StrategyTest(MeanReversion, [stock("AAPL")], quantity=10, period=10, order_life_s=4.0)
    for number in range(30):
        test.quote("AAPL", 99.99 + 0.02 * (number % 2), 100.01 + 0.02 * (number % 2))
    before = len(test.orders)
    for order in test.orders:
        test.tell(order, OrderState.CANCELLED)
    test.wait(3)
    test.quote("AAPL", 98.99, 99.01)
    assert len(test.orders) == before + 1 and last(test) == ("AAPL", Side.BUY, 10)
    dip = test.orders[-1]
    assert dip.legs[0].limit_price == Decimal("99.01")
    test.wait(5)
    assert test.cancels[-1].intent_id == dip.intent_id
    test.tell(dip, OrderState.CANCELLED)
    test.quote("AAPL", 97.99, 98.01)
    test.fill(test.orders[-1], price=98.01)
    assert test.position("AAPL") == 10


def test_pairs_sells_what_ran_ahead_and_buys_the_other() -> None:
    test = StrategyTest(Pairs, [stock("MSFT"), stock("GOOGL")], period=20, notional=1000.0)
    for number in range(60):
        test.quote("MSFT", 99.9 + 0.1 * (number % 2), 100.1 + 0.1 * (number % 2))
        test.quote("GOOGL", 49.99, 50.01)
    assert test.orders == []
    test.quote("MSFT", 102.9, 103.1)
    ahead, behind = test.orders
    assert (ahead.contract, ahead.legs[0].side, behind.contract, behind.legs[0].side) == (
        "MSFT", Side.SELL, "GOOGL", Side.BUY,
    )  # fmt: skip
    test.fill(ahead, price=102.9)
    test.fill(behind, price=50.01)
    for _ in range(60):
        test.quote("MSFT", 99.9, 100.1)
    for order in test.orders[2:4]:
        test.fill(order)
    assert (test.position("MSFT"), test.position("GOOGL")) == (0, 0)


def test_a_breakout_is_a_bracket_and_another_worker_goes_on_with_it() -> None:
    past = [ClosedBar(START_NS - number * MINUTE_NS, 100, 101, 99, 100, 1) for number in range(5, 0, -1)]
    test = StrategyTest(Breakout, [stock("AAPL")], history={"AAPL": {"1 min": past}}, channel=4, risk=0.5, reward=2.0)
    test.bar("AAPL", 102.0)
    (entry,) = test.orders
    assert entry.group is Group.BRACKET and [leg.side for leg in entry.legs] == [Side.BUY, Side.SELL, Side.SELL]
    test.fill(entry, price=102.0)
    for leg in (1, 2):
        test.tell(entry, OrderState.WORKING, leg=leg)
    test.bar("AAPL", 104.0)
    assert (test.orders[-1].modifies, test.orders[-1].legs[0].stop_price) == (entry.intent_id, Decimal("103.00"))
    test.tell(test.orders[-1], OrderState.MODIFIED)
    test.move()
    test.bar("AAPL", 105.0)
    assert test.orders[-1].legs[0].stop_price == Decimal("104.00"), "the stop follows after a move as before"
    test.fill(entry, price=106.0, leg=1)
    test.tell(entry, OrderState.CANCELLED, leg=2)
    assert test.position("AAPL") == 0 and test.strategy.state.bracket == ""


def test_the_rebalancer_buys_its_weights_and_trades_back_what_drifted() -> None:
    test = StrategyTest(
        Rebalancer, [stock("SPY"), stock("IBM")], capital=10_000.0, weights={"SPY": 0.6, "IBM": 0.3}, every_s=10
    )
    test.quote("SPY", 99.99, 100.01)
    test.quote("IBM", 49.99, 50.01)
    test.wait(10)
    assert {order.contract: order.legs[0].quantity for order in test.orders} == {"SPY": 60, "IBM": 60}
    for order in list(test.orders):
        test.fill(order)
    test.quote("SPY", 119.99, 120.01)
    test.wait(10)
    assert last(test) == ("SPY", Side.SELL, 10)
    test.fill(test.orders[-1], price=120.0)
    assert (test.position("SPY"), test.position("IBM")) == (50, 60)


@pytest.mark.parametrize("file", sorted((ROOT / "strategies").glob("*.py")), ids=lambda path: path.stem)
def test_each_example_has_a_page_that_names_all_its_parameters(file: Path) -> None:
    page = (PAGES / f"{file.stem.replace('_', '-')}.md").read_text()
    cls = next(
        one for one in (Breakout, MaCrossover, MeanReversion, Pairs, Rebalancer) if one.__module__.endswith(file.stem)
    )
    assert [name for name in cls.Params.model_fields if f"`{name}`" not in page] == []
    assert f"({file.stem.replace('_', '-')}.md)" in (PAGES / "index.md").read_text()

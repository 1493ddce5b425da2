from __future__ import annotations

import re
import types
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from copilot_quant.testing import StrategyTest, stock
from services.strategy.api import ClosedBar, Gap, OrderUpdate, Quote, Side, Strategy, Timer
from services.strategy.core.sessions import Session, SessionRules
from shared.errors import BadInput
from shared.messages.orders import OrderState
from tests.support import ROOT


def tutorial_class() -> type[Strategy]:
    """The strategy that the tutorial has its reader write."""
    text = (ROOT / "docs" / "tutorial" / "first-strategy.md").read_text()
    (code,) = re.findall(r"```python\n(.*?class Dip.*?)```", text, re.DOTALL)
    module = types.ModuleType("dip")
    exec(compile("from __future__ import annotations\n" + code, "dip.py", "exec"), module.__dict__)
    module.Dip.State.model_rebuild(_types_namespace=module.__dict__)
    found: type[Strategy] = module.Dip
    return found


def test_the_tutorials_strategy_does_what_the_tutorial_says() -> None:
    test = StrategyTest(tutorial_class(), [stock("AAPL"), stock("IBM")], quantity=7)
    for close in (10.0, 9.0):
        test.bar("AAPL", close=close, open=close + 0.5)
    assert test.orders == []
    test.bar("AAPL", close=8.0, open=8.5)
    (order,) = test.orders
    assert (order.contract, order.legs[0].side, order.legs[0].quantity) == ("AAPL", Side.BUY, 7)
    test.bar("AAPL", close=7.0, open=7.5)
    assert len(test.orders) == 1, "what is on its way counts"
    test.fill(order, quantity=3)
    assert test.position("AAPL") == 3
    test.fill(order)
    test.bar("AAPL", close=9.0, open=8.0)
    assert (test.orders[-1].legs[0].side, test.orders[-1].legs[0].quantity) == (Side.SELL, 7)


class Probe(Strategy):
    """Does what its test says."""

    class Params(BaseModel):
        limit: float = 0.0

    class State(BaseModel):
        timers: int = 0
        gaps: int = 0
        told: list[str] = []

    def on_start(self) -> None:
        self.set_timer("tick", 10.0, every_s=10.0)

    def on_quote(self, quote: Quote) -> None:
        if quote.bid < 0:
            raise ValueError("by design")
        self.buy(quote.contract, 1, limit=self.params.limit or quote.bid)

    def on_timer(self, timer: Timer) -> None:
        self.state.timers += 1

    def on_order(self, update: OrderUpdate) -> None:
        self.state.told.append(f"{update.state.value} {update.by}")

    def on_gap(self, gap: Gap) -> None:
        self.state.gaps += 1


def test_time_goes_by_and_timers_fire_on_the_way() -> None:
    test = StrategyTest(Probe, [stock("IBM")])
    test.wait(9.0)
    assert test.strategy.state.timers == 0
    test.wait(31.0)
    assert test.strategy.state.timers == 4


def test_an_error_fails_the_test_unless_it_is_expected() -> None:
    test = StrategyTest(Probe, [stock("IBM")])
    with pytest.raises(AssertionError, match="by design"):
        test.quote("IBM", -1.0, 1.0)
    test.quote("IBM", -1.0, 1.0, raises=True)
    assert "on_quote raised ValueError: by design" in test.errors[-1]
    with pytest.raises(AssertionError, match="expected to raise"):
        test.quote("IBM", 10.0, 10.1, raises=True)


def test_orders_are_answered_as_the_test_plays_it() -> None:
    test = StrategyTest(Probe, [stock("IBM", min_tick="0.05")], limit=10.07)
    test.quote("IBM", 10.0, 10.1)
    assert test.orders[0].legs[0].limit_price == Decimal("10.05"), "prices round as they will"
    test.reject(test.orders[0])
    test.quote("IBM", 10.0, 10.1)
    test.tell(test.orders[1], OrderState.WORKING)
    test.fill(test.orders[1], price=10.05)
    assert test.strategy.state.told == ["rejected risk", "working broker", "filled broker"]
    with pytest.raises(BadInput, match="no fill"):
        test.fill(test.orders[1])


def test_a_move_keeps_what_is_saved_and_nothing_else() -> None:
    test = StrategyTest(Probe, [stock("IBM")])
    test.quote("IBM", 10.0, 10.1)
    test.fill(test.orders[0])
    test.wait(10.0)
    before = test.strategy
    test.move()
    assert test.strategy is not before and test.strategy.is_resumed
    assert test.strategy.state.timers == 1 and test.position("IBM") == 1
    test.gap()
    test.quote("IBM", 10.0, 10.1)
    assert test.strategy.state.gaps == 1 and len(test.orders) == 1, "a gap that is not accepted stops it"


class Looks(Strategy):
    """Keeps what it looked back on."""

    @classmethod
    def history_needs(cls, params: Any) -> dict[str, int]:
        return {"1 min": 2}

    def on_quote(self, quote: Quote) -> None:
        self.seen = [bar.close for bar in self.history_bars(quote.contract, "1m")]


def test_history_and_sessions_are_those_of_the_real_unit() -> None:
    past = [ClosedBar(number * 60 * 10**9, 1, 1, 1, float(number), 1) for number in range(3)]
    test = StrategyTest(Looks, [stock("IBM")], history={"IBM": {"1 min": past}})
    test.quote("IBM", 1.0, 1.1)
    assert test.strategy.seen == [1.0, 2.0]  # type: ignore[attr-defined]
    test.bar("IBM", close=9.0)
    test.quote("IBM", 1.0, 1.1)
    assert test.strategy.seen == [2.0, 9.0]  # type: ignore[attr-defined]
    with pytest.raises(BadInput, match="gave no hours"):
        StrategyTest(Probe, [stock("IBM")], rules=SessionRules(Session.RTH))


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(ValidationError, match="limit"):
        StrategyTest(Probe, [stock("IBM")], limit="much")

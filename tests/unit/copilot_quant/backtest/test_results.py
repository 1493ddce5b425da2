from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from copilot_quant.backtest.journal import Journal, Sample, TradeRecord
from copilot_quant.backtest.report import page_of, shown
from copilot_quant.backtest.roundtrips import round_trips
from copilot_quant.backtest.statistics import drawdowns, figures, returns_of, trading
from services.strategy.api import Quote, Strategy
from shared.messages.orders import OrderEvent, OrderState, Side
from tests.backtests import OPEN_MS, market, play, quote

DAY_NS = 86_400 * 10**9
OPEN_NS = OPEN_MS * 10**6


def record(side: str, quantity: str, price: str, *, at: int = 0, commission: str = "0") -> TradeRecord:
    return TradeRecord(
        at, "dip", "IBM", side, Decimal(quantity), Decimal(price), f"e{at}", "i", "", 0, Decimal(commission)
    )


def test_a_round_trip_goes_from_flat_to_flat_and_pays_its_commissions() -> None:
    trades = [record("BUY", "100", "10", at=1, commission="1"), record("BUY", "50", "11", at=2, commission="0.5"),
              record("SELL", "150", "12", at=3, commission="1.5")]  # fmt: skip
    (one,) = round_trips(trades, {})
    assert (one.side, one.quantity, one.opened_ns, one.closed_ns) == ("long", Decimal(150), 1, 3)
    assert one.profit == Decimal(100 * 2 + 50 * 1) - 3 and one.commission == 3


def test_turning_around_closes_one_and_opens_another() -> None:
    trades = [record("BUY", "100", "10", at=1), record("SELL", "300", "11", at=2, commission="3"),
              record("BUY", "200", "12", at=3)]  # fmt: skip
    first, second = round_trips(trades, {"IBM": Decimal(2)})
    assert (first.side, first.profit) == ("long", Decimal(199))
    assert (second.side, second.quantity, second.profit) == ("short", Decimal(200), Decimal(-402))


def curve(*equity: float, step_ns: int = DAY_NS) -> list[Sample]:
    return [Sample(OPEN_NS + number * step_ns, value, 0.0, 0.0) for number, value in enumerate(equity)]


def test_returns_are_of_days_where_there_are_some_else_of_samples() -> None:
    values, a_year, period = returns_of(curve(110.0, 99.0), 100.0, sample_s=60)
    assert values == [pytest.approx(0.1), pytest.approx(-0.1)] and (a_year, period) == (252.0, "day")
    values, a_year, period = returns_of(curve(100.0, 101.0, step_ns=10**9), 100.0, sample_s=60)
    assert values == [pytest.approx(0.01)] and (a_year, period) == (252 * 390, "60 s")


def test_figures_are_those_of_empyrical_and_none_where_there_are_none() -> None:
    empyrical = pytest.importorskip("empyrical")
    import numpy as np

    made = figures(curve(101.0, 100.0, 104.0, 102.0), 100.0, sample_s=60)
    returns = np.array([0.01, 100 / 101 - 1, 0.04, 102 / 104 - 1])
    assert made["sharpe"] == pytest.approx(empyrical.sharpe_ratio(returns))
    assert made["sortino"] == pytest.approx(empyrical.sortino_ratio(returns))
    assert made["max_drawdown"] == pytest.approx(102 / 104 - 1)
    assert made["total_return"] == pytest.approx(0.02)
    quiet = figures(curve(100.0, 100.0), 100.0, sample_s=60)
    assert quiet["sharpe"] is None and quiet["max_drawdown"] == 0.0
    assert drawdowns(curve(1.0, 2.0, 1.0)) == [0.0, 0.0, -0.5]


def test_trading_figures_count_round_trips() -> None:
    trips = round_trips(
        [record("BUY", "1", "10", at=1), record("SELL", "1", "12", at=2), record("BUY", "1", "12", at=3),
         record("SELL", "1", "11", at=4)], {},
    )  # fmt: skip
    made = trading(trips, Decimal(45), Decimal(0), 90.0)
    assert made["hit_rate"] == 0.5 and made["profit_factor"] == 2.0 and made["turnover"] == 0.5
    assert trading([], Decimal(0), Decimal(0), None)["hit_rate"] is None


def test_an_order_ends_once_in_the_journal_however_often_it_is_told() -> None:
    journal = Journal()
    event = OrderEvent(
        intent_id="i", state=OrderState.REJECTED, strategy="dip", account="DU1", con_id=1, side=Side.BUY,
        quantity=Decimal(1), order_type="MKT", code="IB_201", text="no funds",
    )  # fmt: skip
    journal.order(event)
    journal.order(event)
    assert journal.rejected == {"IB_201": 1} and journal.first_refusals == {"IB_201": "no funds"}


class Speaks(Strategy):
    """Gives a reason that would break a page."""

    def on_quote(self, quote: Quote) -> None:
        if not self.position(quote.contract) and not self.working_orders():
            self.buy(quote.contract, 1, reason="</script><script>alert(1)</script>{{data}}")


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_of_a_strategys() -> None:
    result = play(Speaks, market({"IBM": [quote(at_ms, 9.99, 10.0) for at_ms in (0, 100, 200)]}))
    page = result.to_html()
    without_library = re.sub(r"<script>/\*!.*?</script>", "", page, flags=re.DOTALL)
    assert "<script>alert" not in page and "&lt;/script&gt;" in page
    assert not re.findall(r"(?:src|href)=", without_library)
    assert "{{data}}" in page and page.count("{{") == page.count("{{data}}")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert json.loads(data)["trades"]["IBM"] == [[OPEN_MS // 1000, 1]]


def test_the_page_says_what_was_played_in_words_and_how_far_its_figures_reach() -> None:
    content = play(Speaks, market({"IBM": [quote(at_ms, 9.99, 10.0) for at_ms in (0, 100, 200)]})).content()
    params = {"sized": {"quantity": 5, "name": "<b>"}, "empty": {}}
    page = page_of({**content, "options": {**content["options"], "params": params}}, {})
    assert "; sized: quantity 5, name &lt;b&gt;</p>" in page
    assert "scaled up from returns of" in page and "within one day: they say little about a year" in page
    daily = {**content, "statistics": {**content["statistics"], "returns_of": "day"}}
    assert "are made of daily returns" in page_of(daily, {})


def test_the_json_holds_everything_and_says_it_plainly() -> None:
    result = play(Speaks, market({"IBM": [quote(at_ms, 9.99, 10.0) for at_ms in (0, 100, 200)]}))
    content = json.loads(result.to_json())
    assert content["orders"] == {"intents": 1, "orders": 1, "cancels": 0, "fills": 1, "filled": 1}
    assert content["trades"][0]["price"] == "10.005" and content["trades"][0]["time"].startswith("2013-10-08T13:30:00")
    assert len(content["equity"]) == len(result.samples) and content["units"][0]["positions"] == {"IBM": "1"}
    table = result.equity()
    assert list(table.columns) == ["equity", "gross", "net", "drawdown"] and len(table) == len(result.samples)


def test_a_state_that_could_not_be_saved_live_is_said() -> None:
    class Odd(Strategy):
        class State(BaseModel):
            thing: Any = None

        def on_quote(self, quote: Quote) -> None:
            self.state.thing = object()

    result = play(Odd, market({"IBM": [quote(0, 9.99, 10.0)]}))
    assert len(result.errors) == 1 and "the state cannot be saved" in result.errors[0]


def test_an_empty_run_still_has_a_page() -> None:
    class Idle(Strategy):
        """Does nothing."""

    result = play(Idle, market({"IBM": [quote(0, 9.99, 10.0)]}))
    assert "0 trades" in result.to_html() and result.statistics["sharpe"] is None
    assert shown("sharpe", None) == "–" and shown("hit_rate", 0.5) == "50.00 %"
    assert page_of(result.content(), {})

"""Whatever a strategy does in a backtest: the books add up, the same comes out again, and nothing knows the future."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from copilot_quant.backtest.results import BacktestResult
from copilot_quant.backtest.runner import Costs
from services.strategy.api import Order, Quote, Side, Strategy
from services.strategy.api import Trade as MarketTrade
from tests.backtests import OPEN_MS, Row, market, play, walk

pytestmark = pytest.mark.timeout(300)
NAMES = ("IBM", "BAC")
SETTINGS = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # a run is long, and a seed says enough
)


class Anything(Strategy):
    """Orders, changes and cancels at random: what it does at an event follows from the seed and the event's time."""

    class Params(BaseModel):
        seed: int = 0
        share: float = 0.3

    params: Params

    def on_quote(self, quote: Quote) -> None:
        self._act(quote.contract.con_id, quote.ts_ns, quote.bid, quote.ask)

    def on_trade(self, trade: MarketTrade) -> None:
        self._act(trade.contract.con_id, trade.ts_ns, trade.price - 0.01, trade.price + 0.01)

    def _act(self, con_id: int, ts_ns: int, bid: float, ask: float) -> None:  # noqa: C901 - a case per kind of order
        chance = random.Random(f"{self.params.seed}/{ts_ns}/{con_id}/{bid}")
        if chance.random() > self.params.share:
            return
        side, quantity = chance.choice((Side.BUY, Side.SELL)), chance.randrange(1, 150)
        sign = 1 if side is Side.BUY else -1
        near, far = (ask, bid) if sign > 0 else (bid, ask)
        act = chance.randrange(9)
        if act == 0:
            self.order(con_id, side, quantity)
        elif act == 1:
            self.order(con_id, side, quantity, limit=near)
        elif act == 2:
            self.order(con_id, side, quantity, limit=far - sign * 0.03)
        elif act == 3:
            self.order(con_id, side, quantity, stop=near + sign * 0.03)
        elif act == 4:
            self.bracket(con_id, side, quantity, take_profit=near + sign * 0.05, stop_loss=near - sign * 0.05)
        elif act == 5:
            self.target_position(con_id, sign * quantity)
        elif act == 6:
            self.one_cancels_all(
                con_id, Order(side, quantity, limit=far - sign * 0.02), Order(side, quantity, stop=near + sign * 0.02)
            )
        elif act == 7:
            self.close(con_id)
        else:
            for row in self.working_orders(con_id)[:2]:
                if chance.random() < 0.5:
                    self.cancel(row.intent_id)
                elif row.limit_price is not None:
                    self.modify(row, limit=row.limit_price + Decimal("0.01"))


def rows_of(seed: int) -> dict[str, list[Row]]:
    return {name: walk(seed * 7 + number, 150, price=100.0 - 80 * number) for number, name in enumerate(NAMES)}


def run(seed: int, rows: dict[str, list[Row]], *, per: str = "contract", costs: Costs | None = None) -> BacktestResult:
    return play(Anything, market(rows), per=per, params={"seed": seed}, costs=costs)


@SETTINGS
@given(seed=st.integers(0, 10_000), commission=st.sampled_from([0.0, 0.001, "fixed", "tiered"]))
def test_cash_and_positions_add_up(seed: int, commission: float | str) -> None:
    costs = Costs(commission=commission, slippage=0.0005, latency_ms=1.0)
    result = run(seed, rows_of(seed), costs=costs)
    held: dict[str, Decimal] = dict.fromkeys(NAMES, Decimal(0))
    cash = Decimal(100_000)
    for one in result.trades:
        signed = one.quantity if one.side == "BUY" else -one.quantity
        held[one.contract] += signed
        cash -= signed * one.price + one.commission
    worth = sum(float(held[name]) * result.prices[name][-1][1] for name in NAMES)
    assert result.samples[-1].equity == pytest.approx(float(cash) + worth, abs=1e-4)
    told = {name: Decimal(text) for unit in result.units for name, text in unit.positions.items()}
    assert told == {name: quantity for name, quantity in held.items() if quantity}
    closed = sum((trip.profit for trip in result.trips), Decimal(0))
    if not any(held.values()):
        assert float(closed) == pytest.approx(float(cash) - 100_000, abs=1e-6)
    assert not result.errors, result.errors


@SETTINGS
@given(seed=st.integers(0, 10_000), per=st.sampled_from(["contract", "all"]))
def test_the_same_comes_out_again_to_the_byte(seed: int, per: str) -> None:
    first, second = (run(seed, rows_of(seed), per=per) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.to_html() == second.to_html()


@SETTINGS
@given(seed=st.integers(0, 10_000), cut=st.integers(20, 149), latency_ms=st.sampled_from([0.01, 1.0, 40.0]))
def test_nothing_knows_the_future(seed: int, cut: int, latency_ms: float) -> None:
    rows = rows_of(seed)
    costs = Costs(latency_ms=latency_ms)
    whole = run(seed, rows, costs=costs)
    for one in whole.trades:
        assert one.ts_ns - one.cause_ts_ns >= round(latency_ms * 1e6) // 2 > 0
    until_ms = max(int(str(each[cut][0])) for each in rows.values())
    known = {name: [row for row in each if int(str(row[0])) <= until_ms] for name, each in rows.items()}
    shorter = run(seed, known, costs=costs)

    def before(result: BacktestResult) -> list[tuple[object, ...]]:
        return [
            (one.ts_ns, one.contract, one.side, one.quantity, one.price)
            for one in result.trades
            if one.ts_ns <= until_ms * 1_000_000
        ]

    assert before(whole) == before(shorter)
    assert until_ms > OPEN_MS

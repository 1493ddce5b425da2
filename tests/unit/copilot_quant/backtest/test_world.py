from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import BaseModel

from copilot_quant.backtest.runner import Costs
from services.strategy.api import Bar, FillEvent, OrderUpdate, Quote, Side, Strategy, Timer, Trade
from shared.messages.orders import OrderState
from tests.backtests import OPEN_MS, market, play, quote, trade

FREE = Costs(commission=0.0, slippage=0.0, latency_ms=10.0)
OPEN_NS = OPEN_MS * 1_000_000


class Once(Strategy):
    """Gives one order at the first quote."""

    class Params(BaseModel):
        side: str = "BUY"
        quantity: int = 100
        limit: float | None = None
        stop: float | None = None
        tif: str = ""

    class State(BaseModel):
        is_done: bool = False
        seen: list[str] = []

    params: Params
    state: State

    def on_quote(self, quote: Quote) -> None:
        if not self.state.is_done:
            self.state.is_done = True
            own = self.params
            self.order(quote.contract, Side(own.side), own.quantity, limit=own.limit, stop=own.stop, tif=own.tif)

    def on_order(self, update: OrderUpdate) -> None:
        self.state.seen.append(update.state.value)


def test_an_order_meets_the_quote_that_stands_when_it_arrives_not_the_one_that_caused_it() -> None:
    rows = [quote(0, 9.99, 10.0), quote(5, 10.09, 10.10), quote(50, 12.0, 12.01)]
    (one,) = play(Once, market({"IBM": rows}), costs=FREE).trades
    assert (one.price, one.ts_ns - one.cause_ts_ns) == (Decimal("10.1"), 10_000_000)
    (one,) = play(Once, market({"IBM": rows}), costs=Costs(commission=0.0, slippage=0.0, latency_ms=1)).trades
    assert one.price == Decimal(10)


def test_a_strategy_hears_of_its_order_as_live() -> None:
    seen: list[str] = []

    class Hears(Once):
        def on_order(self, update: OrderUpdate) -> None:
            seen.append(update.state.value)

        def on_fill(self, fill: FillEvent) -> None:
            seen.append(f"fill {fill.quantity} at {fill.price} holds {fill.position}")

    play(Hears, market({"IBM": [quote(0, 9.99, 10.0), quote(100, 9.99, 10.0)]}), costs=FREE)
    assert seen[0] == "claimed" and "fill 100 at 10 holds 100" in seen and seen[-1] == "filled"


def test_a_resting_limit_waits_its_turn_and_a_stop_its_trigger() -> None:
    rows = [quote(0, 9.99, 10.0, 200), trade(20, 9.95, 100), trade(30, 9.95, 100), trade(40, 9.94, 300)]
    (one,) = play(Once, market({"IBM": rows}), costs=FREE, params={"limit": 9.95}).trades
    # The first two trades go to the 200 that stood before it.
    assert one.price == Decimal("9.95") and one.ts_ns == OPEN_NS + 40_000_000
    rows = [quote(0, 9.99, 10.0), trade(20, 10.0), trade(30, 10.2), quote(31, 10.2, 10.21), quote(60, 10.2, 10.21)]
    (one,) = play(Once, market({"IBM": rows}), costs=FREE, params={"stop": 10.1}).trades
    assert one.price == Decimal("10.21") and one.ts_ns > OPEN_NS + 30_000_000


def test_the_guides_costs_are_fractions() -> None:
    rows = [quote(0, 9.99, 10.0), quote(100, 9.99, 10.0)]
    costs = Costs(commission=0.001, slippage=0.0005)
    (one,) = play(Once, market({"IBM": rows}), costs=costs).trades
    assert one.price == Decimal("10.005") and one.commission == Decimal("1.0005")
    (one,) = play(
        Once, market({"IBM": rows}), costs=Costs(commission=0.001, slippage=0.0005), params={"limit": 10.0}
    ).trades
    assert one.price == Decimal(10)
    (one,) = play(Once, market({"IBM": rows}), costs=Costs(commission="fixed", slippage=0.0)).trades
    assert one.commission == Decimal(1)


def test_risk_refuses_here_what_it_refuses_live() -> None:
    heard: list[OrderUpdate] = []

    class Large(Once):
        def on_order(self, update: OrderUpdate) -> None:
            heard.append(update)

    result = play(Large, market({"IBM": [quote(0, 9.99, 10.0)]}), params={"quantity": 5000})
    assert result.rejected == {"RISK_ORDER_QUANTITY_MAX": 1} and not result.trades
    assert heard[0].state is OrderState.REJECTED and heard[0].by == "risk"


def test_the_exchange_refuses_here_what_it_refuses_live() -> None:
    result = play(Once, market({"IBM": [quote(0, 399.99, 400.0, 9000)]}), params={"quantity": 240})
    assert result.orders.get("filled") == 1 or result.rejected  # 96,000 of 100,000 at a quarter's margin
    rows = {"IBM": [quote(0, 99.99, 100.0, 9000), quote(100, 99.99, 100.0, 9000)]}
    result = play(Once, market(rows), params={"quantity": 100, "tif": "FOK", "limit": 99.0})
    assert result.orders["cancelled"] == 1 and not result.trades


def test_timers_fire_at_their_own_time_between_events() -> None:
    at: list[int] = []

    class Ticks(Strategy):
        def on_start(self) -> None:
            self.set_timer("beat", 1.0, every_s=1.0)

        def on_timer(self, _: Timer) -> None:
            at.append(self.now_ns - OPEN_NS)

    play(Ticks, market({"IBM": [trade(0, 10.0), trade(3500, 10.0)]}))
    assert at == [1_000_000_000, 2_000_000_000, 3_000_000_000, 4_000_000_000]


def test_bars_are_built_as_marketdata_builds_them_and_close_without_a_later_trade() -> None:
    bars: list[tuple[str, float, int]] = []

    class Bars(Strategy):
        def on_bar(self, bar: Bar) -> None:
            bars.append((bar.interval, bar.close, self.now_ns - bar.ts_close_ns))

    rows = [trade(0, 10.0), trade(900, 11.0), trade(1500, 12.0), trade(7000, 13.0)]
    play(Bars, market({"IBM": rows}), bars=["1s", "5s"])
    assert [one[:2] for one in bars] == [("1s", 11.0), ("1s", 12.0), ("5s", 12.0)]
    assert all(late == 200_000_000 for _, _, late in bars)


def test_the_platform_makes_it_flat_before_the_close_whatever_the_strategy_does() -> None:
    late_ms = 6 * 3_600_000
    rows = [quote(0, 9.99, 10.0), *(quote(late_ms + minute * 60_000, 9.99, 10.0) for minute in range(29))]
    result = play(Once, market({"IBM": rows}), costs=FREE, session="rth", flat_by="15 min")
    first, last = result.trades
    assert (first.side, last.side, last.reason) == ("BUY", "SELL", "flat_by")
    assert last.ts_ns == OPEN_NS + (6 * 60 + 15) * 60 * 10**9 + 10_000_000
    assert result.units[0].positions == {}


def test_no_entry_after_the_last_one() -> None:
    class Late(Strategy):
        def on_trade(self, trade: Trade) -> None:
            self.buy(trade.contract, 1)

    rows = [trade(0, 10.0), trade(6 * 3_600_000, 10.0), trade(6 * 3_600_000 + 1_700_000, 10.0)]
    result = play(Late, market({"SPY": rows}), session="rth", last_entry="10 min")
    assert len(result.intents) == 2


def test_an_error_names_file_and_line_counts_and_takes_the_order_back() -> None:
    class Fails(Strategy):
        def on_quote(self, quote: Quote) -> None:
            self.buy(quote.contract, 1)
            raise RuntimeError("no idea")

    result = play(Fails, market({"IBM": [quote(at_ms, 9.99, 10.0) for at_ms in range(10)]}))
    (unit,) = result.units
    assert not result.trades and unit.errors == 5 and "5 errors within a minute" in unit.paused
    assert "RuntimeError: no idea at " in unit.last_errors[-1] and "test_world.py:" in unit.last_errors[-1]


def test_a_strategy_that_orders_in_answer_to_every_refusal_is_stopped() -> None:
    class Stubborn(Strategy):
        def on_quote(self, quote: Quote) -> None:
            self.buy(quote.contract, 5000)

        def on_order(self, update: OrderUpdate) -> None:
            if update.is_final:
                self.buy(update.contract, 5000)

    result = play(Stubborn, market({"IBM": [quote(0, 9.99, 10.0), quote(1, 9.99, 10.0)]}))
    assert "again and again within one moment" in result.units[0].paused


def test_a_symbol_without_quotes_trades_a_tick_around_its_trades() -> None:
    class Buys(Strategy):
        class State(BaseModel):
            is_done: bool = False

        def on_trade(self, trade: Trade) -> None:
            if not self.state.is_done:
                self.state.is_done = True
                self.buy(trade.contract, 100)

    (one,) = play(Buys, market({"SPY": [trade(0, 167.4, 500), trade(30, 168.0)]}), costs=FREE).trades
    assert one.price == Decimal("167.41")


@pytest.mark.parametrize("per", ["contract", "all"])
def test_the_account_is_valued_every_minute_of_the_data(per: str) -> None:
    rows = [quote(at_ms, 9.99, 10.0) for at_ms in range(0, 300_001, 1000)]
    result = play(Once, market({"IBM": rows}), costs=FREE, per=per)
    times = [(sample.ts_ns - OPEN_NS) // 10**9 for sample in result.samples]
    assert times == [0, 60, 120, 180, 240, 300, 301]
    assert result.samples[1].gross == pytest.approx(999.0, abs=1.01)

from __future__ import annotations

from datetime import date

import pytest

from services.simulator.core.market import REFERENCE_S, PricePath, Prices, Quote, SyntheticMarket, Trade, option_price
from services.simulator.core.matching import price_of
from services.simulator.core.universe import default_universe
from shared.money import is_on_tick

UNIVERSE = default_universe(date(2026, 11, 23))
NS = 1_000_000_000
START = 1_795_446_000 * NS
AAPL = next(each for each in UNIVERSE if each.symbol == "AAPL")


def test_prices_follow_from_seed_and_time_alone() -> None:
    one, two = Prices(UNIVERSE, 7), Prices(UNIVERSE, 7)
    times = [START + number * 7 * NS for number in range(50)]
    forward = [one.mid(AAPL, each) for each in times]
    backward = [two.mid(AAPL, each) for each in reversed(times)]
    assert forward == backward[::-1]
    assert Prices(UNIVERSE, 8).mid(AAPL, START) != forward[0]
    assert one.mid(AAPL, REFERENCE_S * NS) == pytest.approx(AAPL.price)


def test_the_guide_symbols_exist() -> None:
    for symbol in ("AAPL", "MSFT", "GOOGL", "AMZN", "META", "IBM", "BAC", "AIG", "SPY", "TSLA", "NVDA"):
        assert UNIVERSE.by_symbol(symbol) is not None


SAMPLE = [each for each in UNIVERSE if each.sec_type != "OPT" or each.con_id % 31 == 0]


@pytest.mark.parametrize("instrument", SAMPLE, ids=lambda each: f"{each.symbol}-{each.sec_type}-{each.con_id}")
def test_quotes_are_on_tick_and_never_crossed(instrument) -> None:
    market = SyntheticMarket(Prices(UNIVERSE, 7), 7, 20.0)
    events = market.watch(instrument, START) + market.advance(START + NS // 2) + market.advance(START + 3 * NS)
    quotes = [each for each in events if isinstance(each, Quote)]
    assert quotes or instrument.sec_type == "IND"
    for each in quotes:
        assert 0 < each.bid < each.ask
        assert is_on_tick(price_of(each.bid), instrument.min_tick) and is_on_tick(
            price_of(each.ask), instrument.min_tick
        )
    times = [each.ts_ns for each in events]
    assert times == sorted(times) and times[-1] <= START + 3 * NS
    assert instrument.sec_type != "CASH" or not any(isinstance(each, Trade) for each in events)


def test_an_unwatched_instrument_is_silent() -> None:
    market = SyntheticMarket(Prices(UNIVERSE, 7), 7, 20.0)
    market.watch(AAPL, START)
    assert market.watch(AAPL, START) == []
    market.unwatch(AAPL.con_id)
    assert market.next_ns() is None and market.advance(START + NS) == []


def test_options_are_worth_more_with_time_and_less_out_of_the_money() -> None:
    assert option_price(100, 100, 1.0, 0.2, "C") > option_price(100, 100, 0.1, 0.2, "C") > 0
    assert option_price(100, 120, 0.1, 0.2, "C") < option_price(100, 100, 0.1, 0.2, "C")
    assert option_price(100, 90, 0.0, 0.2, "C") == 10
    parity = option_price(100, 95, 0.5, 0.3, "C") - option_price(100, 95, 0.5, 0.3, "P")
    assert parity == pytest.approx(5)


def test_prices_jump_now_and_then_and_the_jump_fades() -> None:
    path = PricePath(7, 1, 100.0, 0.30)
    moves = []
    for second in range(1_795_000_000, 1_795_000_000 + 10 * 86_400, 60):
        moves.append(abs(path.price(float(second) + 1) / path.price(float(second)) - 1))
    usual = sorted(moves)[len(moves) // 2]
    assert usual < 0.0005
    jumps = []
    for half_hour in range(1_795_000_000 // 1800, 1_795_000_000 // 1800 + 48 * 10):
        if path._draw(40, half_hour) < 0.04:
            moment, size = path._jump_in(half_hour)
            jumps.append((path.price(moment + 0.001) / path.price(moment - 0.001) - 1, size))
    assert 5 < len(jumps) < 40
    assert all(abs(moved - size) < 0.001 for moved, size in jumps)


def test_busy_times_have_more_events() -> None:
    def count(busy: float) -> int:
        market = SyntheticMarket(Prices(UNIVERSE, 7), 7, 50.0, lambda _, __: busy)
        market.watch(AAPL, START)
        return sum(len(market.advance(START + number * NS // 2)) for number in range(1, 41))

    assert count(0.1) * 3 < count(1.0) < count(3.0)


def test_a_scaled_price_is_scaled_at_all_times() -> None:
    prices = Prices(UNIVERSE, 7)
    before = prices.mid(AAPL, START)
    prices.scale(AAPL.con_id, 0.5)
    prices.scale(AAPL.con_id, 0.5)
    assert prices.mid(AAPL, START) == pytest.approx(before / 4) and prices.factor(AAPL.con_id) == 0.25

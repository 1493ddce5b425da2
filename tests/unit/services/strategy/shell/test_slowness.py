from __future__ import annotations

from services.strategy.api import Quote, Strategy
from services.strategy.core.saved import Watched
from services.strategy.shell.slowness import SLOW_AFTER, Slowness
from tests.unit.services.strategy.parts import give_quote, unit_of

S = 1_000_000_000


def looks(shares: list[float]) -> list[list[str]]:
    """Look once a second at a unit that took these shares of each."""
    slowness, spent, found = Slowness(), 0, []
    slowness.look({"s/u": 0}, 7 * S)
    for number, share in enumerate(shares, start=8):
        spent += int(share * S)
        found.append(slowness.look({"s/u": spent, "s/quiet": 0}, number * S))
    assert abs(slowness.shares["s/u"] - shares[-1]) < 1e-6 and slowness.shares["s/quiet"] == 0
    return found


def test_a_unit_that_takes_most_of_the_time_for_a_while_is_named_once() -> None:
    found = looks([0.9] * (SLOW_AFTER + 4))
    assert [number for number, names in enumerate(found, start=1) if names] == [SLOW_AFTER]
    assert found[SLOW_AFTER - 1] == ["s/u"]


def test_a_busy_moment_is_nothing_and_a_second_stretch_is_named_again() -> None:
    assert not any(looks([0.9, 0.9, 0.1, 0.9, 0.9, 0.4]))
    found = looks([0.9] * SLOW_AFTER + [0.1] + [0.9] * SLOW_AFTER)
    assert sum(bool(names) for names in found) == 2


def test_the_time_in_handlers_is_summed_also_when_they_raise() -> None:
    ticks = iter(range(0, 100, 5))

    class Raises(Strategy):
        def on_quote(self, quote: Quote) -> None:
            raise ValueError("by design")

    unit = unit_of(Raises(Strategy.Params()))
    unit.watched = Watched(clock=lambda: next(ticks))
    give_quote(unit)
    give_quote(unit)
    assert unit.watched.spent_ns == {"s/IBM": 10}

from __future__ import annotations

import time
from typing import Any

import pytest

from services.strategy.api import Quote, Strategy
from services.strategy.core.saved import Watched
from services.strategy.core.unit import Unit
from services.strategy.shell.mark import Mark
from services.strategy.shell.watchdog import Watchdog
from tests.unit.services.strategy.parts import IBM, T0, give_quote, unit_of

LIMIT_S = 0.2


SLOW = """
import time


def slow():
    while True:
        pass
"""


class Takes(Strategy):
    """Takes its time at each quote, in small steps or in one."""

    def __init__(self, total_s: float, script: Any = None) -> None:
        super().__init__(self.Params())
        self.total_s = total_s
        self.script = script

    def on_quote(self, quote: Quote) -> None:
        if self.script is not None:
            self.script()
        until = time.monotonic() + self.total_s
        while time.monotonic() < until:
            pass


def watched_unit(strategy: Strategy) -> tuple[Unit, Watched]:
    unit = unit_of(strategy)
    watched = Watched()
    unit.watched = watched
    return unit, watched


def test_a_handler_that_blocks_is_interrupted_named_with_its_line_and_its_unit_paused() -> None:
    user_code: dict[str, Any] = {}
    exec(compile(SLOW, "/desk/slow.py", "exec"), user_code)
    unit, watched = watched_unit(Takes(0.0, user_code["slow"]))
    begun = time.monotonic()
    with Watchdog(watched, LIMIT_S):
        give_quote(unit)
    assert time.monotonic() - begun < 5
    error = unit.recent_errors[-1]
    assert error.event == "on_quote" and error.where.startswith("/desk/slow.py:") and "longer than 0.2 s" in error.error
    assert "on_quote blocked" in unit.why_not_trading and "/desk/slow.py:" in unit.why_not_trading


def test_a_sleep_is_interrupted_too_and_no_except_of_the_strategy_swallows_it() -> None:
    def swallows() -> None:
        try:
            time.sleep(30)
        except Exception:
            pytest.fail("the strategy caught what ends it")

    unit, watched = watched_unit(Takes(0.0, swallows))
    with Watchdog(watched, LIMIT_S):
        give_quote(unit)
    assert unit.why_not_trading


def test_many_calls_that_are_quick_are_left_alone() -> None:
    unit, watched = watched_unit(Takes(0.01))
    with Watchdog(watched, LIMIT_S):
        for number in range(60):
            give_quote(unit, T0 + number, contract=IBM)
    assert not unit.recent_errors and not unit.why_not_trading


PROMPT = """
import time


def wait():
    time.sleep(1.0)
"""


def at_a_prompt() -> Any:
    """Return a function that looks like a debugger's: it waits for a person for a second."""
    code: dict[str, Any] = {"__name__": "pdb"}
    exec(compile(PROMPT, "pdb.py", "exec"), code)
    return code["wait"]


def test_in_sim_a_handler_at_a_debuggers_prompt_is_left_alone_and_its_order_is_valid_longer() -> None:
    wait = at_a_prompt()

    class Asks(Strategy):
        def on_quote(self, quote: Quote) -> None:
            self.buy(quote.contract, 1, valid_for_s=2)
            wait()

    unit, watched = watched_unit(Asks(Asks.Params()))
    watched.mark = mark = Mark()
    with Watchdog(watched, LIMIT_S, mark=mark, spares_debuggers=True):
        give_quote(unit)
    assert unit.recent_errors == [] and not unit.why_not_trading
    assert 0.5e9 < watched.debugged_ns < 1.5e9
    (order,) = unit.outbox.intents
    assert order.valid_until_ns == T0 + 2 * 10**9 + watched.debugged_ns


def test_elsewhere_it_is_interrupted() -> None:
    unit, watched = watched_unit(Takes(0.0, at_a_prompt()))
    with Watchdog(watched, LIMIT_S):
        give_quote(unit)
    assert "on_quote blocked" in unit.why_not_trading


def test_one_that_was_interrupted_and_goes_on_is_shown_to_the_sentinel() -> None:
    seen: list[bool] = []
    mark = Mark()

    def stubborn() -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until and not any(seen):
            try:
                while time.monotonic() < until and not any(seen):
                    seen.append(mark.read().is_stuck)
                    time.sleep(0.01)
            except BaseException:  # what no strategy should do
                continue

    unit, watched = watched_unit(Takes(0.0, stubborn))
    watched.mark = mark
    with Watchdog(watched, LIMIT_S, mark=mark):
        give_quote(unit)
    assert any(seen)

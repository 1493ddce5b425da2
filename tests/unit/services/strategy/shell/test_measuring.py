from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from services.strategy import metrics
from services.strategy.api import Quote, Strategy
from services.strategy.shell.feed import RunningUnit
from services.strategy.shell.measuring import CommitMeter
from shared.clock import NS_PER_MS, ManualClock
from tests.unit.services.strategy.parts import give_quote, save, unit_of


class Buys(Strategy):
    def on_quote(self, quote: Quote) -> None:
        self.buy(quote.contract, 1)


class Raises(Strategy):
    def on_quote(self, quote: Quote) -> None:
        raise ZeroDivisionError


def running(strategy: Strategy, name: str) -> RunningUnit:
    declared = SimpleNamespace(unit_id=f"{name}/IBM", strategy=SimpleNamespace(name=name))
    return cast("RunningUnit", SimpleNamespace(declared=declared, unit=unit_of(strategy, name=name)))


def value(metric: Any, **labels: str) -> float:
    child = metric.labels(**labels) if labels else metric
    return float(next(iter(child.collect()[0].samples)).value)


def test_intents_are_counted_with_the_commit_that_carries_them() -> None:
    clock = ManualClock()
    unit = running(Buys(Buys.Params()), "counted")
    give_quote(unit.unit)
    commit = save(unit.unit)
    assert commit is not None and commit.intents
    begun_ns = clock.monotonic_ns()
    clock.advance(0.001)
    CommitMeter(clock).saved(unit, commit, begun_ns)
    assert value(metrics.INTENTS, strategy="counted") == 1
    assert clock.monotonic_ns() - begun_ns == NS_PER_MS


def test_an_error_is_reported_once_however_often_its_unit_commits() -> None:
    meter = CommitMeter(ManualClock())
    unit = running(Raises(Raises.Params()), "raising")
    give_quote(unit.unit)
    first = save(unit.unit, force=True)
    assert first is not None
    meter.saved(unit, first, 0)
    meter.saved(unit, first, 0)
    assert value(metrics.ERRORS, strategy="raising") == 1

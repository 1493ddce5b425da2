"""Hot standbys in the simulation: their prices are the leader's and of its time, and what breaks that is noticed."""

from __future__ import annotations

import pytest

from services.gateway.core.feed import Feed
from shared.bus.keys import Keys
from shared.bus.ports import Entry
from shared.messages.market import Tick, TickKind, pack_ticks, quote_tick
from tests.simulation.checkers import Violation
from tests.simulation.checkers_feed import FeedIsTheLeaders
from tests.simulation.options import Options, drawn
from tests.simulation.run import Run

TICKS = Keys("sim").ticks(0)
MARKER = Tick(2001, 50, 50, TickKind.MARKER, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)


def hot(seed: int, **rates: float) -> Options:
    return Options(seed=seed, rage_s=8.0, gateways=2, hot=(1, 2), rates=rates)


def told(epoch: int, *ticks: Tick) -> Entry:
    return Entry(TICKS, "1-0", {b"epoch": str(epoch).encode(), b"body": pack_ticks(ticks)})


def quote(ts_ns: int) -> Tick:
    return quote_tick(2001, ts_ns, ts_ns, 1, 100.0, 1.0, 101.0, 1.0)


@pytest.fixture
def checker() -> FeedIsTheLeaders:
    made = FeedIsTheLeaders([], lambda: 1)
    made.acquired(7, 50)
    return made


def test_prices_that_begin_with_a_marker_are_right(checker: FeedIsTheLeaders) -> None:
    checker.added(1, told(7, MARKER, quote(50), quote(60)))
    checker.added(1, Entry(TICKS, "2-0", {b"body": b""}))  # of the run itself
    assert checker.violations == [] and checker.markers == 1


def test_prices_without_a_marker_in_their_epoch_are_noticed(checker: FeedIsTheLeaders) -> None:
    checker.added(1, told(7, MARKER, quote(60)))
    checker.added(1, told(8, quote(70)))
    assert checker.violations == [Violation("ticks", "contract 2001: the ticks of epoch 8 begin without a marker", 1)]


def test_prices_of_before_the_epoch_are_noticed_where_clocks_do_not_jump(checker: FeedIsTheLeaders) -> None:
    checker.added(1, told(7, MARKER, quote(49)))
    assert len(checker.violations) == 1
    checker.has_steady_clocks = False
    checker.added(1, told(7, MARKER, quote(49)))
    assert len(checker.violations) == 1


def test_half_of_the_seeds_have_hot_standbys() -> None:
    found = [drawn(seed) for seed in range(60)]
    assert {len(options.hot) for options in found} == {0, 1, 2, 3}


def test_leaders_and_standbys_subscribe_and_only_leaders_speak() -> None:
    runs = [Run(hot(seed, crash=0.35)) for seed in range(3)]
    assert [result.violations for result in (run.go() for run in runs)] == [[], [], []]
    assert min(run.market.quotes for run in runs) > 10
    assert sum(run.judge.feed.markers for run in runs) > 2 * len(runs), "more than one of them led"


@pytest.mark.parametrize(
    "broken, rates",
    [("hush", {"crash": 0.35}), ("lost", {"redis_full": 0.7, "crash": 0.7})],
)
def test_a_standby_that_is_not_silent_and_a_gap_that_is_not_told_are_noticed(
    monkeypatch: pytest.MonkeyPatch, broken: str, rates: dict[str, float]
) -> None:
    seeds = range(20)
    with monkeypatch.context() as patched:
        patched.setattr(Feed, broken, lambda _self, *_args: None)
        results = (Run(hot(seed, **rates)).go() for seed in seeds)
        caught = next((result for result in results if not result.is_clean), None)
    assert caught is not None, f"{broken} broke nothing in {len(seeds)} seeds"
    assert caught.violations[0].promise == "ticks"
    assert Run(hot(caught.options.seed, **rates)).go().is_clean

from __future__ import annotations

import pytest

from services.strategy.core.assignment import LeaseSeen, Watch, assign

UNITS = [f"s/C{number}" for number in range(200)]


def test_every_unit_has_one_worker_and_the_order_of_workers_does_not_matter() -> None:
    plan = assign(UNITS, ["b", "a", "c"])
    assert sorted(unit for units in plan.values() for unit in units) == sorted(UNITS)
    assert plan == assign(UNITS, ["a", "b", "c"])
    assert min(len(units) for units in plan.values()) > 40


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("units", [0, 1, 5, 6, 40])
def test_no_worker_has_more_than_one_unit_more_than_another(units: int, count: int) -> None:
    sizes = [len(mine) for mine in assign(UNITS[:units], [f"w{number}" for number in range(count)]).values()]
    assert sum(sizes) == units and len(sizes) == count
    assert max(sizes) - min(sizes) <= 1


def test_few_units_move_when_a_worker_goes() -> None:
    three, two = assign(UNITS, ["a", "b", "c"]), assign(UNITS, ["a", "b"])
    stayed = sum(len(set(three[worker]) & set(two[worker])) for worker in two)
    assert stayed > 100  # of the 133 units that did not lose their worker


@pytest.mark.parametrize("pinned", [1, 10, 70, 200])
def test_a_pinned_unit_is_where_it_was_put_and_the_others_share_the_rest(pinned: int) -> None:
    pins = {unit: "a" for unit in UNITS[:pinned]} | {UNITS[0]: "b", UNITS[1]: "gone"}
    plan = assign(UNITS, ["a", "b", "c"], pins)
    assert sorted(unit for units in plan.values() for unit in units) == sorted(UNITS)
    assert UNITS[0] in plan["b"] and set(UNITS[2:pinned]) <= set(plan["a"])
    assert abs(len(plan["b"]) - len(plan["c"])) <= 1


def test_without_workers_a_unit_is_nobodys() -> None:
    assert assign(["s/C1"], []) == {}


def test_a_worker_is_dead_only_after_a_whole_lease_time_was_watched() -> None:
    watch = Watch(ttl_ns=100)
    watch.observed("a", LeaseSeen("a", 1, 1), 0, 10)
    assert watch.live() == ["a"]
    watch.observed("a", LeaseSeen("a", 1, 1), 105, 106)
    assert watch.is_live("a")  # seen unchanged from 10 to 105 only
    watch.observed("a", LeaseSeen("a", 1, 1), 110, 111)
    assert not watch.is_live("a")
    watch.observed("a", LeaseSeen("a", 1, 2), 120, 121)
    assert watch.is_live("a")


def test_a_watcher_that_did_not_look_calls_nobody_dead() -> None:
    watch = Watch(ttl_ns=100)
    watch.observed("a", LeaseSeen("a", 1, 1), 0, 1)
    watch.observed("a", LeaseSeen("a", 1, 2), 10_000, 10_001)
    assert watch.is_live("a")


def test_a_released_or_newer_lease_holds_nothing_of_the_old_epoch() -> None:
    watch = Watch(ttl_ns=100)
    watch.observed("a", LeaseSeen("a", 2, 1), 0, 1)
    assert watch.may_hold("a", 2) and not watch.may_hold("a", 1)
    watch.observed("a", LeaseSeen("", 2, 1), 2, 3)
    assert not watch.may_hold("a", 2) and watch.live() == []

from __future__ import annotations

from services.strategy.core.assignment import LeaseSeen, Watch, assign, worker_of

UNITS = [f"s/C{number}" for number in range(200)]


def test_every_unit_has_one_worker_and_the_order_of_workers_does_not_matter() -> None:
    plan = assign(UNITS, ["b", "a", "c"])
    assert sorted(unit for units in plan.values() for unit in units) == sorted(UNITS)
    assert plan == assign(UNITS, ["a", "b", "c"])
    assert min(len(units) for units in plan.values()) > 40


def test_only_a_lost_workers_units_move_and_a_new_one_takes_only_its_own() -> None:
    three = {unit: worker_of(unit, ["a", "b", "c"]) for unit in UNITS}
    two = {unit: worker_of(unit, ["a", "b"]) for unit in UNITS}
    assert all(two[unit] == worker for unit, worker in three.items() if worker != "c")


def test_without_workers_a_unit_is_nobodys() -> None:
    assert worker_of("s/C1", []) is None


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

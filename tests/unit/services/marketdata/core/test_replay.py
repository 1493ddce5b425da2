from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.marketdata.core.replay import merged, without_repeats
from shared.bus.ports import Entry, entry_order


def entries(stream: str, *ids: str) -> list[Entry]:
    return [Entry(stream, entry_id, {}) for entry_id in ids]


def ids(found: list[Entry]) -> list[str]:
    return [f"{entry.stream} {entry.entry_id}" for entry in found]


def test_streams_are_merged_by_the_servers_time_and_equal_ids_by_their_order() -> None:
    streams = {"b": entries("b", "5-0", "10-0"), "a": entries("a", "5-0", "9-3", "9-20")}
    assert ids(list(merged(streams))) == ["b 5-0", "a 5-0", "a 9-3", "a 9-20", "b 10-0"]


def test_what_was_recorded_twice_comes_once() -> None:
    twice = entries("a", "1-0", "2-0", "3-0", "2-0", "3-0", "4-0")
    assert ids(list(without_repeats(twice))) == ["a 1-0", "a 2-0", "a 3-0", "a 4-0"]


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)))))
def test_nothing_is_lost_and_the_order_is_that_of_the_ids(made: dict[str, list[tuple[int, int]]]) -> None:
    streams = {name: [Entry(name, f"{ms}-{seq}", {}) for ms, seq in sorted(rows)] for name, rows in made.items()}
    found = list(merged(streams))
    assert [entry_order(one.entry_id) for one in found] == sorted(entry_order(one.entry_id) for one in found)
    for name, rows in made.items():
        assert [entry_order(one.entry_id) for one in found if one.stream == name] == sorted(set(rows))

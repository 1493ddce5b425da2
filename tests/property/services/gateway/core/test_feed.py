"""Whatever TWS sends, only valid ticks leave, memory is bounded, and the last quote is the truth."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.feed import Feed
from shared.messages.market import TickKind, is_valid_tick, pack_valid, unpack_ticks

prices = st.one_of(st.floats(0.01, 1e6), st.sampled_from([-1.0, 0.0, math.inf, math.nan]))
sizes = st.floats(0, 1e6)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("price"), st.sampled_from([1, 2, 4, 66, 67, 68, 37]), prices, sizes),
        st.tuples(st.just("size"), st.sampled_from([0, 3, 5, 69, 8]), sizes),
        st.just(("end",)),
    ),
    max_size=200,
)


@given(acts)
def test_only_valid_ticks_leave_and_the_last_quote_is_the_state(given_acts: list[tuple[object, ...]]) -> None:
    feed = Feed(limit=50)
    feed.subscribe(1, 42, 0)
    for act in given_acts:
        if act[0] == "price":
            feed.price(1, *act[1:], 7)  # type: ignore[arg-type,call-arg]
        elif act[0] == "size":
            feed.size(1, *act[1:], 7)  # type: ignore[arg-type,call-arg]
        else:
            feed.read_ended(7)
        assert feed.waiting <= 51
    feed.read_ended(8)
    taken = feed.take()
    body, rejected = pack_valid(taken)
    ticks = list(unpack_ticks(body))
    assert all(is_valid_tick(tick) for tick in ticks) and len(ticks) + rejected == len(taken)
    quotes = [tick for tick in ticks if tick.kind == TickKind.QUOTE]
    if quotes:
        line = feed._lines[1]
        for seen, kept in zip((quotes[-1].a, quotes[-1].c), (line.bid, line.ask), strict=True):
            assert seen == kept or (math.isnan(seen) and math.isnan(kept)) or rejected

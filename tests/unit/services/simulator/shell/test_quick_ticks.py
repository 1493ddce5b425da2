from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.shell.quick_ticks import quick_frame
from shared.tws.framing import encode_frame
from shared.tws.responses import CurrentTime, Response, TickPrice, TickSize, TickString, encode_response

numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**16), 10**16))
whole = st.integers(-1, 2**31 - 1)
texts = st.one_of(st.text(max_size=30), st.just("a\\u0041"))
ticks = st.one_of(
    st.builds(TickPrice, whole, whole, numbers, numbers, st.integers(0, 7)),
    st.builds(TickSize, whole, whole, numbers),
    st.builds(TickString, whole, whole, texts),
)


@given(ticks, st.sampled_from([157, 163, 176, 178]))
def test_every_byte_is_the_codecs(tick: Response, version: int) -> None:
    """What is written quickly is what the codec writes; what the codec refuses is left to it."""
    quick = quick_frame(tick)
    try:
        expected = encode_frame(encode_response(tick, version))
    except ValueError:
        assert quick is None
        return
    assert quick in (None, expected)


@pytest.mark.parametrize("tick", [TickPrice(1, 1, 100.25, 300.0, 1), TickSize(1, 8, 5e6), TickString(1, 45, "1")])
def test_usual_ticks_are_written_quickly(tick: Response) -> None:
    assert quick_frame(tick) == encode_frame(encode_response(tick, 176))


def test_everything_else_is_left_to_the_codec() -> None:
    assert quick_frame(CurrentTime(5)) is None
    assert quick_frame(TickSize(1, 1, float("nan"))) is None
    assert quick_frame(TickPrice(1, 1, float("inf"))) is None

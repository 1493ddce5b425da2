from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.shell.quick_ticks import quick_frames
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


def by_the_codec(version: int) -> Callable[[Response], bytes]:
    return lambda response: encode_frame(encode_response(response, version))


@given(st.lists(st.one_of(ticks, st.just(CurrentTime(5))), max_size=6), st.sampled_from([157, 163, 176, 178]))
def test_every_byte_is_the_codecs(messages: list[Response], version: int) -> None:
    """What is written quickly is what the codec writes; what the codec refuses is refused here too."""
    slow = by_the_codec(version)
    try:
        expected = b"".join(slow(each) for each in messages)
    except ValueError:
        with pytest.raises(ValueError, match="cannot"):
            quick_frames(messages, slow)
        return
    assert quick_frames(messages, slow) == expected


def test_usual_ticks_do_not_go_through_the_codec() -> None:
    usual: list[Response] = [TickPrice(1, 1, 100.25, 300.0, 1), TickSize(1, 8, 5e6), TickString(1, 45, "1795446000")]
    asked: list[Response] = []

    def slow(response: Response) -> bytes:
        asked.append(response)
        return b"slow"

    quick_frames(usual, slow)
    assert asked == []
    others: list[Response] = [CurrentTime(5), TickSize(1, 1, float("nan")), TickString(1, 45, "x" * 200)]
    assert quick_frames(others, slow) == b"slow" * 3 and asked == others

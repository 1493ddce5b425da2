"""`cq_peek` prints what the Python decoder reads, exactly, on both servers."""

from __future__ import annotations

import json
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.messages.market import quote_tick, trade_tick
from tests.support import RedisServer


@pytest.fixture
async def peek(each_server: RedisServer) -> Any:
    bus = open_bus(each_server.url, Keys("peek"))
    await bus.load_functions()
    await bus.close()
    return each_server.client()


def peeked(client: Any, fields: dict[str, bytes]) -> Any:
    client.delete("s")
    client.xadd("s", fields)
    return json.loads(client.execute_command("FCALL_RO", "cq_peek", 1, "s", 1))[0]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(value=st.dictionaries(st.text(max_size=8), VALUES, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_msgpack_body_is_printed_exactly(peek: Any, value: dict[str, Any]) -> None:
    shown = peeked(peek, {"type": b"x", "body": msgpack.packb(value)})
    assert shown["body"] == value


@given(body=st.binary(max_size=80), kind=st.sampled_from([b"x", b"ticks"]), other=st.binary(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_still_json(peek: Any, body: bytes, kind: bytes, other: bytes) -> None:
    shown = peeked(peek, {"type": kind, "other": other, "body": body})
    assert shown["type"] == kind.decode()


def test_ticks_are_decoded_with_whole_nanoseconds(peek: Any) -> None:
    now_ns = 1_795_430_729_176_464_123
    ticks = [
        quote_tick(265598, now_ns, now_ns + 1, 1, 123.45, 200, 123.46, float("nan")),
        trade_tick(1, 2, 3, 3, 0.1, 7),
    ]
    shown = peeked(peek, {"type": b"ticks", "body": b"".join(struct.pack("<qqqBBHIdddd", *tick) for tick in ticks)})
    assert shown["body"][0] == {
        "con_id": 265598,
        "ts_event_ns": now_ns,
        "ts_init_ns": now_ns + 1,
        "kind": "quote",
        "quality": 1,
        "flags": 0,
        "bid": 123.45,
        "bid_size": 200,
        "ask": 123.46,
        "ask_size": None,
    }
    assert shown["body"][1]["price"] == 0.1


def test_a_wrong_count_is_an_error(peek: Any) -> None:
    for count in ("0", "x", "10001"):
        with pytest.raises(Exception, match="count must be"):
            peek.execute_command("FCALL_RO", "cq_peek", 1, "s", count)

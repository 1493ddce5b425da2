"""`cq_halt`: the one command that a person types in redis-cli to halt; an entry of `control` like any other."""

from __future__ import annotations

import pytest
import redis

from shared.bus.keys import Keys
from shared.bus.redis_client import open_bus
from shared.clock import SYSTEM_CLOCK, parse_iso_utc
from shared.messages.codec import decode_fields
from shared.messages.control import Control, ControlAction
from tests.support import RedisServer


async def test_what_is_typed_is_a_halt_of_the_account(each_server: RedisServer, deployment: str) -> None:
    keys = Keys(deployment)
    bus = open_bus(each_server.url, keys)
    try:
        await bus.load_functions()
        before_ns = SYSTEM_CLOCK.wall_ns()
        with each_server.client() as client:
            answer = client.execute_command("FCALL", "cq_halt", 1, keys.control, "anna", "bad fills ü")
            assert keys.halt in answer.decode()
            client.execute_command("FCALL", "cq_halt", 1, keys.control, "bert")
        first, second = await bus.read_range(keys.control)
    finally:
        await bus.close()
    said = decode_fields(first.fields).message
    assert isinstance(said, Control)
    assert (said.action, said.scope, said.who, said.reason) == (ControlAction.HALT, "account", "anna", "bad fills ü")
    assert said.control_id.startswith("redis-cli:") and said.control_id.encode() == first.fields[b"id"]
    assert abs(parse_iso_utc(first.fields[b"ts"].decode()) - before_ns) < 60 * 10**9
    other = decode_fields(second.fields).message
    assert isinstance(other, Control) and (other.who, other.reason) == ("bert", "")


@pytest.mark.parametrize("scope", ["account", "strategy:mean_reversion", "contract:265598", "strategy:" + "x" * 91])
async def test_a_part_can_be_named(each_server: RedisServer, deployment: str, scope: str) -> None:
    keys = Keys(deployment)
    bus = open_bus(each_server.url, keys)
    try:
        await bus.load_functions()
        with each_server.client() as client:
            answer = client.execute_command("FCALL", "cq_halt", 1, keys.control, "anna", "odd", scope).decode()
        (entry,) = await bus.read_range(keys.control)
    finally:
        await bus.close()
    said = decode_fields(entry.fields).message
    assert isinstance(said, Control) and (said.action, said.scope, said.reason) == (ControlAction.HALT, scope, "odd")
    assert entry.fields[b"key"] == scope.encode() == said.envelope_key().encode()
    assert scope == "account" or f"halt:{scope} holding" in answer


@pytest.mark.parametrize(
    "words",
    [
        ("cq:x:orders", "anna"), ("cq:x:control", ""), ("cq:x:control",), ("cq:x:control", "a" * 101),
        ("cq:x:control", "anna", "why", "contract:AAPL"), ("cq:x:control", "anna", "why", "strategy:"),
        ("cq:x:control", "anna", "why", "everything"), ("cq:x:control", "anna", "why", ""),
        ("cq:x:control", "anna", "why", "strategy:" + "x" * 92),
    ],
)  # fmt: skip
async def test_what_is_typed_wrongly_says_how_and_writes_nothing(
    each_server: RedisServer, deployment: str, words: tuple[str, ...]
) -> None:
    bus = open_bus(each_server.url, Keys(deployment))
    try:
        await bus.load_functions()
    finally:
        await bus.close()
    with each_server.client() as client:
        with pytest.raises(redis.ResponseError, match="cq_halt"):
            client.execute_command("FCALL", "cq_halt", 1, *words)
        assert not client.exists(words[0])

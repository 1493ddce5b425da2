"""P1 in the server's own terms: only risk writes commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys
from shared.bus.ports import LeaseView
from shared.bus.redis_client import RedisBus, open_bus
from shared.errors import ConfigError, Refused
from shared.messages.orders import CancelRequest, Decision
from tests.support import RedisServer

PASSWORDS = {role: f"secret-{role}" for role in ROLES}


@pytest.fixture
def guarded(each_server: RedisServer, deployment: str, tmp_path: Path) -> Iterator[tuple[RedisServer, Keys]]:
    keys = Keys(deployment)
    client = each_server.client()
    for line in acl_lines(keys, PASSWORDS):
        words = line.split()
        if words[1] != "default":
            client.execute_command("ACL", "SETUSER", words[1], "reset", *words[2:])
    yield each_server, keys
    client.execute_command("ACL", "DELUSER", *ROLES)


def as_role(server: RedisServer, keys: Keys, role: str) -> RedisBus:
    return open_bus(f"redis://{role}:{PASSWORDS[role]}@{server.host}:{server.port}/0", keys)


async def test_only_risk_writes_commands_and_only_the_gateway_writes_fills(guarded: tuple[RedisServer, Keys]) -> None:
    server, keys = guarded
    message = CancelRequest(cancel_id="1", intent_id="i" * 20)
    allowed = {keys.commands: "risk", keys.decisions: "risk", keys.fills: "gateway", keys.orders: "gateway"}
    for role in ROLES:
        if role == "admin":
            continue
        bus = as_role(server, keys, role)
        try:
            for stream, writer in allowed.items():
                if role == writer:
                    await bus.append(stream, message, source="x")
                else:
                    with pytest.raises(Refused, match="BUS_NO_PERMISSION"):
                        await bus.append(stream, message, source="x")
        finally:
            await bus.close()


async def test_a_script_gives_no_more_rights_than_its_caller_has(guarded: tuple[RedisServer, Keys]) -> None:
    server, keys = guarded
    bus = as_role(server, keys, "strategy")
    try:
        token = await bus.lease_acquire("strategy.w", "w", LeaseView(), at_least_epoch=0)
        assert token is not None
        await bus.raise_fence(token)
        with pytest.raises(Refused, match="BUS_NO_PERMISSION"):
            await bus.publish(token, [(keys.commands, Decision(intent_id="i" * 20, approved=True))], source="x")
        with pytest.raises(Refused, match="BUS_NO_PERMISSION"):
            await bus.lease_acquire("gateway", "w", LeaseView(), at_least_epoch=0)
    finally:
        await bus.close()


async def test_a_wrong_password_is_a_sentence(guarded: tuple[RedisServer, Keys]) -> None:
    server, keys = guarded
    bus = open_bus(f"redis://risk:wrong@{server.host}:{server.port}/0", keys)
    with pytest.raises(ConfigError, match="refuses this user or password"):
        await bus.incarnation()
    await bus.close()

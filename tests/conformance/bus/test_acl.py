"""P1 in the server's own terms: only risk writes commands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from shared.bus.acl import ROLES, acl_lines
from shared.bus.keys import Keys
from shared.bus.ports import Entry, LeaseView, UnitCommit
from shared.bus.redis_client import RedisBus, open_bus
from shared.bus.retention import Retention, register_reader, trim_pass
from shared.errors import ConfigError, Refused
from shared.messages.control import Alert, Control, ControlAction
from shared.messages.orders import CancelCommand, CancelRequest, Command, Decision, OrderState
from tests.conformance.bus.bench import SOURCE, a_claim, an_event, an_intent, lead
from tests.conformance.bus.test_incarnation import FEE
from tests.support import RedisServer, first_kind

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


@asynccontextmanager
async def bus_of(guarded: tuple[RedisServer, Keys], role: str) -> AsyncIterator[RedisBus]:
    bus = as_role(*guarded, role)
    try:
        yield bus
    finally:
        await bus.close()


async def test_the_gateway_can_do_its_work(guarded: tuple[RedisServer, Keys]) -> None:
    async with bus_of(guarded, "gateway") as bus:
        token = await lead(bus)
        await bus.hash_set(bus.keys.halt, {"stage": "none"})
        await bus.hash_set(bus.keys.identity, {"mode": "sim"})
        await bus.hash_set(bus.keys.gateways, {"a": "1"})
        assert (await bus.claim(token, a_claim(token), source=SOURCE))[0].is_new
        assert await bus.publish_fills(token, [FEE], source=SOURCE) == [True]
        await bus.publish_ticks(token, [(0, b"x" * 64)], source=SOURCE)
        event = an_event(OrderState.WORKING)
        await bus.publish(token, [(bus.keys.orders, event), (bus.keys.broker_status, event)], source=SOURCE)
        await bus.cancel_first(token, intent_id="j" * 20, legs=[0], events=[event], entry_id="1-1", source=SOURCE)
        await bus.skip_entry(token, "commands", "1-2")
        await bus.answer("me", event, source=SOURCE)
        await bus.dead_letter(Entry("x", "1-1", {}), consumer="gateway", error="bad")
        await bus.set_text(bus.keys.heartbeat("gateway", "a"), "{}", expire_s=5)
        await bus.group_ensure(bus.keys.queries, "gateway")
        await bus.group_new(bus.keys.queries, "gateway", "a", count=1, block_ms=None)
        await bus.lease_renew(token)
        await bus.lease_release(token)


async def test_risk_can_do_its_work(guarded: tuple[RedisServer, Keys]) -> None:
    async with bus_of(guarded, "risk") as bus:
        token = await lead(bus, "risk")
        command = Command(intent=an_intent(), not_after_ns=1, incarnation=token.incarnation)
        decision = Decision(intent_id="i" * 20, approved=True)
        assert await bus.decide(token, entry_id="1-1", decision=decision, command=command, source=SOURCE)
        cancel = CancelCommand(cancel=CancelRequest(cancel_id="1", intent_id="i" * 20))
        await bus.pass_cancel(token, entry_id="1-1", command=cancel, source=SOURCE)
        await bus.skip_entry(token, "intents", "1-2")
        await register_reader(bus, bus.keys.fills, "risk", "0-0", 1)


async def test_a_strategy_worker_can_do_its_work(guarded: tuple[RedisServer, Keys]) -> None:
    async with bus_of(guarded, "strategy") as bus:
        token = await lead(bus, "strategy.a")
        assert await bus.take_unit(token, "u", seen=await bus.load_unit("u"))
        cancel = CancelRequest(cancel_id="1", intent_id="i" * 20)
        commit = UnitCommit("u", 1, b"s", {"x": "1-1"}, b"", intents=(an_intent(),), cancels=(cancel,))
        assert await bus.commit_unit(token, commit, source=SOURCE)
        await bus.hash_set(bus.keys.strategies, {"u": "{}"})


async def test_marketdata_can_do_its_work(guarded: tuple[RedisServer, Keys]) -> None:
    async with bus_of(guarded, "marketdata") as bus:
        token = await lead(bus, "marketdata")
        event = an_event(OrderState.WORKING)
        await bus.publish(token, [(bus.keys.bars(0), event), (bus.keys.subscriptions, event)], source=SOURCE)
        await bus.hash_set(bus.keys.last(1), {"bid": "1"})


async def test_monitoring_trims_what_it_must_not_write(guarded: tuple[RedisServer, Keys]) -> None:
    keys = guarded[1]
    async with bus_of(guarded, "gateway") as gateway:
        ids = [await gateway.append(keys.fills, FEE, source=SOURCE) for _ in range(4)]
    async with bus_of(guarded, "monitoring") as bus:
        await bus.append(keys.alerts, Alert(alert_id="1", severity="info", text="t"), source=SOURCE)
        two = Retention(max_age_s=10**9, max_entries=2, keep_s=10**9)
        assert await trim_pass(bus, {keys.fills: two}, 2 * 10**18) == {keys.fills: 2}
        assert [entry.entry_id for entry in await bus.read_range(keys.fills)] == ids[2:]
        with pytest.raises(Refused, match="BUS_NO_PERMISSION"):
            await bus.append(keys.fills, FEE, source=SOURCE)
    async with bus_of(guarded, "strategy") as worker:
        with pytest.raises(Refused, match="BUS_NO_PERMISSION"):
            await worker.trim(keys.fills, before=ids[3])


async def test_an_operator_can_halt_cancel_and_look(guarded: tuple[RedisServer, Keys]) -> None:
    server, keys = guarded
    async with bus_of(guarded, "admin") as admin:
        await admin.load_functions()
    async with bus_of(guarded, "operator") as bus:
        await bus.append(keys.control, Control(control_id="1", action=ControlAction.HALT, who="me"), source=SOURCE)
        await bus.append(keys.cancels, CancelRequest(cancel_id="1", intent_id="i" * 20), source=SOURCE)
        await bus.append(keys.intents, an_intent(), source=SOURCE)
        assert await bus.scan(f"cq:{keys.deployment}:*")
    with server.client(username="operator", password=PASSWORDS["operator"]) as client:
        assert json.loads(client.execute_command("FCALL_RO", "cq_peek", 1, keys.control, 5))[0]["type"] == "control"
        assert b"asked for" in client.execute_command("FCALL", "cq_halt", 1, keys.control, "anna", "typed in redis-cli")
        assert client.xlen(keys.control) == 2
    client = server.client(username="strategy", password=PASSWORDS["strategy"])
    with client, pytest.raises(redis.exceptions.ResponseError):
        client.execute_command("FCALL", "cq_halt", 1, keys.control, "a strategy")


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "CONFIG GET maxmemory",
        "CLIENT KILL TYPE normal",
        "CLIENT PAUSE 1000",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "ACL LIST",
        "SHUTDOWN",
        "GET cq:another:halt",
        "SET cq:another:halt 1",
    ],
)
async def test_no_role_but_admin_may_disturb_others(guarded: tuple[RedisServer, Keys], command: str) -> None:
    server, _ = guarded
    for role in ROLES:
        if role == "admin":
            continue
        client = server.client(username=role, password=PASSWORDS[role])
        with client, pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.split())


async def test_a_server_loads_the_file_and_turns_the_default_user_off(
    guarded: tuple[RedisServer, Keys], tmp_path: Path
) -> None:
    server, keys = guarded
    users = tmp_path / "users.acl"
    users.write_text("user default on nopass ~* +@all\n")
    own = RedisServer(server.kind, options=("--aclfile", str(users)))
    try:
        own.start()
        users.write_text("\n".join(acl_lines(keys, PASSWORDS)) + "\n")
        with own.client() as client:
            client.execute_command("ACL", "LOAD")
        with own.client() as client, pytest.raises(redis.exceptions.RedisError, match="authenticate"):
            client.ping()
        for role in ROLES:
            with own.client(username=role, password=PASSWORDS[role]) as client:
                assert client.ping()
    finally:
        own.remove()


async def test_what_scripts_wrote_is_there_after_a_kill_although_the_default_user_is_off(
    deployment: str, tmp_path: Path
) -> None:
    keys = Keys(deployment)
    users = tmp_path / "users.acl"
    users.write_text("\n".join(acl_lines(keys, PASSWORDS)) + "\n")
    server = RedisServer(first_kind(), options=("--aclfile", str(users)))
    server.client = lambda **options: redis.Redis(  # type: ignore[method-assign]
        host=server.host, port=server.port, username="admin", password=PASSWORDS["admin"], **options
    )
    try:
        server.start()
        bus = as_role(server, keys, "risk")
        token = await lead(bus, "risk", "r1")
        intent = an_intent(incarnation=token.incarnation)
        decision = Decision(intent_id=intent.intent_id, approved=True)
        command = Command(intent=intent, not_after_ns=1, incarnation=token.incarnation)
        assert await bus.decide(token, entry_id="7-0", decision=decision, command=command, source=SOURCE)
        await bus.close()
        server.restart()
        bus = as_role(server, keys, "risk")
        assert await bus.get_cursor("intents") == "7-0"
        assert await bus.get_text(keys.decided(intent.intent_id)) is not None
        assert await bus.stream_length(keys.decisions) == await bus.stream_length(keys.commands) == 1
        await bus.close()
        with redis.Redis(host=server.host, port=server.port) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()
        assert "CRITICAL" not in server.log
    finally:
        server.remove()

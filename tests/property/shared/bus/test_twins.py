"""The bus in memory and the bus on Redis answer every sequence of acts alike, and write the same entries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus.keys import Keys
from shared.bus.latches import ACCOUNT, latch_of
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Bus, ClaimRequest, LeaseToken, UnitCommit
from shared.bus.redis_client import open_bus
from shared.clock import random_token
from shared.errors import CqError
from shared.messages.codec import decode_fields
from shared.messages.control import Control, ControlAction
from shared.messages.orders import Command, Decision, Fill, OrderState, Side
from tests.conformance.bus.bench import SOURCE, a_claim, an_event, an_intent
from tests.support import RedisServer

Act = Callable[["Twin"], Awaitable[Any]]
ROLE = "gateway"


class Twin:
    """One of the two: a bus and the tokens its leaders got, stale ones included."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.tokens: list[LeaseToken] = []

    def token(self, number: int) -> LeaseToken:
        if not self.tokens:
            return LeaseToken(ROLE, "nobody", 1, "none")
        return self.tokens[-1 - number % len(self.tokens)]

    async def acquire(self, owner: str) -> Any:
        seen = await self.bus.lease_view(ROLE)
        token = await self.bus.lease_acquire(ROLE, owner, seen, at_least_epoch=10**15)
        assert token is not None
        self.tokens.append(token)
        return token.epoch

    async def claim(self, number: int, request: ClaimRequest, *, is_stale: bool) -> Any:
        token = self.token(number)
        made_in = "another" if is_stale else token.incarnation
        return await self.bus.claim(token, replace(request, made_in=made_in), source=SOURCE)

    async def decide(self, number: int, intent: str, entry: str, *, is_approved: bool, is_stale: bool) -> Any:
        token = self.token(number)
        made_in = "another" if is_stale else token.incarnation
        command = Command(intent=an_intent(intent), not_after_ns=1, incarnation=made_in) if is_approved else None
        decision = Decision(intent_id=intent, approved=is_approved)
        return await self.bus.decide(token, entry_id=entry, decision=decision, command=command, source=SOURCE)

    async def take(self, number: int, unit: str) -> Any:
        return await self.bus.take_unit(self.token(number), unit, seen=await self.bus.load_unit(unit))

    async def commit(self, number: int, unit: str, commit: int) -> Any:
        content = UnitCommit(unit, commit, b"s", {"x": f"{commit}-0"}, b"t", intents=(an_intent(),))
        return await self.bus.commit_unit(self.token(number), content, source=SOURCE)

    async def set_halt(self, stage: str) -> Any:
        await self.bus.hash_set(self.bus.keys.halt, {"stage": stage})

    async def act(self, action: ControlAction, scope: str, reason: str) -> None:
        control = Control(control_id="c", action=action, scope=scope, who="me", reason=reason)
        await self.bus.append(self.bus.keys.control, control, source=SOURCE)

    async def read_on(self, count: int) -> None:
        """Move the leader's cursor in `control` by some entries, and store the latches they set, as the leader does."""
        halt, keys = await self.bus.hash_get_all(self.bus.keys.halt), self.bus.keys
        cursor = halt.get("cursor", b"0-0").decode()
        latches: dict[str, str] = {}
        for entry in (await self.bus.read({keys.control: cursor}, count=count)).get(keys.control, []):
            message = decode_fields(entry.fields).message
            assert isinstance(message, Control)
            name, is_set = latch_of(message) or ("", False)
            latches["stage" if name == ACCOUNT else name or "none"] = "holding me: x" if is_set else ""
            if name == ACCOUNT:
                latches["stage"] = "holding" if is_set else "none"
            cursor = entry.entry_id
        await self.bus.hash_set(keys.halt, {**latches, "cursor": cursor})

    async def what_is(self) -> Any:
        """Return everything that can be seen, without times and incarnations."""
        keys, bus = self.bus.keys, self.bus
        shown: list[Any] = []
        for stream in (keys.orders, keys.decisions, keys.commands, keys.fills, keys.intents):
            entries = await bus.read_range(stream)
            shown.append([(entry.fields[b"type"], entry.fields[b"id"], entry.fields[b"epoch"]) for entry in entries])
        shown += [await bus.get_cursor(name) for name in ("intents", "commands", "cancel-commands")]
        shown += [await bus.ledger_rows(intent) for intent in INTENT_IDS]
        shown.append(await bus.hash_get_all(keys.order_ids))
        shown += [await bus.load_unit(unit) for unit in UNITS]
        lease = await bus.lease_view(ROLE)
        shown.append((lease.owner, lease.epoch, lease.counter))
        return shown


INTENT_IDS = ["a" * 20, "b" * 20, "c" * 20, "d" * 20]
UNITS = ["u", "v"]
TOKENS = st.sampled_from([0, 0, 0, 1, 2])
"""Mostly the newest token, now and then a stale one."""
INTENTS = st.sampled_from(INTENT_IDS)
ENTRIES = st.sampled_from(["", "1-1", "2-0", "3-7"])


def a_fill(revision: int, stem: str) -> Fill:
    return Fill(
        exec_id=f"{stem}.0{revision}",
        exec_stem=stem,
        revision=revision,
        strategy="s",
        account="D",
        con_id=1,
        side=Side.BUY,
        quantity=Decimal(1),
        price=Decimal(2),
    )


NOW = LeaseToken(ROLE, "", 0, "")
ACQUIRE = st.sampled_from("ab").map(lambda owner: lambda twin: twin.acquire(owner))
FENCE = TOKENS.map(lambda number: lambda twin: twin.bus.raise_fence(twin.token(number)))
RENEW = TOKENS.map(lambda number: lambda twin: _epochs(twin.bus.lease_renew(twin.token(number))))
RELEASE = TOKENS.map(lambda number: lambda twin: twin.bus.lease_release(twin.token(number)))
HALT = st.sampled_from(["none", "holding"]).map(lambda stage: lambda twin: twin.set_halt(stage))
CONTROL = st.builds(
    lambda action, scope, reason: lambda twin: twin.act(action, scope, reason),
    st.sampled_from(list(ControlAction)),
    st.sampled_from(["account", "strategy:s", "strategy:t", "contract:1", "contract:2", "s", "strategy:" + "s" * 40]),
    st.sampled_from(["", "åscope§account", "åaction¤halt åscope\u0641", "x" * 300]),
)
READ_ON = st.integers(1, 3).map(lambda count: lambda twin: twin.read_on(count))
CLAIM = st.builds(
    lambda number, intent, legs, is_reducing, now_ns, entry, first, is_stale, strategy, con_id: (
        lambda twin: twin.claim(
            number,
            a_claim(
                NOW,
                intent,
                legs=legs,
                is_reducing=is_reducing,
                now_ns=now_ns,
                cursor_entry=entry,
                order_ids=tuple(first + leg for leg in range(legs)),
                strategy=strategy,
                con_id=con_id,
            ),
            is_stale=is_stale,
        )
    ),
    TOKENS,
    INTENTS,
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from([9, 10, 11]),
    ENTRIES,
    st.integers(1, 12),
    st.sampled_from([False, False, False, True]),
    st.sampled_from(["s", "t", "s" * 40]),
    st.integers(1, 3),
)
CANCEL = st.builds(
    lambda number, intent, legs, entry: (
        lambda twin: twin.bus.cancel_first(
            twin.token(number),
            intent_id=intent,
            legs=legs,
            events=[an_event(OrderState.CANCELLED, intent, leg) for leg in legs],
            entry_id=entry,
            source=SOURCE,
        )
    ),
    TOKENS,
    INTENTS,
    st.lists(st.integers(0, 1), max_size=2, unique=True),
    ENTRIES,
)
DECIDE = st.builds(
    lambda number, intent, entry, is_approved, is_stale: (
        lambda twin: twin.decide(number, intent, entry, is_approved=is_approved, is_stale=is_stale)
    ),
    TOKENS,
    INTENTS,
    ENTRIES,
    st.booleans(),
    st.booleans(),
)
FILLS = st.builds(
    lambda number, fills: lambda twin: twin.bus.publish_fills(twin.token(number), fills, source=SOURCE),
    TOKENS,
    st.lists(st.builds(a_fill, st.integers(1, 3), st.sampled_from("xy")), max_size=3),
)
TAKE = st.builds(lambda number, unit: lambda twin: twin.take(number, unit), TOKENS, st.sampled_from(UNITS))
COMMIT = st.builds(
    lambda number, unit, commit: lambda twin: twin.commit(number, unit, commit),
    TOKENS,
    st.sampled_from(UNITS),
    st.integers(1, 3),
)
ANY = st.one_of(ACQUIRE, FENCE, RENEW, RELEASE, HALT, CLAIM, CLAIM, CANCEL, DECIDE, FILLS, TAKE, COMMIT)


async def _epochs(renewal: Awaitable[Any]) -> Any:
    view = await renewal
    return view.owner, view.epoch, view.counter


async def outcome(act: Act, twin: Twin) -> Any:
    try:
        return await act(twin)
    except CqError as e:
        return type(e).__name__


async def compare(url: str, acts: list[Act]) -> None:
    keys = Keys(f"t{random_token(8)}")
    twins = [Twin(MemoryBus(MemoryServer(), keys)), Twin(open_bus(url, keys))]
    try:
        for twin in twins:
            await twin.acquire("a")
            await twin.bus.raise_fence(twin.tokens[0])
            await twin.set_halt("none")
        for act in acts:
            memory, real = [await outcome(act, twin) for twin in twins]
            assert memory == real
        memory, real = [await twin.what_is() for twin in twins]
        assert memory == real
    finally:
        for twin in twins:
            await twin.bus.close()


@pytest.mark.redis
@given(acts=st.lists(st.one_of(CONTROL, CONTROL, READ_ON, CLAIM, CLAIM), min_size=3, max_size=25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_both_refuse_alike_what_is_halted_or_about_to_be(redis_server: RedisServer, acts: list[Act]) -> None:
    asyncio.run(compare(redis_server.url, acts))


@pytest.mark.redis
@given(acts=st.lists(ANY, max_size=25))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_both_answer_alike(redis_server: RedisServer, acts: list[Act]) -> None:
    asyncio.run(compare(redis_server.url, acts))

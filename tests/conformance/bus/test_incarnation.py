"""Another incarnation of the server: no act of the old leader happens, the next epoch is higher, readers look again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from shared.bus.ports import Bus, LeaseToken, UnitCommit
from shared.bus.tail import TailReader
from shared.errors import BusUnavailable, Fenced, Refused
from shared.messages.orders import CancelRequest, Command, Commission, Decision, OrderState
from tests.conformance.bus.bench import SOURCE, Bench, a_claim, an_event, an_intent, lead
from tests.support import eventually

FEE = Commission(exec_id="a.01", strategy="s", account="D", con_id=1, commission=Decimal(1), currency="USD")


def decide(bus: Bus, token: LeaseToken) -> Awaitable[object]:
    command = Command(intent=an_intent(), not_after_ns=1, incarnation=token.incarnation)
    decision = Decision(intent_id="i" * 20, approved=True)
    return bus.decide(token, entry_id="7-7", decision=decision, command=command, source=SOURCE)


ACTS: dict[str, Callable[[Bus, LeaseToken], Awaitable[object]]] = {
    "renew": lambda bus, token: bus.lease_renew(token),
    "raise_fence": lambda bus, token: bus.raise_fence(token),
    "publish": lambda bus, token: bus.publish(token, [(bus.keys.orders, an_event(OrderState.WORKING))], source=SOURCE),
    "publish_ticks": lambda bus, token: bus.publish_ticks(token, [(0, b"")], source=SOURCE),
    "publish_fills": lambda bus, token: bus.publish_fills(token, [FEE], source=SOURCE),
    "decide": decide,
    "pass_cancel": lambda bus, token: bus.pass_cancel(token, entry_id="7-7", command=None, source=SOURCE),
    "claim": lambda bus, token: bus.claim(token, a_claim(token), source=SOURCE),
    "cancel_first": lambda bus, token: bus.cancel_first(
        token,
        intent_id="i" * 20,
        legs=[0],
        events=[an_event(OrderState.CANCELLED)],
        entry_id="7-7",
        source=SOURCE,
    ),
    "skip_entry": lambda bus, token: bus.skip_entry(token, "commands", "7-7"),
    "take_unit": lambda bus, token: _take(bus, token),
    "release_unit": lambda bus, token: bus.release_unit(token, "u"),
    "commit_unit": lambda bus, token: bus.commit_unit(
        token, UnitCommit("u", 1, b"", {}, b"", (an_intent(),)), source=SOURCE
    ),
}


async def _take(bus: Bus, token: LeaseToken) -> bool:
    return await bus.take_unit(token, "u", seen=await bus.load_unit("u"))


async def wait_until_back(bus: Bus) -> None:
    async def answers() -> bool:
        try:
            return bool(await bus.incarnation())
        except BusUnavailable:
            return False

    await eventually(answers)


async def assert_nothing_was_written(bus: Bus) -> None:
    streams = (bus.keys.orders, bus.keys.fills, bus.keys.decisions, bus.keys.commands, bus.keys.intents)
    for stream in (*streams, bus.keys.cancel_commands, bus.keys.ticks(0)):
        assert await bus.stream_length(stream) == 0
    for name in ("intents", "cancels", "commands", "cancel-commands"):
        assert await bus.get_cursor(name) == "0-0"
    assert await bus.ledger_rows("i" * 20) == []
    assert await bus.hash_get_all(bus.keys.order_ids) == {}


async def test_after_a_restart_every_act_of_the_old_leader_is_fenced(bus: Bus, bench: Bench) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    before = await bus.incarnation()
    bench.restart()
    await wait_until_back(bus)
    assert await bus.incarnation() != before
    for name, act in ACTS.items():
        with pytest.raises(Fenced):
            print(name, await act(bus, token))
    await assert_nothing_was_written(bus)


async def test_after_another_leads_every_act_of_the_old_leader_is_fenced(bus: Bus) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    await lead(bus, owner="b")
    for name, act in ACTS.items():
        with pytest.raises(Fenced):
            print(name, await act(bus, token))
    await assert_nothing_was_written(bus)


async def test_a_server_that_came_back_empty_fences_too_and_the_epoch_still_grows(bus: Bus, bench: Bench) -> None:
    token = await lead(bus)
    bench.forget_everything()
    await wait_until_back(bus)
    for name, act in ACTS.items():
        with pytest.raises(Fenced):
            print(name, await act(bus, token))
    await bus.lease_release(token)
    successor = await bus.lease_acquire("gateway", "b", await bus.lease_view("gateway"), at_least_epoch=token.epoch)
    assert successor is not None and successor.epoch > token.epoch
    assert successor.incarnation != token.incarnation


async def test_a_command_made_in_another_incarnation_is_not_written(bus: Bus) -> None:
    token = await lead(bus, "risk")
    command = Command(intent=an_intent(), not_after_ns=1, incarnation="another")
    decision = Decision(intent_id="i" * 20, approved=True)
    with pytest.raises(Refused, match="RISK_INCARNATION"):
        await bus.decide(token, entry_id="7-7", decision=decision, command=command, source=SOURCE)
    assert await bus.get_cursor("intents") == "0-0"
    assert await bus.decide(token, entry_id="7-7", decision=decision, command=None, source=SOURCE)


async def test_a_cursor_ahead_of_a_server_that_lost_entries_is_set_back(bus: Bus, bench: Bench) -> None:
    request = CancelRequest(cancel_id="1", intent_id="i" * 20)
    await bus.append(bus.keys.cancels, request, source=SOURCE)
    reader = TailReader(bus, {bus.keys.cancels: "0-0"})
    assert len((await reader.read(block_ms=None)).entries[bus.keys.cancels]) == 1
    reader.cursors[bus.keys.cancels] = "99999999999999-0"
    bench.restart()
    await wait_until_back(bus)
    new_id = await bus.append(bus.keys.cancels, request, source=SOURCE)

    async def is_read_again() -> bool:
        try:
            batch = await reader.read(block_ms=None)
        except BusUnavailable:
            return False
        return batch.is_new_incarnation

    await eventually(is_read_again)
    assert reader.cursors[bus.keys.cancels] == new_id
    following = await bus.append(bus.keys.cancels, request, source=SOURCE)
    found = (await reader.read(block_ms=None)).entries[bus.keys.cancels]
    assert [entry.entry_id for entry in found] == [following]

"""What every fenced act promises, in memory, on Redis and on Valkey alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from shared.bus.ports import Bus, ClaimResult, LeaseView, UnitCommit
from shared.errors import BusUnavailable, Fenced, OutcomeUnknown
from shared.messages.control import Control, ControlAction
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import CancelRequest, Command, Commission, Decision, Fill, OrderState, Side
from tests.conformance.bus.bench import SOURCE, Bench, a_claim, an_event, an_intent, lead, states_of


async def test_a_lease_is_replaced_only_as_it_was_seen_and_its_epoch_only_grows(bus: Bus) -> None:
    first = await bus.lease_acquire("risk", "a", LeaseView(), at_least_epoch=5)
    assert first is not None and first.epoch == 6
    seen = await bus.lease_view("risk")
    await bus.lease_renew(first)
    assert await bus.lease_acquire("risk", "b", seen, at_least_epoch=0) is None
    second = await bus.lease_acquire("risk", "b", await bus.lease_view("risk"), at_least_epoch=0)
    assert second is not None and second.epoch == 7
    with pytest.raises(Fenced):
        await bus.lease_renew(first)
    await bus.lease_release(first)
    assert (await bus.lease_view("risk")).owner == "b"


async def test_nothing_is_published_before_the_fence_is_raised_nor_after_another_leads(bus: Bus) -> None:
    token = await bus.lease_acquire("gateway", "a", LeaseView(), at_least_epoch=0)
    assert token is not None
    event = (bus.keys.orders, an_event(OrderState.WORKING))
    with pytest.raises(Fenced):
        await bus.publish(token, [event], source=SOURCE)
    await bus.raise_fence(token)
    assert len(await bus.publish(token, [event, event], source=SOURCE)) == 2
    await lead(bus, owner="b")
    with pytest.raises(Fenced):
        await bus.publish(token, [event], source=SOURCE)
    with pytest.raises(Fenced):
        await bus.publish_ticks(token, [(0, b"")], source=SOURCE)
    with pytest.raises(Fenced):
        await bus.raise_fence(token)
    assert await bus.stream_length(bus.keys.orders) == 2


async def test_a_restart_of_the_server_fences_every_act(bus: Bus, bench: Bench) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    bench.restart()
    stale = [
        bus.publish(token, [(bus.keys.orders, an_event(OrderState.WORKING))], source=SOURCE),
        bus.claim(token, a_claim(token), source=SOURCE),
        bus.publish_fills(token, [], source=SOURCE),
        bus.lease_renew(token),
    ]
    for number, act in enumerate(stale):
        if number == 2:
            assert await act == []
            continue
        with pytest.raises((Fenced, BusUnavailable, OutcomeUnknown)):
            await act


async def test_a_claim_is_final_and_its_events_are_written_once(bus: Bus) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    first = await bus.claim(token, a_claim(token), source=SOURCE)
    again = await bus.claim(token, a_claim(token, now_ns=99), source=SOURCE)
    assert [row.result for row in first] == [ClaimResult.CLAIMED] * 2
    assert [(row.order_id, row.client_id, row.is_new) for row in first] == [(7, 101, True), (8, 101, True)]
    assert [(row.result, row.is_new) for row in again] == [(ClaimResult.CLAIMED, False)] * 2
    assert await states_of(bus) == ["claimed", "claimed"]
    assert await bus.get_cursor("commands") == "5-1"
    assert await bus.hash_get_all(bus.keys.order_ids) == {"101": b"8"}


@pytest.mark.parametrize(
    "changes, stage, expected",
    [
        ({"now_ns": 11}, "none", ClaimResult.REFUSED_EXPIRED),
        ({"made_in": "another"}, "none", ClaimResult.REFUSED_STALE),
        ({"is_in_window": True}, "none", ClaimResult.REFUSED_WINDOW),
        ({"is_in_window": True, "now_ns": 11}, "none", ClaimResult.REFUSED_EXPIRED),
        ({"is_in_window": True, "is_reducing": True}, "none", ClaimResult.CLAIMED),
        ({}, "requested", ClaimResult.REFUSED_HALTED),
        ({}, None, ClaimResult.REFUSED_HALTED),
        ({"is_reducing": True}, "holding", ClaimResult.CLAIMED),
    ],
)
async def test_what_a_claim_refuses(
    bus: Bus, changes: dict[str, Any], stage: str | None, expected: ClaimResult
) -> None:
    token = await lead(bus)
    if stage is not None:
        await bus.hash_set(bus.keys.halt, {"stage": stage})
    rows = await bus.claim(token, replace(a_claim(token), **changes), source=SOURCE)
    assert {row.result for row in rows} == {expected}
    refused = expected is not ClaimResult.CLAIMED
    assert await states_of(bus) == (["refused", "refused"] if refused else ["claimed", "claimed"])


def act_of(action: ControlAction, scope: str = "account") -> Control:
    return Control(control_id=f"{action}-{scope}", action=action, scope=scope, who="test", reason="a test")


@pytest.mark.parametrize(
    "action, scope, is_reducing, expected",
    [
        (ControlAction.HALT, "account", False, ClaimResult.REFUSED_HALTED),
        (ControlAction.HALT, "account", True, ClaimResult.CLAIMED),
        (ControlAction.FLATTEN, "account", False, ClaimResult.REFUSED_HALTED),
        (ControlAction.HALT, "strategy:s", False, ClaimResult.REFUSED_SCOPE_HALTED),
        (ControlAction.HALT, "strategy:s", True, ClaimResult.CLAIMED),
        (ControlAction.HALT, "strategy:other", False, ClaimResult.CLAIMED),
        (ControlAction.HALT, "contract:1", False, ClaimResult.REFUSED_SCOPE_HALTED),
        (ControlAction.FLATTEN, "contract:1", False, ClaimResult.REFUSED_SCOPE_HALTED),
        (ControlAction.HALT, "contract:11", False, ClaimResult.CLAIMED),
        (ControlAction.PAUSE_STRATEGY, "strategy:s", False, ClaimResult.REFUSED_SCOPE_HALTED),
        (ControlAction.PAUSE_STRATEGY, "s", False, ClaimResult.REFUSED_SCOPE_HALTED),
        (ControlAction.PAUSE_STRATEGY, "account", False, ClaimResult.CLAIMED),
        (ControlAction.LIMITS, "account", False, ClaimResult.CLAIMED),
    ],
)
async def test_a_halt_counts_before_the_leader_has_read_it(
    bus: Bus, action: ControlAction, scope: str, is_reducing: bool, expected: ClaimResult
) -> None:
    token = await lead(bus)
    read = await bus.append(bus.keys.control, act_of(ControlAction.HALT, "account"), source=SOURCE)
    await bus.hash_set(bus.keys.halt, {"stage": "none", "cursor": read})
    await bus.append(bus.keys.control, act_of(ControlAction.RESUME), source=SOURCE)
    await bus.append(bus.keys.control, act_of(action, scope), source=SOURCE)
    request = replace(a_claim(token), is_reducing=is_reducing, strategy="s", con_id=1)
    rows = await bus.claim(token, request, source=SOURCE)
    assert {row.result for row in rows} == {expected}


@pytest.mark.parametrize("strategy", ["s" * 31, "s" * 32, "s" * 118, "s" * 119, "s" * 300, "å", "scope", "a:b"])
async def test_a_waiting_halt_of_a_strategy_counts_whatever_its_name(bus: Bus, strategy: str) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none", "cursor": "0-1"})
    halt = act_of(ControlAction.HALT, f"strategy:{strategy}").model_copy(
        update={"reason": "åscope\u0641 åscope§account"}
    )
    await bus.append(bus.keys.control, halt, source=SOURCE)
    request = replace(a_claim(token), strategy=strategy, con_id=1)
    rows = await bus.claim(token, request, source=SOURCE)
    assert {row.result for row in rows} <= {ClaimResult.REFUSED_SCOPE_HALTED, ClaimResult.REFUSED_HALTED}
    other = replace(a_claim(token, "o" * 20), strategy="other", con_id=1)
    (result,) = {row.result for row in await bus.claim(token, other, source=SOURCE)}
    assert result is ClaimResult.CLAIMED or len(strategy) > 118, (
        "a name that long may count as the account, for a moment"
    )


@pytest.mark.parametrize("latch", ["halt:strategy:s", "halt:contract:1", "pause:strategy:s"])
async def test_a_stored_latch_refuses_until_it_is_empty(bus: Bus, latch: str) -> None:
    token, intents = await lead(bus), iter("abcdef")

    async def claimed(**changes: Any) -> ClaimResult:
        request = replace(a_claim(token, next(intents) * 20), **{"strategy": "s", "con_id": 1, **changes})
        (result,) = {row.result for row in await bus.claim(token, request, source=SOURCE)}
        return result

    await bus.hash_set(bus.keys.halt, {"stage": "none", latch: "holding me: why"})
    assert await claimed() is ClaimResult.REFUSED_SCOPE_HALTED
    assert await claimed(is_reducing=True) is ClaimResult.CLAIMED
    assert await claimed(strategy="t", con_id=2) is ClaimResult.CLAIMED
    await bus.hash_set(bus.keys.halt, {latch: ""})
    assert await claimed() is ClaimResult.CLAIMED
    await bus.hash_set(bus.keys.halt, {"stage": "holding", latch: "holding me: why"})
    assert await claimed() is ClaimResult.REFUSED_HALTED


async def test_a_waiting_halt_is_not_forgotten_by_claims_of_others_that_looked_past_it(bus: Bus) -> None:
    token, intents = await lead(bus), iter("abcdef")
    control = bus.keys.control
    await bus.hash_set(bus.keys.halt, {"stage": "none", "cursor": "0-1"})

    async def claimed(strategy: str) -> bool:
        request = replace(a_claim(token, next(intents) * 20), strategy=strategy, con_id=1)
        return {row.result for row in await bus.claim(token, request, source=SOURCE)} == {ClaimResult.CLAIMED}

    await bus.append(control, act_of(ControlAction.HALT, "strategy:s"), source=SOURCE)
    assert await claimed("t") and await claimed("t")
    assert not await claimed("s")
    await bus.append(control, act_of(ControlAction.RESUME, "strategy:s"), source=SOURCE)
    assert not await claimed("s"), "a resume counts once the leader has read it"
    await bus.hash_set(bus.keys.halt, {"cursor": await bus.last_id(control), "halt:strategy:s": ""})
    assert await claimed("s")


async def test_a_halt_counts_however_much_waits_before_it(bus: Bus) -> None:
    token, claims = await lead(bus), iter(range(9))
    control = bus.keys.control
    read = await bus.append(control, act_of(ControlAction.HALT), source=SOURCE)
    await bus.hash_set(bus.keys.halt, {"stage": "none", "cursor": read})

    async def claimed() -> bool:
        request = replace(a_claim(token), intent_id=f"{next(claims)}" * 20)
        return {row.result for row in await bus.claim(token, request, source=SOURCE)} == {ClaimResult.CLAIMED}

    async def others(count: int) -> None:
        for _ in range(count):
            await bus.append(control, act_of(ControlAction.PAUSE_STRATEGY), source=SOURCE)

    await others(130)
    assert await claimed()
    await others(130)
    await bus.append(control, act_of(ControlAction.HALT), source=SOURCE)
    await others(5)
    assert not await claimed() and not await claimed()
    # The leader has read some of it, less than the claims have looked at; then all.
    await bus.hash_set(bus.keys.halt, {"cursor": (await bus.read_range(control, count=10))[-1].entry_id})
    assert not await claimed()
    await bus.hash_set(bus.keys.halt, {"cursor": await bus.last_id(control)})
    assert await claimed()
    await bus.append(control, act_of(ControlAction.HALT), source=SOURCE)
    assert not await claimed()


async def test_a_cancel_that_comes_first_closes_the_order_for_good(bus: Bus) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    events = [an_event(OrderState.CANCELLED), an_event(OrderState.CANCELLED, leg=1)]
    rows = []
    for _ in range(2):
        rows = await bus.cancel_first(
            token, intent_id="i" * 20, legs=[0, 1], events=events, entry_id="9-9", source=SOURCE
        )
    assert {row.result for row in rows} == {ClaimResult.REFUSED_CANCELLED_FIRST}
    rows = await bus.claim(token, a_claim(token), source=SOURCE)
    assert {row.result for row in rows} == {ClaimResult.REFUSED_CANCELLED_FIRST}
    assert await states_of(bus) == ["cancelled", "cancelled"]
    assert await bus.get_cursor("cancel-commands") == "9-9"


async def test_a_group_of_which_one_leg_was_cancelled_first_does_not_go_out_in_part(bus: Bus) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    event = an_event(OrderState.CANCELLED, leg=1)
    await bus.cancel_first(token, intent_id="i" * 20, legs=[1], events=[event], entry_id="", source=SOURCE)
    rows = await bus.claim(token, a_claim(token), source=SOURCE)
    assert [(row.result, row.is_new) for row in rows] == [
        (ClaimResult.REFUSED_CANCELLED_FIRST, True),
        (ClaimResult.REFUSED_CANCELLED_FIRST, False),
    ]
    assert await states_of(bus) == ["cancelled", "refused"]
    assert await bus.get_cursor("cancel-commands") == "0-0"
    assert await bus.hash_get_all(bus.keys.order_ids) == {}


async def test_the_highest_reserved_order_id_never_goes_down(bus: Bus) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    for intent, first in (("a" * 20, 50), ("b" * 20, 9)):
        await bus.claim(token, a_claim(token, intent, legs=1, order_ids=(first,)), source=SOURCE)
    assert await bus.hash_get_all(bus.keys.order_ids) == {"101": b"50"}


async def test_of_two_racing_claims_exactly_one_is_new(bus: Bus, bench: Bench) -> None:
    token = await lead(bus)
    await bus.hash_set(bus.keys.halt, {"stage": "none"})
    other = bench.another()
    try:
        for number in range(500):
            intent = f"{number:020d}"
            claims = [one.claim(token, a_claim(token, intent, legs=1), source=SOURCE) for one in (bus, other)]
            rows = await asyncio.gather(*claims)
            assert sorted(row[0].is_new for row in rows) == [False, True]
    finally:
        await other.close()
    assert await bus.stream_length(bus.keys.orders) == 500


async def test_an_intent_is_decided_once(bus: Bus) -> None:
    token = await lead(bus, "risk")
    decision = Decision(intent_id="i" * 20, approved=True)
    command = Command(intent=an_intent(), not_after_ns=1, incarnation=token.incarnation)
    for expected in (True, False):
        is_new = await bus.decide(token, entry_id="4-0", decision=decision, command=command, source=SOURCE)
        assert is_new is expected
    assert await bus.stream_length(bus.keys.decisions) == await bus.stream_length(bus.keys.commands) == 1
    assert await bus.get_cursor("intents") == "4-0"


async def test_executions_are_published_once_and_corrections_follow(bus: Bus) -> None:
    token = await lead(bus)

    def fill(revision: int) -> Fill:
        return Fill(
            exec_id=f"a.b.0{revision}",
            exec_stem="a.b",
            revision=revision,
            strategy="s",
            account="DUSIM0001",
            con_id=1,
            side=Side.BUY,
            quantity=Decimal(1),
            price=Decimal(2),
        )

    fee = Commission(
        exec_id="a.b.01", strategy="s", account="DUSIM0001", con_id=1, commission=Decimal(1), currency="USD"
    )
    assert await bus.publish_fills(token, [fill(1), fee, fill(1)], source=SOURCE) == [True, True, False]
    assert await bus.publish_fills(token, [fill(2), fill(1), fee], source=SOURCE) == [True, False, False]
    assert await bus.stream_length(bus.keys.fills) == 3


async def test_a_unit_is_committed_once_per_number_and_only_by_its_owner(bus: Bus) -> None:
    mine, others = await lead(bus, "strategy.a"), await lead(bus, "strategy.b", "b")
    seen = await bus.load_unit("u")
    assert await bus.take_unit(mine, "u", seen=seen)
    assert not await bus.take_unit(others, "u", seen=seen)
    commit = UnitCommit("u", 1, b"state", {"cq:x:ticks:0": "3-1"}, b"timers", intents=(an_intent(),))
    assert await bus.commit_unit(mine, commit, source=SOURCE)
    assert not await bus.commit_unit(mine, commit, source=SOURCE)
    with pytest.raises(Fenced):
        await bus.commit_unit(others, UnitCommit("u", 2, b"", {}, b""), source=SOURCE)
    record = await bus.load_unit("u")
    assert (record.commit, record.state, record.timers, record.owner) == (1, b"state", b"timers", "a")
    assert record.cursors == {"cq:x:ticks:0": "3-1"}
    assert await bus.take_unit(others, "u", seen=record)
    with pytest.raises(Fenced):
        await bus.commit_unit(mine, UnitCommit("u", 2, b"", {}, b""), source=SOURCE)
    assert await bus.stream_length(bus.keys.intents) == 1


async def test_the_past_of_a_unit_stays_until_a_commit_brings_another(bus: Bus) -> None:
    mine = await lead(bus, "strategy.a")
    assert await bus.take_unit(mine, "u", seen=await bus.load_unit("u"))
    told = []
    for number, past in enumerate((None, b"one", None, b"two", None), start=1):
        commit = UnitCommit("u", number, f"state {number}".encode(), {"s": f"{number}-0"}, b"", past=past)
        assert await bus.commit_unit(mine, commit, source=SOURCE)
        record = await bus.load_unit("u")
        told.append((record.commit, record.state, record.past, record.cursors["s"]))
    assert told == [
        (1, b"state 1", b"", "1-0"), (2, b"state 2", b"one", "2-0"), (3, b"state 3", b"one", "3-0"),
        (4, b"state 4", b"two", "4-0"), (5, b"state 5", b"two", "5-0"),
    ]  # fmt: skip


async def test_a_released_unit_can_be_taken_at_once_and_only_its_owner_releases_it(bus: Bus) -> None:
    mine, others = await lead(bus, "strategy.a"), await lead(bus, "strategy.b", "b")
    assert await bus.take_unit(mine, "u", seen=await bus.load_unit("u"))
    assert await bus.commit_unit(mine, UnitCommit("u", 1, b"state", {"s": "3-1"}, b""), source=SOURCE)
    assert not await bus.release_unit(others, "u")
    assert await bus.release_unit(mine, "u")
    record = await bus.load_unit("u")
    assert (record.owner, record.epoch, record.commit, record.state) == ("", 0, 1, b"state")
    with pytest.raises(Fenced):
        await bus.commit_unit(mine, UnitCommit("u", 2, b"", {}, b""), source=SOURCE)
    assert await bus.take_unit(others, "u", seen=record)
    assert not await bus.release_unit(mine, "u")


async def test_trimmed_entries_are_seen_as_a_gap(bus: Bus) -> None:
    ids = [
        await bus.append(bus.keys.cancels, CancelRequest(cancel_id=str(n), intent_id="i" * 20), source=SOURCE)
        for n in range(4)
    ]
    assert await bus.gap_after(bus.keys.cancels, "0-0") is None
    await bus.trim(bus.keys.cancels, before=ids[2])
    gap = await bus.gap_after(bus.keys.cancels, ids[0])
    assert gap is not None and gap.next_id == ids[2]
    assert await bus.gap_after(bus.keys.cancels, ids[1]) is None


async def test_ticks_come_back_in_order(bus: Bus) -> None:
    token = await lead(bus)
    batch = pack_ticks([quote_tick(4, n, n, 1, 1.0, 2.0, 3.0, 4.0) for n in range(3)])
    await bus.publish_ticks(token, [(0, batch), (1, batch)], source=SOURCE)
    found = await bus.read({bus.keys.ticks(0): "0-0", bus.keys.ticks(1): "0-0"})
    assert [entries[0].fields[b"body"] for entries in found.values()] == [batch, batch]


async def test_a_server_that_is_away_is_said_to_be_away(bus: Bus, bench: Bench) -> None:
    await bus.incarnation()
    bench.kill()
    with pytest.raises((BusUnavailable, OutcomeUnknown)):
        await bus.append(bus.keys.cancels, CancelRequest(cancel_id="1", intent_id="i" * 20), source=SOURCE)
    with pytest.raises(BusUnavailable):
        await bus.last_id(bus.keys.cancels)

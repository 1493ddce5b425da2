"""Latches of strategies and contracts: what they show, what waits for the guard, and which orders they cancel."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.gateway.core.latches import Latches, contract_of, may_still_pass
from services.gateway.core.order_machine import OrderTrack
from shared.ids import UNASSIGNED
from shared.messages.orders import OrderState, Side


def a_track(key: str, strategy: str, con_id: int, *, is_reducing: bool = False) -> OrderTrack:
    return OrderTrack(
        intent_id="i" * 20, leg=0, account="DU1", order_type="LMT", order_ref=key,
        strategy=strategy, con_id=con_id, side=Side.BUY, quantity=Decimal(1), state=OrderState.WORKING,
        is_reducing=is_reducing,
    )  # fmt: skip


def test_each_is_requested_until_it_is_known_to_hold() -> None:
    latches = Latches()
    latches.set("halt:strategy:s", "anna: news")
    latches.set("halt:contract:7", "bert: bad print")
    latches.confirmed("halt:strategy:s")
    assert latches.fields() == {
        "halt:strategy:s": "holding anna: news", "halt:contract:7": "requested bert: bad print",
    }  # fmt: skip
    assert latches.requested == {"halt:contract:7": "bert: bad print"}
    latches.confirmed("halt:contract:7")
    assert not latches.requested and latches.fields()["halt:contract:7"] == "holding bert: bad print"
    latches.open("halt:contract:7")
    assert latches.fields() == {"halt:strategy:s": "holding anna: news", "halt:contract:7": ""}


def test_a_successor_asks_anew() -> None:
    latches = Latches()
    latches.restore({"halt:contract:7": "holding bert: bad print", "pause:strategy:s": "holding anna: x"})
    assert latches.requested == {"halt:contract:7": "bert: bad print", "pause:strategy:s": "anna: x"}


@pytest.mark.parametrize(
    "more, opened_ns, passes",
    [
        ({}, 50, True),  # sent by this session, and not shown
        ({"state": OrderState.UNKNOWN}, 50, True),
        ({"state": OrderState.PENDING}, 50, False),  # the broker has it
        ({}, 150, False),  # sent by an earlier session of this id, which was cut
        ({"sent_ns": 0}, 50, False),  # by another process, whose session was cut
        ({"sent_ns": 0}, 0, True),  # whose session may still be alive
        ({"client_id": 102}, 150, True),  # by a session of another id, which may still be alive
        ({"is_reducing": True}, 50, False),
        ({"strategy": "t"}, 50, False),
    ],
)
def test_what_was_sent_and_not_shown_may_still_pass(more: dict[str, Any], opened_ns: int, passes: bool) -> None:
    track = a_track("x", "s", 1)
    track.state, track.sent_ns, track.client_id = OrderState.CLAIMED, 100, 101
    for name, value in more.items():
        setattr(track, name, value)
    for kind in ("halt", "pause"):
        name = f"{kind}:strategy:s"
        assert may_still_pass(name, [track], [], opened_ns=opened_ns, client_id=101) is passes


@pytest.mark.parametrize("strategy", ["s", "t"])
def test_a_change_that_waits_for_the_brokers_word_may_still_pass(strategy: str) -> None:
    change = a_track("x", strategy, 1).event(1)
    assert may_still_pass("halt:strategy:s", [], [change], opened_ns=1, client_id=101) is (strategy == "s")


def test_what_is_halted_loses_its_entries_and_what_is_paused_nothing() -> None:
    tracks = [
        a_track("of s", "s", 1), a_track("of s, closes", "s", 1, is_reducing=True), a_track("of t", "t", 1),
        a_track("in 7", "t", 7), a_track("paused", "p", 2),
    ]  # fmt: skip
    latches = Latches()
    latches.set("pause:strategy:p", "me: x")
    assert latches.must_go(tracks, None) == []
    latches.set("halt:strategy:s", "me: x")
    latches.set("halt:contract:7", "me: x")
    assert [track.order_ref for track in latches.must_go(tracks, None)] == ["of s", "in 7"]
    assert [latches.halts(track) for track in tracks] == [True, True, False, True, False]


def test_of_what_redis_has_lost_the_position_says_whether_it_closes() -> None:
    lost = [a_track("buys", UNASSIGNED, 7), a_track("other contract", UNASSIGNED, 8)]
    latches = Latches()
    latches.set("halt:contract:7", "me: x")
    assert [track.order_ref for track in latches.must_go(lost, {7: Decimal(5)})] == ["buys"]
    assert latches.must_go(lost, {7: Decimal(-5)}) == []


@pytest.mark.parametrize(
    "name, con_id", [("halt:contract:7", 7), ("halt:contract:AAPL", None), ("halt:strategy:7", None)]
)
def test_a_contract_is_named_by_its_number(name: str, con_id: int | None) -> None:
    assert contract_of(name) == con_id

"""Latches of strategies and contracts: what they show, what waits for the guard, and which orders they cancel."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.gateway.core.latches import Latches, contract_of
from services.gateway.core.order_machine import OrderTrack
from shared.ids import UNASSIGNED
from shared.messages.orders import OrderState, Side


def a_track(key: str, strategy: str, con_id: int, *, is_reducing: bool = False) -> OrderTrack:
    return OrderTrack(
        intent_id="i" * 20, leg=0, account="DU1", order_type="LMT", order_ref=key,
        strategy=strategy, con_id=con_id, side=Side.BUY, quantity=Decimal(1), state=OrderState.WORKING,
        is_reducing=is_reducing,
    )  # fmt: skip


def test_a_strategy_holds_at_once_and_a_contract_once_the_guard_does() -> None:
    latches = Latches()
    latches.set("halt:strategy:s", "anna: news")
    latches.set("halt:contract:7", "bert: bad print")
    assert latches.fields() == {
        "halt:strategy:s": "holding anna: news", "halt:contract:7": "requested bert: bad print",
    }  # fmt: skip
    assert latches.requested == {"halt:contract:7": "bert: bad print"}
    latches.confirmed("halt:contract:7")
    assert not latches.requested and latches.fields()["halt:contract:7"] == "holding bert: bad print"
    latches.open("halt:contract:7")
    assert latches.fields() == {"halt:strategy:s": "holding anna: news", "halt:contract:7": ""}


def test_a_successor_asks_the_guard_anew() -> None:
    latches = Latches()
    latches.restore({"halt:contract:7": "holding bert: bad print", "pause:strategy:s": "holding anna: x"})
    assert latches.requested == {"halt:contract:7": "bert: bad print"}
    assert latches.fields()["pause:strategy:s"] == "holding anna: x"


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

"""What a halt cancels, and what it leaves: stops above all, also those of which only the broker still tells."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.gateway.core.halt_orders import must_go
from services.gateway.core.order_machine import OrderTrack
from shared.messages.orders import OrderState, Side

IBM, AAPL = 1, 2


def order(
    ref: str, side: Side = Side.SELL, quantity: int = 100, *, strategy: str = "demo", **more: object
) -> OrderTrack:
    made = OrderTrack(ref, "i" * 20, 0, strategy, "DU1", IBM, side, Decimal(quantity), "STP", state=OrderState.WORKING)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def names(tracks: list[OrderTrack], held: dict[int, int] | None, *, everything: bool = False) -> list[str]:
    positions = None if held is None else {con_id: Decimal(shares) for con_id, shares in held.items()}
    return [track.order_ref for track in must_go(tracks, positions, everything=everything)]


def test_what_risk_knows_is_decided_by_its_mark_whatever_is_held() -> None:
    tracks = [order("adds"), order("closes", is_reducing=True), order("protects", parent_leg=0)]
    for held in (None, {}, {IBM: 100}):
        assert names(tracks, held) == ["adds"]


@pytest.mark.parametrize(
    ("side", "quantity", "held", "goes"),
    [
        (Side.SELL, 100, {IBM: 100}, False),
        (Side.BUY, 100, {IBM: -100}, False),
        (Side.SELL, 101, {IBM: 100}, True),  # it would open a short position of one
        (Side.BUY, 1, {IBM: 100}, True),
        (Side.SELL, 100, {AAPL: 100}, True),
        (Side.SELL, 100, {}, True),
    ],
)
def test_an_order_whose_mark_was_lost_stays_if_it_closes_what_is_held(
    side: Side, quantity: int, held: dict[int, int], goes: bool
) -> None:
    assert names([order("found", side, quantity, strategy="unassigned")], held) == (["found"] if goes else [])


def test_what_has_filled_of_it_does_not_count() -> None:
    found = order("found", quantity=100, strategy="unassigned", reported=Decimal(40))
    assert names([found], {IBM: 60}) == []


def test_while_the_positions_are_not_listed_stops_are_left_alone() -> None:
    found = [order("stop", strategy="unassigned"), order("limit", strategy="unassigned", order_type="LMT")]
    assert names(found, None) == ["limit"]


def test_other_peoples_orders_go_only_with_everything() -> None:
    tracks = [order("", is_external=True, perm_id=7), order("closes", is_reducing=True)]
    assert names(tracks, {}) == []
    assert names(tracks, {}, everything=True) == ["", "closes"]
    assert names([order("claimed", state=OrderState.CLAIMED)], {}, everything=True) == []

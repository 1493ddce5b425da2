from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.strategy.core.book import Book
from services.strategy.core.ordering import Identity, Moment, Outbox, Ticket
from shared.errors import BadInput
from shared.messages.orders import Group, Intent, OrderType, Side, TimeInForce
from tests.unit.services.strategy.parts import IBM, NICKEL, NS, T0


def outbox() -> Outbox:
    return Outbox(Identity("d", "DUSIM0001", "s", "s/IBM"), Book(), 1, Moment(T0, T0))


def placed(**ticket: Any) -> Intent:
    box = outbox()
    box.place(Ticket(**{"contract": NICKEL, "side": Side.BUY, "quantity": 1, **ticket}))
    return box.intents[0]


@pytest.mark.parametrize(
    "side, limit, expected", [(Side.BUY, "10.04", "10.00"), (Side.SELL, "10.01", "10.05"), (Side.BUY, 10.05, "10.05")]
)
def test_limits_round_to_the_tick_on_the_passive_side(side: Side, limit: Any, expected: str) -> None:
    assert placed(side=side, limit=limit).legs[0].limit_price == Decimal(expected)


@pytest.mark.parametrize("side, stop, expected", [(Side.SELL, "9.99", "9.95"), (Side.BUY, "10.01", "10.05")])
def test_stops_round_away_from_the_market_and_rest_until_cancelled(side: Side, stop: str, expected: str) -> None:
    leg = placed(side=side, stop=stop).legs[0]
    assert (leg.stop_price, leg.order_type, leg.tif) == (Decimal(expected), OrderType.STOP, TimeInForce.GTC)


@pytest.mark.parametrize(
    "rounding, bought, sold, stopped",
    [
        ("passive", "10.00", "10.05", "9.95"),
        ("aggressive", "10.05", "10.00", "10.00"),
        ("nearest", "10.05", "10.05", "10.00"),
    ],
)
def test_prices_round_as_they_are_told(rounding: str, bought: str, sold: str, stopped: str) -> None:
    assert placed(limit="10.03", rounding=rounding).legs[0].limit_price == Decimal(bought)
    assert placed(side=Side.SELL, limit="10.03", rounding=rounding).legs[0].limit_price == Decimal(sold)
    assert placed(side=Side.SELL, stop="9.98", rounding=rounding).legs[0].stop_price == Decimal(stopped)
    exits = placed(limit=10, take_profit="10.53", stop_loss="9.48", rounding=rounding).legs[1:]
    expected = {"passive": ("10.55", "9.45"), "aggressive": ("10.50", "9.50"), "nearest": ("10.55", "9.50")}[rounding]
    assert (exits[0].limit_price, exits[1].stop_price) == tuple(map(Decimal, expected))


def test_exact_prices_are_left_alone_or_refused() -> None:
    assert placed(limit="10.05", rounding="exact").legs[0].limit_price == Decimal("10.05")
    with pytest.raises(BadInput, match=r"limit price 10\.04 of .* is between two ticks of 0\.05"):
        placed(limit="10.04", rounding="exact")
    with pytest.raises(BadInput, match="rounding 'up' is unknown: write passive, aggressive, nearest, exact"):
        placed(limit="10.04", rounding="up")


def test_a_bracket_has_its_exits_on_the_other_side() -> None:
    intent = placed(quantity=5, limit=10, take_profit=11, stop_loss=9)
    assert intent.group is Group.BRACKET
    assert [(leg.side, leg.order_type, leg.parent_leg) for leg in intent.legs] == [
        (Side.BUY, OrderType.LIMIT, None),
        (Side.SELL, OrderType.LIMIT, 0),
        (Side.SELL, OrderType.STOP, 0),
    ]


def test_validity_is_five_seconds_for_market_orders_and_thirty_for_others() -> None:
    assert placed().valid_until_ns == T0 + 5 * NS
    assert placed(limit=10).valid_until_ns == T0 + 30 * NS
    assert placed(limit=10, valid_for_s=1.5).valid_until_ns == T0 + 3 * NS // 2


@pytest.mark.parametrize("wrong", [{"quantity": 0}, {"quantity": -1}, {"quantity": float("nan")}, {"limit": "x"}])
def test_what_cannot_be_an_order_is_refused_with_a_sentence(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        placed(**wrong)


def test_resting_exits_and_stops_do_not_count_as_on_the_way() -> None:
    box = outbox()
    box.place(Ticket(IBM, Side.BUY, 5, limit=10, take_profit=11, stop_loss=9))
    box.place(Ticket(IBM, Side.SELL, 5, stop=9))
    assert box.book.expected(IBM.con_id) == 5


def test_a_commit_that_redis_lost_gives_its_number_again_but_not_its_intents_ids() -> None:
    # Simulation, seed 16: after an empty restart the same unit and commit made another order under the same orderRef.
    ids = []
    for incarnation in ("before", "after"):
        box = Outbox(Identity("d", "DUSIM0001", "s", "s/IBM", incarnation), Book(), 1, Moment(T0, T0))
        ids.append(box.place(Ticket(NICKEL, Side.BUY, 1)))
    assert ids[0] != ids[1]

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from shared.messages.account import PositionShare
from shared.messages.control import Control, ControlAction, PositionMove
from tests.unit.copilot_quant.cli.conftest import Typed, World, a_position

Cq = Callable[..., Typed]


def shares(**held: int) -> tuple[PositionShare, ...]:
    return tuple(PositionShare(strategy=name, quantity=Decimal(quantity)) for name, quantity in held.items())


def test_what_several_own_is_shown_also_where_it_adds_up_to_nothing(world: World, cq: Cq) -> None:
    world.hold(a_position(0, shares=shares(dip=10, unassigned=-10)))
    for words in (["positions", "--json"], ["positions", "show", "--json"]):
        (row,) = cq(*words).json
        assert (row["position"], row["held_by"]) == ("0", "dip 10, unassigned -10")


def test_a_strategy_adopts_what_nobody_owns(world: World, cq: Cq) -> None:
    world.hold(a_position(100, shares=shares(unassigned=100)))
    done = cq("positions", "adopt", "AAPL", "--to", "dip", "--reason", "bought by phone", "--quantity", "60")
    assert done.status == 0 and "60 went from unassigned to dip: bought by phone" in done.out
    (act,) = world.heard_of(Control)
    assert (act.action, act.scope, act.reason) == (
        ControlAction.ASSIGN_POSITION, "contract:265598", "bought by phone",
    )  # fmt: skip
    move = PositionMove.model_validate_json(act.text)
    assert (move.taken_from, move.given_to, move.quantity, move.price) == ("unassigned", "dip", 60, 150)


def test_all_of_it_goes_unless_a_quantity_is_named_and_at_the_price_that_is(world: World, cq: Cq) -> None:
    world.hold(a_position(0, shares=shares(dip=10, unassigned=-10)))
    done = cq(
        "positions", "assign", "AAPL", "--from", "unassigned", "--to", "dip", "-r", "closed", "--price", "9", "--json"
    )
    assert done.json == {"contract": "AAPL", "quantity": "-10", "from": "unassigned", "to": "dip", "reason": "closed"}
    (act,) = world.heard_of(Control)
    assert PositionMove.model_validate_json(act.text).price == 9


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--from", "dip", "--to", "other", "-q", "11"], 77, "dip holds 10 AAPL"),
        (["--from", "dip", "--to", "other", "-q", "-1"], 77, "dip holds 10 AAPL"),
        (["--from", "nobody", "--to", "other"], 77, "nobody holds 0 AAPL"),
        (["--from", "dip", "--to", "dip"], 65, "both giver and taker"),
        (["--from", "dip", "--to", "a b"], 65, "no name of an owner"),
        (["--from", "dip", "--to", "other", "-q", "ten"], 65, "--quantity"),
    ],
)
def test_what_cannot_be_moved_is_refused_in_a_sentence(
    world: World, cq: Cq, words: list[str], status: int, said: str
) -> None:
    world.hold(a_position(10, shares=shares(dip=10)))
    done = cq("positions", "assign", "AAPL", "-r", "why", *words)
    assert (done.status, said in done.err) == (status, True), done.err
    assert not world.heard_of(Control)


def test_a_move_needs_a_reason_and_a_holding(world: World, cq: Cq) -> None:
    assert cq("positions", "adopt", "AAPL", "--to", "dip").status == 64
    assert cq("positions", "adopt", "AAPL", "--to", "dip", "-r", "x").status == 77


def test_a_move_nobody_makes_times_out(world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_quant.cli.positions._LIMIT_S", 0.2)
    world.has_gateway = False
    world.hold(a_position(10, shares=shares(unassigned=10)))
    assert cq("positions", "adopt", "AAPL", "--to", "dip", "-r", "x").status == 75

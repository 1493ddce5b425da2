from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from shared.messages.account import BookMove, Unexplained
from shared.messages.base import Message
from shared.messages.control import Control, ControlAction
from tests.unit.copilot_quant.cli.conftest import APPLE, Typed, World, a_position

Cq = Callable[..., Typed]


def told(world: World, *messages: Message) -> None:
    for message in messages:
        world.put(lambda bus, message=message: bus.append(world.keys.account, message, source="gateway:1"))  # type: ignore[misc]


def differing(expected: int, reported: int, at: int, text: str = "no execution explains it") -> Unexplained:
    return Unexplained(
        account="DUSIM0001", con_id=APPLE.con_id, expected=Decimal(expected), reported=Decimal(reported), text=text,
        ts_init_ns=at * 10**9,
    )  # fmt: skip


def test_books_that_add_up_show_nothing(world: World, cq: Cq) -> None:
    assert "every position is explained" in cq("reconcile", "show").out


def test_a_standing_difference_is_shown_since_it_was_found(world: World, cq: Cq) -> None:
    world.hold(a_position(6, unexplained=Decimal(-4)))
    told(world, differing(10, 6, 100), differing(10, 6, 160))
    (row,) = cq("reconcile", "show", "--json").json
    assert (row["contract"], row["state"], row["difference"]) == ("AAPL", "unexplained", "-4")
    assert row["since"].startswith("1970-01-01T00:01:40")


def test_one_that_ended_says_how(world: World, cq: Cq) -> None:
    told(world, differing(10, 6, 100), differing(6, 6, 200, "the books agree again"))
    (row,) = cq("reconcile", "show", "--json").json
    assert (row["state"], row["text"]) == ("explained", "the books agree again")
    move = BookMove(
        account="DUSIM0001", con_id=APPLE.con_id, strategy="unassigned", quantity=Decimal(-4), who="anna",
        reason="assigned",
    )  # fmt: skip
    told(world, move, differing(6, 6, 201, "accepted by anna: assigned"))
    (row,) = cq("reconcile", "show", "--json").json
    assert (row["state"], row["text"]) == ("adopted", "anna: assigned")


def test_accept_is_the_same_by_both_names_and_needs_a_difference(world: World, cq: Cq) -> None:
    world.hold(a_position(6, unexplained=Decimal(-4)))
    for words in (["accept"], ["reconcile", "accept"]):
        done = cq(*words, "AAPL", "--reason", "sold by phone")
        assert done.status == 0 and "AAPL: -4 is unassigned now: sold by phone" in done.out
    assert {act.action for act in world.heard_of(Control)} == {ControlAction.ACCEPT_POSITION}
    world.hold(a_position(6))
    assert cq("reconcile", "accept", "AAPL", "-r", "x").status == 77

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_quant.cli.closing import by_owner
from shared.bus.memory import MemoryBus
from shared.messages.account import PositionShare
from shared.messages.orders import CancelRequest, Intent, OrderState, Side
from tests.unit.copilot_quant.cli.conftest import Typed, World, a_position, an_order

Cq = Callable[..., Typed]


@pytest.fixture
def held(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A position of 100 with its stop, and a gateway that takes cancelled orders off the list."""
    world.hold(a_position())
    world.work(an_order())
    world.states = [OrderState.FILLED]
    act = world._act

    async def cancelling(message: object) -> None:
        if isinstance(message, CancelRequest):
            await world.bus.hash_delete(world.keys.open_orders, [f"cq-{message.intent_id}"])
        await act(message)  # type: ignore[arg-type]

    monkeypatch.setattr(world, "_act", cancelling)
    return world


def allow(world: World, text: str) -> None:
    async def seed(bus: MemoryBus) -> None:
        await bus.hash_set(world.keys.limits, {"text": text})

    world.put(seed)


def test_exits_are_cancelled_before_the_close(held: World, cq: Cq) -> None:
    assert cq("close", "AAPL", "--yes").status == 0
    kinds = [type(message) for message in held.heard if isinstance(message, CancelRequest | Intent)]
    assert kinds == [CancelRequest, Intent]
    assert [intent.legs[0].quantity for intent in held.heard_of(Intent)] == [Decimal(100)]


def test_what_is_larger_than_one_order_may_be_is_closed_in_several(held: World, cq: Cq) -> None:
    allow(held, "rules = 2\n[limits]\norder_quantity_max = 40\n")
    assert cq("close", "AAPL", "--yes").status == 0
    assert [intent.legs[0].quantity for intent in held.heard_of(Intent)] == [Decimal(40), Decimal(40), Decimal(20)]


def test_each_owner_closes_its_own_part_and_nobody_opens_the_other_side(held: World, cq: Cq) -> None:
    shares = {"dip": 70, "trend": 60, "hedge": -50, "unassigned": 20}
    held.seeds.clear()
    held.hold(a_position(shares=tuple(PositionShare(strategy=name, quantity=Decimal(n)) for name, n in shares.items())))
    done = cq("close", "AAPL", "--yes", "--json")
    assert [(one.strategy, one.legs[0].side, one.legs[0].quantity) for one in held.heard_of(Intent)] == [
        ("dip", Side.SELL, Decimal(70)), ("trend", Side.SELL, Decimal(30)),
    ]  # fmt: skip
    assert [row["state"] for row in done.json] == ["filled", "filled"], "one document, whatever the number of orders"


@given(
    st.integers(-300, 300),
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "unassigned"]), st.integers(-300, 300)), unique_by=lambda one: one[0]
    ),
)
def test_what_is_closed_adds_up_to_the_position_and_only_reduces(held: int, owned: list[tuple[str, int]]) -> None:
    shares = tuple(PositionShare(strategy=name, quantity=Decimal(n)) for name, n in owned)
    parts = by_owner(a_position(held, shares=shares))
    assert sum(parts.values()) == held and all(part * held > 0 for part in parts.values())
    assert all(abs(part) <= abs(dict(owned)[name]) for name, part in parts.items() if name != "manual")


def test_nothing_to_close_is_an_empty_list(world: World, cq: Cq) -> None:
    assert cq("close", "--all", "--yes", "--json").json == []
    assert "nothing to close" in cq("close", "--all", "--yes").out


def test_exits_of_others_and_children_that_wait_stay(held: World, cq: Cq) -> None:
    held.seeds.clear()
    held.hold(a_position())
    parent = "p" * 20
    held.work(
        an_order(order_ref="cq-1", side=Side.BUY, stop_price=None, order_type="MKT", intent_id=parent),
        an_order(order_ref="cq-2", leg=1, parent_leg=0, intent_id=parent),
        an_order(order_ref="cq-3", strategy="other", intent_id="o" * 20),
    )
    held.fill(1, 1)
    assert cq("close", "--strategy", "momentum", "--yes").status == 0
    assert not held.heard_of(CancelRequest) and len(held.heard_of(Intent)) == 1


def test_a_close_whose_exits_do_not_end_is_not_sent(world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("copilot_quant.cli.closing.CANCEL_LIMIT_S", 0.2)
    world.hold(a_position())
    world.work(an_order())
    done = cq("close", "AAPL", "--yes")
    assert done.status == 75 and "could open the other side" in done.err and not world.heard_of(Intent)

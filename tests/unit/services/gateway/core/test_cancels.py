"""A cancel is due when its order is shown, once a session, and is found where the order is under another id."""

from __future__ import annotations

from decimal import Decimal

from services.gateway.core.cancels import Cancels
from services.gateway.core.order_machine import OrderTrack
from shared.messages.orders import CancelRequest, OrderState, Side


def track(ref: str = "a", *, client_id: int = 101, leg: int = 0) -> OrderTrack:
    return OrderTrack(
        order_ref=ref, intent_id=ref * 20, leg=leg, strategy="s", account="DU1", con_id=1, side=Side.BUY,
        quantity=Decimal(1), order_type="LMT", client_id=client_id, state=OrderState.WORKING,
    )  # fmt: skip


def unmet(ref: str, leg: int | None = None) -> CancelRequest:
    return CancelRequest(cancel_id="c", intent_id=ref * 20, leg=leg, account="DU1", reason=f"unmet {ref}")


def test_what_is_wanted_is_due_once_and_again_in_another_session() -> None:
    cancels, order = Cancels(keep=2), track()
    assert cancels.due(order, 1) is None and not cancels.is_wanted(order)
    cancels.want(order, "people")
    assert cancels.is_wanted(order)
    assert cancels.due(order, 1) == "people" and not cancels.is_wanted(order)
    cancels.sent(order, 1, "people")
    assert cancels.due(order, 1) is None
    assert cancels.due(order, 2) == "people", "its session may have swallowed it"
    order.state = OrderState.CANCELLED
    assert cancels.due(order, 3) is None
    order.state = OrderState.WORKING
    assert cancels.due(order, 4) is None, "it had ended: what comes back is judged anew"


def test_a_cancel_that_met_no_order_waits_for_it_by_leg_and_the_oldest_are_forgotten() -> None:
    cancels = Cancels(keep=2)
    for ref in ("a", "b", "c"):
        cancels.unmet(unmet(ref, 1 if ref == "c" else None))
    assert cancels.due(track("a"), 1) is None
    assert cancels.due(track("b"), 1) == "unmet b"
    assert cancels.due(track("c"), 1) is None and cancels.due(track("c", leg=1), 1) == "unmet c"
    order = track("b")
    order.cancel_sent_ns = 5
    assert cancels.due(order, 1) is None, "asked already"


def test_orders_under_another_id_are_found_as_long_as_they_are_open() -> None:
    cancels = Cancels(keep=2)
    here, there, unclaimed = track("a"), track("b", client_id=102), track("c", client_id=0)
    assert cancels.elsewhere([here, there], 101) == []
    for order in (here, there, unclaimed):
        cancels.want(order, "people")
    assert cancels.elsewhere([here, there, unclaimed], 101) == [there]
    assert cancels.elsewhere([here, there, unclaimed], 102) == [here]
    assert cancels.elsewhere([here], 101) == [] and not cancels.is_wanted(there), "it has ended"

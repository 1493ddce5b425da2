"""A crash between a bracket's legs leaves all of it or nothing that can fill: an entry is never without its exits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.gateway.core.ledger import ClaimedOrder
from shared.messages.orders import OrderState
from tests.simulation.breaking import Patches
from tests.simulation.kernel import NS
from tests.simulation.options import Options
from tests.simulation.run import Run
from tests.simulation.session import SimSession


class Torn:
    """Lets the leader die when `count` legs of its first bracket have left the socket."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.refs: list[str] = []

    def __call__(self, run: Run) -> Callable[[], None]:
        whole = SimSession.place

        def place(session: SimSession, orders: Sequence[ClaimedOrder], contract: Any) -> None:
            if self.refs or len(orders) < 3:
                whole(session, orders, contract)
                return
            self.refs = [order.order_ref for order in orders]
            if self.count:
                whole(session, orders[: self.count], contract)
            process, world = session._process, run.world
            world.after(0, process.crash)
            world.after(NS // 2, lambda: run.system.start(process.name))

        patches = Patches()
        patches.put(SimSession, "place", place)
        return patches.close


@pytest.mark.parametrize("has_guard", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_bracket_whose_sender_dies_between_its_legs_is_whole_or_over(count: int, has_guard: bool) -> None:
    torn = Torn(count)
    run = Run(Options(seed=3, rage_s=6.0, has_guard=has_guard), patch=torn)
    result = run.go()
    assert torn.refs, "no bracket was sent"
    found = {order.ref[:32]: order for order in run.system.broker.orders if order.ref[:32] in torn.refs}
    assert len(found) == count
    said = [run.judge.outcomes.last[1, ref].state for ref in torn.refs]
    if count == 3:
        assert result.is_clean and all(order.is_transmitted for order in found.values())
        assert OrderState.NOT_SENT not in said
        return
    assert not any(order.filled or order.is_transmitted for order in found.values()), "an entry without its exits"
    assert all(state.is_final or state is OrderState.UNKNOWN for state in said), said

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.monitoring.core.protection import is_protected, protected_quantity
from shared.messages.account import PositionReport
from shared.messages.orders import OrderEvent, OrderState, Side


def a_position(quantity: int) -> PositionReport:
    return PositionReport(account="DUSIM0001", con_id=7, position=Decimal(quantity))


def a_stop(**changes: Any) -> OrderEvent:
    content: dict[str, Any] = {
        "account": "DUSIM0001", "con_id": 7, "side": Side.SELL, "quantity": Decimal(100), "order_type": "STP",
        "state": OrderState.WORKING, "strategy": "dip", "filled": Decimal(0),
    }  # fmt: skip
    return OrderEvent(**{**content, **changes})


@pytest.mark.parametrize(
    "position, changes, expected",
    [
        (100, {}, 100),
        (150, {}, 100),
        (60, {}, 60),
        (100, {"filled": Decimal(30)}, 70),
        (100, {"order_type": "LMT"}, 0),
        (100, {"side": Side.BUY}, 0),
        (-100, {"side": Side.BUY}, 100),
        (100, {"state": OrderState.UNKNOWN}, 0),
        (100, {"con_id": 8}, 0),
        (100, {"order_type": "TRAIL"}, 100),
    ],
)
def test_a_position_is_protected_by_as_much_as_a_working_stop_would_close(
    position: int, changes: dict[str, Any], expected: int
) -> None:
    assert protected_quantity(a_position(position), [a_stop(**changes)]) == expected


def test_stops_add_up_and_a_part_is_not_all() -> None:
    stops = [a_stop(quantity=Decimal(40)), a_stop(quantity=Decimal(60), order_type="STP LMT")]
    assert is_protected(a_position(100), stops) and not is_protected(a_position(101), stops)

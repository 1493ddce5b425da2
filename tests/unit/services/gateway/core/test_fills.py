"""An execution becomes an entry that says whose it is, and whether of an order that nobody asked for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.gateway.core.evidence import BrokerExecution
from services.gateway.core.fills import fill_of
from services.gateway.core.order_machine import OrderTrack
from shared.ids import UNASSIGNED, IntentId, order_ref, parse_order_ref
from shared.messages.orders import Side

IID = IntentId("abcdefghij234567abcd")
REF = order_ref("sim:sim:DU1", IID, 1)
EXECUTION = BrokerExecution(
    exec_id="a.b.02", account="DU1", con_id=1, side=Side.BUY, shares=Decimal(10), price=Decimal(5), ts_ns=7, perm_id=99,
    client_id=101, order_id=7, order_ref=REF + "/preset",
)  # fmt: skip


def track(**more: object) -> OrderTrack:
    fields: dict[str, object] = {
        "order_ref": REF, "intent_id": IID, "leg": 1, "strategy": "demo", "account": "DU1", "con_id": 1,
        "side": Side.BUY, "quantity": Decimal(10), "order_type": "LMT", "contract": "AAPL",
    }  # fmt: skip
    return OrderTrack(**{**fields, **more})  # type: ignore[arg-type]


def test_it_is_of_the_order_whose_reference_it_carries() -> None:
    fill = fill_of(EXECUTION, track(), "DU1", parse_order_ref(EXECUTION.order_ref), 9, is_late=True, origin="flex")
    assert (fill.exec_stem, fill.revision, fill.ts_event_ns, fill.ts_init_ns) == ("a.b", 2, 7, 9)
    assert (fill.intent_id, fill.leg, fill.order_ref, fill.strategy, fill.contract) == (IID, 1, REF, "demo", "AAPL")
    assert (fill.is_late, fill.origin, fill.is_double) == (True, "flex", False)


def test_of_an_order_that_is_not_ours_it_is_nobodys() -> None:
    fill = fill_of(EXECUTION, None, "DU1", None, 9, is_late=False)
    assert (fill.intent_id, fill.leg, fill.order_ref, fill.strategy) == ("", 0, "", UNASSIGNED)


@pytest.mark.parametrize("is_seen", [True, False])
def test_of_a_second_order_that_ib_made_it_says_so(*, is_seen: bool) -> None:
    of = track(is_external=is_seen, order_ref="" if is_seen else REF)
    fill = fill_of(EXECUTION, of, "DU1", parse_order_ref(REF), 9, is_late=False, is_second=not is_seen)
    assert fill.is_double and fill.intent_id == IID and fill.strategy == "demo"

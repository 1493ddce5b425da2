from __future__ import annotations

import json
from decimal import Decimal

from services.simulator.core.ledger import Ledger


def test_entries_are_numbered_and_handed_out_once() -> None:
    ledger = Ledger()
    ledger.append(5, "order_received", order_ref="a", quantity=Decimal("1.5"))
    ledger.append(6, "execution")
    lines = ledger.take_unsaved()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]
    assert json.loads(lines[0])["quantity"] == "1.5"
    assert ledger.take_unsaved() == []
    assert [json.loads(line)["seq"] for line in ledger.tail(1)] == [2]
    assert ledger.counts == {"order_received": 1, "execution": 1}


def test_only_new_orders_count_as_sent() -> None:
    ledger = Ledger()
    for kind in ("order_received", "modify_received", "order_received", "cancel_received"):
        ledger.append(1, kind, order_ref="a")
    ledger.append(1, "order_received", order_ref="b")
    ledger.append(1, "order_received", order_ref="")
    assert ledger.sent_twice() == {"a": 2}


def test_a_restored_ledger_goes_on() -> None:
    first = Ledger()
    first.append(1, "order_received", order_ref="a")
    second = Ledger()
    for line in first.take_unsaved():
        second.restore(line)
    second.append(2, "order_received", order_ref="a")
    assert second.sent_twice() == {"a": 2}
    assert [json.loads(line)["seq"] for line in second.take_unsaved()] == [2]
    assert second.tail(99) == []

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitoring.core.audit import ChainBroken, Head, Record, link, pack, subject_of, verified
from shared.messages.control import Control, ControlAction
from shared.messages.orders import CancelCommand, CancelRequest, Commission, OrderState
from tests.risk_desk import ACCOUNT, D, event_of, fields_of, intent_of, number_id


def chain(count: int) -> list[Record]:
    head, records = Head(), []
    for number in range(1, count + 1):
        record = link(head, "orders", f"{number}-0", {b"type": b"order_event", b"body": bytes([number])})
        records.append(record)
        head = Head(record.number, record.hash)
    return records


def test_a_chain_as_it_was_written_holds_and_keeps_the_fields() -> None:
    records = list(verified(chain(5), Head()))
    assert [record.number for record in records] == [1, 2, 3, 4, 5]
    assert records[2].fields == {b"type": b"order_event", b"body": b"\x03"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: rows.pop(2),
        lambda rows: rows.insert(2, rows[2]),
        lambda rows: rows.reverse(),
        lambda rows: rows.__setitem__(2, replace(rows[2], packed=pack({b"type": b"other"}))),
        lambda rows: rows.__setitem__(2, replace(rows[2], entry_id="9-9")),
        lambda rows: rows.__setitem__(2, replace(rows[2], stream="fills")),
        lambda rows: rows.pop(0),
    ],
)
def test_whatever_was_changed_left_out_or_moved_breaks_it(damage: Callable[[list[Record]], object]) -> None:
    rows = chain(5)
    damage(rows)
    with pytest.raises(ChainBroken):
        list(verified(rows, Head()))


def test_a_record_made_anew_with_a_right_hash_breaks_at_the_next() -> None:
    rows = chain(5)
    rows[2] = link(Head(2, rows[1].hash), "orders", "3-0", {b"type": b"forged"})
    with pytest.raises(ChainBroken, match="record 4"):
        list(verified(rows, Head()))


@given(st.dictionaries(st.binary(), st.binary(), max_size=6))
def test_any_fields_come_back_as_they_were(fields: dict[bytes, bytes]) -> None:
    assert link(Head(), "s", "1-0", fields).fields == fields


def test_entries_are_found_by_the_intent_they_are_about() -> None:
    cancel = CancelRequest(cancel_id="c", intent_id=number_id(7), account=ACCOUNT)
    commission = Commission(exec_id="e1", strategy="s", account=ACCOUNT, con_id=1, commission=D("0.35"), currency="USD")
    halt = Control(control_id="h", action=ControlAction.HALT, who="me")
    about = [
        subject_of(fields_of(message, source="t"))
        for message in (
            intent_of(7),
            event_of(7, OrderState.WORKING),
            cancel,
            CancelCommand(cancel=cancel),
            commission,
            halt,
        )
    ]
    assert about == [number_id(7)] * 4 + ["e1", ""]
    assert subject_of({b"type": b"fill", b"body": b"\xc1"}) == "" == subject_of({})

from __future__ import annotations

import pytest

from shared.bus.ports import ClaimResult, Entry, LedgerRow, UnitRecord
from shared.bus.replies import as_hash, entries_of, flat, info_value, ledger_row, unit_record
from shared.errors import BadInput, BusUnavailable


def test_an_entry_that_was_deleted_while_pending_has_no_fields() -> None:
    assert entries_of("s", [[b"1-0", [b"a", b"1"]], [b"2-0", None]]) == [
        Entry("s", "1-0", {b"a": b"1"}),
        Entry("s", "2-0", {}),
    ]
    assert entries_of("s", None) == []


def test_a_ledger_row_is_read_as_the_script_writes_it() -> None:
    assert ledger_row(b"1|claimed|101|7|1795434340270291|1") == LedgerRow(
        1, ClaimResult.CLAIMED, 101, 7, 1795434340270291, is_new=True
    )


def test_a_unit_keeps_its_cursors_apart_from_its_state() -> None:
    stored = {"commit": b"3", "state": b"\x00", "cursor:cq:x:ticks:0": b"5-1", "owner": b"w", "epoch": b"9"}
    assert unit_record(stored) == UnitRecord(3, b"\x00", {"cq:x:ticks:0": "5-1"}, b"", "w", 9)
    assert unit_record({}) == UnitRecord()


def test_a_server_that_does_not_say_who_it_is_is_not_trusted() -> None:
    info = b"# Server\r\nrun_id:abc\r\n# Replication\r\nmaster_replid:def\r\nmaster_replid2:0\r\n"
    assert (info_value(info, "run_id"), info_value(info, "master_replid")) == ("abc", "def")
    with pytest.raises(BusUnavailable):
        info_value(b"", "run_id")


def test_flat_lists_become_hashes_and_back() -> None:
    assert as_hash([b"a", b"1", b"b", b"2"]) == {"a": b"1", "b": b"2"}
    assert flat({"a": b"1", "b": b"2"}) == ["a", b"1", "b", b"2"]


@pytest.mark.parametrize("row", [b"0|nonsense|0", b"0|claimed|x|7|1|1", b"", b"0|claimed|\xff|7|1|1"])
def test_a_damaged_row_of_the_ledger_is_bad_input(row: bytes) -> None:
    with pytest.raises(BadInput, match="ledger"):
        ledger_row(row)

from __future__ import annotations

from services.marketdata.core.subscriptions import Wants, wanted_by_units


def test_a_contract_is_wanted_while_anybody_wants_it() -> None:
    wants = Wants()
    wants.set_units({"a": [2, 1], "b": [2]})
    wants.set_source("fixed", [3])
    assert (list(wants.con_ids), wants.count(2)) == ([1, 2, 3], 2)
    wants.set_units({"b": [2]})
    assert list(wants.con_ids) == [2, 3]
    wants.set_units({})
    wants.set_source("fixed", [])
    assert not wants.con_ids


def test_the_set_is_said_when_it_changes_and_only_then() -> None:
    wants = Wants()
    first = wants.changed(1)
    assert first is not None
    assert (first.con_ids, first.revision) == ((), 1)
    assert wants.changed(2) is None
    wants.set_source("fixed", [5, 4])
    second = wants.changed(3)
    assert second is not None
    assert (second.con_ids, second.revision, second.ts_init_ns) == ((4, 5), 2, 3)
    wants.set_source("positions", [4])
    assert wants.changed(4) is None


def test_a_successor_goes_on_from_the_last_revision() -> None:
    wants = Wants(7, (4, 5))
    wants.set_source("fixed", [5, 4])
    assert wants.changed(1) is None
    wants.set_source("fixed", [5])
    request = wants.changed(1)
    assert request is not None
    assert request.revision == 8


def test_rows_that_cannot_be_read_are_named_and_the_others_count() -> None:
    rows = {"a": b'{"contracts": [1, 2]}', "b": b"no json", "c": b"[1]", "d": b"{}", "e": b'{"contracts": ["x"]}'}
    units, unreadable = wanted_by_units(rows)
    assert units == {"a": (1, 2), "d": ()}
    assert unreadable == ["b", "c", "e"]


def test_a_renewal_is_said_although_the_set_is_the_same() -> None:
    wants = Wants()
    wants.set_source("fixed", [2, 1])
    assert wants.changed(5) is not None and wants.changed(6) is None
    request = wants.changed(7, renew=(2,))
    assert request is not None and (request.con_ids, request.renew, request.revision) == ((1, 2), (2,), 2)
    assert wants.changed(8) is None

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.monitoring.core.audit import ChainBroken
from services.monitoring.shell.audit_store import AuditStore, read_records, records_about, segments
from shared.bus.ports import Entry
from shared.errors import BadInput, ConfigError
from tests.risk_desk import fields_of, intent_of, number_id


def entries(first: int, last: int) -> list[Entry]:
    return [
        Entry("cq:sim:intents", f"{number}-0", fields_of(intent_of(number), source="test"))
        for number in range(first, last + 1)
    ]


def keep(store: AuditStore, first: int, last: int) -> None:
    store.append(entries(first, last), {"cq:sim:intents": f"{last}-0"})


def test_records_survive_and_the_next_writer_goes_on_where_the_last_ended(tmp_path: Path) -> None:
    store = AuditStore(tmp_path)
    keep(store, 1, 3)
    store.close()
    again = AuditStore(tmp_path)
    assert again.cursors == {"cq:sim:intents": "3-0"} and again.head.number == 3
    keep(again, 4, 5)
    again.close()
    assert [record.entry_id for record in read_records(tmp_path)] == [f"{number}-0" for number in range(1, 6)]
    assert [record.number for record in records_about(tmp_path, number_id(4))] == [4]


def test_files_follow_each_other_with_one_chain_and_the_cursors(tmp_path: Path) -> None:
    store = AuditStore(tmp_path, rows_per_file=4)
    for first in range(1, 20, 2):
        keep(store, first, first + 1)
    store.close()
    assert [path.name[-8:-7] for path in segments(tmp_path)] == ["1", "5", "9", "3", "7", "1"]
    assert len(list(read_records(tmp_path))) == 20
    again = AuditStore(tmp_path, rows_per_file=4)
    assert (again.head.number, again.cursors) == (20, {"cq:sim:intents": "20-0"})
    again.close()


def test_a_file_that_a_crash_left_empty_is_made_anew(tmp_path: Path) -> None:
    store = AuditStore(tmp_path, rows_per_file=2)
    keep(store, 1, 3)
    store.close()
    segments(tmp_path)[-1].unlink()
    sqlite3.connect(tmp_path / "audit-000000000004.sqlite").close()
    (tmp_path / "audit-000000000004.sqlite").touch()
    again = AuditStore(tmp_path, rows_per_file=2)
    assert again.head.number == 3 and again.cursors == {"cq:sim:intents": "3-0"}
    keep(again, 4, 4)
    again.close()
    assert len(list(read_records(tmp_path))) == 4


def test_a_write_that_fails_keeps_nothing_of_it(tmp_path: Path) -> None:
    store = AuditStore(tmp_path)
    keep(store, 1, 2)
    bad = Entry("cq:sim:intents", 3, fields_of(intent_of(3), source="test"))  # type: ignore[arg-type]
    store._file.execute("CREATE TRIGGER full BEFORE INSERT ON cursor BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises((OSError, AttributeError)):
        store.append([*entries(3, 3), bad], {"cq:sim:intents": "9-0"})
    with pytest.raises(OSError, match="disk full"):
        keep(store, 3, 4)
    store._file.execute("DROP TRIGGER full")
    keep(store, 3, 4)
    store.close()
    assert [record.number for record in read_records(tmp_path)] == [1, 2, 3, 4]


def test_records_can_be_neither_changed_nor_deleted_and_a_forger_is_found(tmp_path: Path) -> None:
    store = AuditStore(tmp_path)
    keep(store, 1, 5)
    for statement in ("UPDATE record SET stream = 'x'", "DELETE FROM record WHERE number = 3"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            store._file.execute(statement)
    store._file.rollback()
    store.close()
    with sqlite3.connect(segments(tmp_path)[0]) as forger:
        forger.execute("DROP TRIGGER record_is_kept")
        forger.execute("UPDATE record SET entry_id = '3-1' WHERE number = 3")
    with pytest.raises(ChainBroken, match="record 3"):
        list(read_records(tmp_path))
    assert len(list(read_records(tmp_path, is_checked=False))) == 5


def test_a_lost_file_in_between_is_found(tmp_path: Path) -> None:
    store = AuditStore(tmp_path, rows_per_file=2)
    keep(store, 1, 2)
    keep(store, 3, 4)
    keep(store, 5, 6)
    store.close()
    segments(tmp_path)[1].unlink()
    with pytest.raises(ChainBroken, match="follows record 2"):
        list(read_records(tmp_path))


def test_one_writer_at_a_time_and_places_that_are_none_refuse_the_start(tmp_path: Path) -> None:
    store = AuditStore(tmp_path / "audit")
    with pytest.raises(ConfigError, match="another process writes"):
        AuditStore(tmp_path / "audit")
    store.close()
    AuditStore(tmp_path / "audit").close()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        AuditStore(tmp_path / "file")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "audit-000000000001.sqlite").write_text("this is no database, and long enough to be taken for one" * 99)
    with pytest.raises(ConfigError, match="cannot be read"):
        AuditStore(broken)
    with pytest.raises(BadInput, match="there is no audit"):
        list(read_records(tmp_path / "nowhere"))

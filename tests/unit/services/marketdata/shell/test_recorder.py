from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.marketdata.shell.recorder import PROGRESS_FILE, Recorder, file_name, stream_of
from services.marketdata.shell.replayer import rows_of
from shared.bus.ports import Entry
from shared.errors import BadInput

DAY_MS = 86_400_000


def entry(entry_id: str, body: bytes = b"x") -> Entry:
    return Entry("ticks:1", entry_id, {b"type": b"ticks", b"body": body})


def test_what_was_flushed_is_read_back_and_further_flushes_append(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    noted = [entry(f"{1_700_000_000_000 + number}-0", bytes([number])) for number in range(3)]
    for one in noted:
        recorder.note("ticks:1", one)
        recorder.flush()
    (path,) = tmp_path.rglob(file_name("ticks:1"))
    assert path.parent.name == "2023-11-14" and stream_of(path.name) == "ticks:1"
    progress = Recorder(tmp_path).progress()
    assert progress.cursors == {"ticks:1": "1700000000002-0"}
    assert progress.sizes == {"2023-11-14/ticks~1.mpk.gz": path.stat().st_size}
    assert list(rows_of(path, "ticks:1", path.stat().st_size)) == noted


def test_an_entry_is_filed_under_the_day_of_its_id(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.note("orders", entry(f"{DAY_MS - 1}-0"))
    recorder.note("orders", entry(f"{DAY_MS}-0"))
    recorder.flush()
    assert sorted(path.parent.name for path in tmp_path.rglob("orders*")) == ["1970-01-01", "1970-01-02"]


def test_what_a_crash_cut_off_is_not_read_and_written_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.note("orders", entry("1-0", bytes(2000)))
    recorder.flush()
    (path,) = tmp_path.rglob("orders*")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + path.read_bytes()[:-5])
    assert [one.entry_id for one in rows_of(path, "orders", size)] == ["1-0"]
    heir = Recorder(tmp_path)
    heir.note("orders", entry("2-0"))
    heir.flush()
    size = heir.progress().sizes["1970-01-01/orders.mpk.gz"]
    assert size == path.stat().st_size
    assert [one.entry_id for one in rows_of(path, "orders", size)] == ["1-0", "2-0"]


def test_what_is_no_recording_says_which_row(tmp_path: Path) -> None:
    path = tmp_path / "orders.mpk.gz"
    path.write_bytes(b"garbage")
    with pytest.raises(BadInput, match="row 1 is no recorded entry"):
        list(rows_of(path, "orders", 7))


def test_a_disk_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    recorder = Recorder(blocked)
    recorder.note("orders", entry("1-0"))
    recorder.flush()
    recorder.write_session({"version": 1})
    assert blocked.read_text() == "in the way"


def test_a_note_of_how_far_it_is_that_cannot_be_read_begins_nothing_over(tmp_path: Path) -> None:
    (tmp_path / PROGRESS_FILE).write_text(json.dumps(["no", "map"]))
    with pytest.raises(BadInput, match="move this recording away"):
        Recorder(tmp_path).progress()

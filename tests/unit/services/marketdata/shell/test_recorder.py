from __future__ import annotations

import gzip
from pathlib import Path

from services.marketdata.shell.recorder import Recorder
from shared.clock import ManualClock
from shared.messages.market import pack_ticks, trade_tick, unpack_ticks


def test_what_was_flushed_is_read_back_and_further_flushes_append(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, ManualClock())
    ticks = [trade_tick(1, number, number, 1, 10.0, 1.0) for number in range(3)]
    for tick in ticks:
        recorder.note_ticks(pack_ticks([tick]))
        recorder.flush()
    [path] = tmp_path.rglob("ticks.bin.gz")
    assert path.parent.name == "2023-11-14"
    assert list(unpack_ticks(gzip.decompress(path.read_bytes()))) == ticks


def test_a_disk_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    recorder = Recorder(blocked, ManualClock())
    recorder.note_ticks(b"x" * (2 << 20))
    recorder.flush()

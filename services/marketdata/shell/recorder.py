"""Record ticks and bars to files: one folder a UTC day, gzip, appended in whole members so that a crash keeps the rest.

`ticks.bin.gz` holds 64-byte records (`shared.messages.market.TICK_DTYPE`), `bars.jsonl.gz` one bar a line. What is not
flushed within `FLUSH_BYTES` or by `flush` is lost in a crash; the streams on the bus are the truth, this is a copy.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from shared.clock import Clock, iso_utc
from shared.logs import get_logger
from shared.messages.market import Bar

FLUSH_BYTES = 1 << 20


class Recorder:
    """Appends to the files of the current day below `directory`."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._ticks: list[bytes] = []
        self._bars: list[str] = []
        self._bytes = 0
        self._failed = False

    def note_ticks(self, body: bytes) -> None:
        """Take a tick batch."""
        self._ticks.append(body)
        self._count(len(body))

    def note_bar(self, bar: Bar) -> None:
        """Take a bar."""
        line = bar.model_dump_json() + "\n"
        self._bars.append(line)
        self._count(len(line))

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was taken; a full or missing disk stops recording, never the service."""
        ticks, bars = b"".join(self._ticks), "".join(self._bars).encode()
        self._ticks, self._bars, self._bytes = [], [], 0
        folder = self._directory / iso_utc(self._clock.wall_ns())[:10]
        try:
            for name, content in (("ticks.bin.gz", ticks), ("bars.jsonl.gz", bars)):
                if content:
                    folder.mkdir(parents=True, exist_ok=True)
                    with (folder / name).open("ab") as file:
                        file.write(gzip.compress(content, compresslevel=3))
            self._failed = False
        except OSError as e:
            if not self._failed:
                get_logger().warning("recording.failed", directory=str(folder), error=str(e))
            self._failed = True

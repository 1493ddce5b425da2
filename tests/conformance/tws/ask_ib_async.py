"""Run ib_async's decoder over payloads; in its own environment, see the test.

stdin: lines of `<server version> <payload in hex>`; stdout: one JSON line per payload: calls and logs.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from typing import Any

import ib_async
from ib_async.decoder import Decoder


class Complaints(logging.Handler):
    """Collect what the library logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the text and the cause."""
        self.texts.append(f"{record.getMessage()[:200]} {record.exc_info}")


class Recorder:
    """Stands where the Wrapper stands."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.ib = ib_async.IB()
        self.defaultTimezone = datetime.UTC

    def __getattr__(self, name: str) -> Any:
        """Hand out recorders for the callbacks."""
        return lambda *args, **kwargs: self.calls.append(name)


def main() -> None:
    """Answer stdin."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    for line in sys.stdin:
        version, payload = line.split()
        recorder = Recorder()
        complaints.texts = []
        Decoder(recorder, int(version)).interpret(bytes.fromhex(payload).decode().split("\0")[:-1])
        print(json.dumps([recorder.calls, complaints.texts]))


if __name__ == "__main__":
    main()

"""Run a client library's own decoder over payloads, and say every value it made of them; in a process of its own.

`python ask_peer.py NAME`, NAME being ib_insync, ib_async or ibapi. stdin: lines of `<server version> <payload in hex>`;
stdout: one JSON line per payload, [[[callback, {parameter: value, ...}], ...], texts of the library's complaints].
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import importlib
import inspect
import json
import logging
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

NAME = sys.argv[1]
IS_OFFICIAL = NAME == "ibapi"
decoder_module: Any = importlib.import_module(f"{NAME}.decoder")
wrapper_class: Any = importlib.import_module(f"{NAME}.wrapper").__dict__["EWrapper" if IS_OFFICIAL else "Wrapper"]


class Complaints(logging.Handler):
    """Collect what the library logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the text and the cause."""
        self.texts.append(f"{record.getMessage()[:200]} {record.exc_info or ''}")


class Recorder:
    """Stands where the wrapper stands, and names every argument as the wrapper's own method does."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.defaultTimezone = datetime.UTC
        if not IS_OFFICIAL:
            self.ib = importlib.import_module(NAME).IB()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Hand out recorders for the callbacks."""
        method = getattr(wrapper_class, name, None)

        def record(*args: Any, **kwargs: Any) -> None:
            if method is None:
                named = {f"arg{index}": each for index, each in enumerate(args)} | kwargs
            else:
                named = dict(inspect.signature(method).bind(None, *args, **kwargs).arguments)
                named.pop("self", None)
            self.calls.append((name, {key: shown(each) for key, each in named.items()}))

        return record


def shown(value: Any) -> Any:
    """Return a value as JSON can hold it, objects as their attributes."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, enum.Enum):
        return shown(value.value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, list | set) or type(value) is tuple:
        return [shown(each) for each in value]
    return {str(key): shown(each) for key, each in _attributes(value).items()}


def _attributes(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return dict(value._asdict()) if hasattr(value, "_asdict") else vars(value)


def interpret(recorder: Recorder, version: int, payload: bytes) -> None:
    """Let the library decode one message."""
    decoder = decoder_module.Decoder(recorder, version)
    if not IS_OFFICIAL:
        decoder.interpret(payload.decode().split("\0")[:-1])
        return
    fields = payload.split(b"\0")[:-1]
    if len(inspect.signature(decoder.interpret).parameters) > 1:
        decoder.interpret(fields[1:], int(fields[0]))
    else:
        decoder.interpret(fields)


def main() -> None:
    """Answer stdin."""
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    for line in sys.stdin:
        version, payload = line.split()
        recorder = Recorder()
        complaints.texts = []
        try:
            interpret(recorder, int(version), bytes.fromhex(payload))
        except Exception as e:
            complaints.texts.append(repr(e))
        print(json.dumps([recorder.calls, complaints.texts]))


if __name__ == "__main__":
    main()

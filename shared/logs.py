"""Set up structured logs: one JSON object a line on stderr, or coloured lines for people.

An event is a dotted name in the past tense plus fields (`order.claimed`, `lease.lost`); never a sentence. Account ids
and secrets are masked here and nowhere else.

An event loop does not write what it logs at once: a line costs more than an order, and who reads the lines wakes at
each of them, while the order is on its way. Below a warning they are made and written `LINGER_S` later, together; a
warning or an error, and the end of the process, bring out all that waits. A SIGKILL loses what waits, in full lines.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import re
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

LINGER_S = 0.02
_SECRET_NAMES = re.compile(r"password|passwd|secret|token|api_key|authorization", re.IGNORECASE)
_URL_CREDENTIALS = re.compile(r"(\w+://)[^/@\s]*@")
_ACCOUNT = re.compile(r"\b(DU|DF|U|F|I)([A-Z]{0,4}\d{4,})\b")


def mask_account(account: str) -> str:
    """Return an account id with all but its kind and last three characters hidden: `DUB267514` is `DU…514`."""
    return _ACCOUNT.sub(lambda found: f"{found[1]}…{found[2][-3:]}", account)


def redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask secrets and account ids in every field of a log event (a structlog processor)."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "…"
        elif isinstance(value, str):
            event[name] = mask_account(_URL_CREDENTIALS.sub(r"\1…@", value))
    return event


class Lines:
    """Where events go: made into lines and written in their order, a moment later where an event loop runs.

    Args:
        file: takes the lines.
        render: makes a line of an event.
    """

    def __init__(self, file: TextIO, render: structlog.typing.Processor) -> None:
        self._file = file
        self._render = render
        self._waiting: list[MutableMapping[str, Any]] = []
        self._lock = threading.Lock()
        self._due_on: asyncio.AbstractEventLoop | None = None

    def _take(self, event: MutableMapping[str, Any]) -> None:
        with self._lock:
            self._waiting.append(event)
        if event.get("level") in ("debug", "info"):
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                pass
            else:
                if self._due_on is not loop:
                    self._due_on = loop
                    loop.call_later(LINGER_S, self.flush)
                return
        self.flush()

    debug = info = warning = error = critical = msg = _take

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            self._due_on = None
            waiting, self._waiting = self._waiting, []
            if waiting:
                lines = [str(self._render(None, "", redact(None, "", event))) for event in waiting]
                self._file.write("\n".join([*lines, ""]))
                self._file.flush()


def _as_it_is(_: object, __: str, event: MutableMapping[str, Any]) -> tuple[tuple[Any], dict[str, Any]]:
    """Hand an event over whole (the last structlog processor): `Lines` makes the line."""
    return (event,), {}


def configure_logs(
    service: str,
    instance: str,
    *,
    mode: str,
    level: str = "info",
    log_format: str = "json",
    stream: TextIO | None = None,
) -> None:
    """Configure structlog and the standard library's logging for one process.

    Args:
        service: bound to every event, with `instance` and `mode`.
        instance: name of this process.
        mode: sim, paper or live.
        level: debug, info, warning or error.
        log_format: `json` or `console`.
        stream: where lines go; default stderr.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared_steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    output = stream or sys.stderr
    lines = Lines(output, renderer)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[*[step for step in shared_steps if not isinstance(step, structlog.stdlib.ExtraAdder)], _as_it_is],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared_steps, redact],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING) if level != "debug" else number)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service, instance=instance, mode=mode)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger; bind ids with `.bind(intent_id=…)` for what one entry is about."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger

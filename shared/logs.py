"""Set up structured logs: one JSON object a line on stderr, or coloured lines for people.

An event is a dotted name in the past tense plus fields (`order.claimed`, `lease.lost`); never a sentence. Account ids
and secrets are masked here and nowhere else.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

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
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    output = stream or sys.stderr
    structlog.configure(
        processors=[*[step for step in shared_steps if not isinstance(step, structlog.stdlib.ExtraAdder)], renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
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

"""Find out at once that a process refuses to start, and say why in its own sentence.

A wrong setting or a file that cannot be read ends a service before it does anything; its supervisor tries again and
again, and whoever waits for the system would wait for nothing.
"""

from __future__ import annotations

import json
from typing import Protocol

from copilot_quant.local.supervision import ProcessInfo
from shared.errors import ConfigError

REFUSED = "service.refused_start"
LINES = 40


class Supervising(Protocol):
    """What is asked of a supervisor."""

    def processes(self) -> list[ProcessInfo]:
        """Return the state of every process."""
        ...

    def log_tail(self, name: str, lines: int = 20) -> list[str]:
        """Return the last lines of a process's log."""
        ...


def refusals(supervisor: Supervising) -> list[str]:
    """Return the mistakes for which processes that do not run refused to start, each once."""
    found: dict[str, None] = {}
    for info in supervisor.processes():
        if info.state == "RUNNING":
            continue
        for line in supervisor.log_tail(info.name, LINES):
            if REFUSED in line and (mistake := _mistake(line)):
                found[f"{info.name} refuses to start: {mistake}"] = None
    return list(found)


def check_refusals(supervisor: Supervising) -> None:
    """Wait no longer for a system of which a part refuses to start.

    Raises:
        ConfigError: one does; a sentence for each mistake.
    """
    if found := refusals(supervisor):
        raise ConfigError(found)


def _mistake(line: str) -> str:
    try:
        content = json.loads(line)
    except ValueError:
        return ""
    return str(content.get("mistake", "")) if isinstance(content, dict) and content.get("event") == REFUSED else ""

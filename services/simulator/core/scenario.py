"""Read a scenario: which command the exchange carries out when.

A scenario is TOML, one `[[step]]` per command; everything but these keys goes to the command:

| key | meaning |
|---|---|
| `do` | the command |
| `after_s` | seconds after the start of the exchange |
| `at` | instead: a time of day in TWS' zone, "23:45" or "23:45:30", each day |
| `every_s` | do it again and again, this far apart |
| `repeat` | how often in all; without it for ever |

Invariant: every step is checked when the file is read, and a mistake names file, line and column.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from services.simulator.core.floor import Floor
from services.simulator.core.market import NS_PER_S
from services.simulator.core.times import local, to_ns
from shared.errors import BadInput

_HEADER = re.compile(r"\s*\[\[\s*step\s*\]\]")
_SYNTAX = re.compile(r"(?P<what>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_OWN_KEYS = ("do", "after_s", "at", "every_s", "repeat")
Check = Callable[[str, Mapping[str, Any]], object]


class BadScenario(BadInput):
    """A scenario that cannot be played; the text names file, line and column."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command and when it is due; `at_s` is the second of the day in TWS' zone."""

    line: int
    do: str
    parameters: dict[str, Any] = field(default_factory=dict)
    after_s: float | None = None
    at_s: int | None = None
    every_s: float | None = None
    repeat: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """The steps of one file."""

    name: str
    steps: tuple[Step, ...] = ()


def parse_scenario(name: str, text: str, check: Check) -> Scenario:
    """Read a scenario; `check` raises BadInput for a command or parameters that do not exist.

    Raises:
        BadScenario: the text is not TOML, or a step makes no sense; names file, line and column.
    """
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise BadScenario(_syntax(name, text, str(e))) from e
    steps = read.pop("step", [])
    for key in read:
        line, column = _find(text.splitlines(), key, 0)
        raise BadScenario(f"{name}, line {line}, column {column}: {key!r} is not known here: steps begin with [[step]]")
    if not isinstance(steps, list) or not all(isinstance(each, dict) for each in steps):
        raise BadScenario(f"{name}, line 1, column 1: steps begin with [[step]]")
    if not steps:
        raise BadScenario(f"{name}, line 1, column 1: there is no [[step]]")
    lines = text.splitlines()
    headers = [number for number, line in enumerate(lines, start=1) if _HEADER.match(line)]
    found = []
    for index, table in enumerate(steps):
        header = headers[index] if index < len(headers) else 1
        found.append(_step(_Place(name, lines, header), dict(table), check))
    return Scenario(name, tuple(found))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step stands in its file."""

    name: str
    lines: list[str]
    header: int

    def wrong(self, key: str, what: str) -> BadScenario:
        line, column = _find(self.lines, key, self.header)
        return BadScenario(f"{self.name}, line {line}, column {column}: {what}")


def _syntax(name: str, text: str, message: str) -> str:
    match = _SYNTAX.fullmatch(message)
    if match:
        return f"{name}, line {match['line']}, column {match['column']}: {match['what']}"
    return f"{name}, line {max(1, len(text.splitlines()))}, column 1: {message}"


def _find(lines: list[str], key: str, header: int) -> tuple[int, int]:
    """Return line and column of a key within the step that begins at a line; the header's where it is missing."""
    for number in range(header, len(lines)):
        if _HEADER.match(lines[number]):
            break
        match = re.match(rf"\s*\[*\s*(\"?{re.escape(key)}\"?)\s*[\]=.]", lines[number])
        if match:
            return number + 1, match.start(1) + 1
    return max(1, header), 1


def _step(place: _Place, table: dict[str, Any], check: Check) -> Step:
    do = table.get("do")
    if not isinstance(do, str):
        raise place.wrong("do", 'a step needs a command: do = "nightly_reset"')
    if ("after_s" in table) == ("at" in table):
        raise place.wrong("at", "a step needs either after_s (seconds from the start) or at (a time of day)")
    for key, least in (("after_s", 0), ("every_s", 0.001), ("repeat", 1)):
        value = table.get(key, least)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= 366 * 86_400 or (key == "repeat" and not isinstance(value, int)):
            raise place.wrong(key, f"{key} must be a number from {least:g} on, not {value!r}")
    if "repeat" in table and "every_s" not in table:
        raise place.wrong("repeat", "repeat needs every_s")
    parameters = {key: value for key, value in table.items() if key not in _OWN_KEYS}
    try:
        check(do, parameters)
    except BadInput as e:
        wrong_key = next((key for key in parameters if f"{key}=" in str(e) or f"'{key}'" in str(e)), "do")
        raise place.wrong(wrong_key, str(e)) from e
    return Step(
        place.header, do, parameters, table.get("after_s"), _second_of_day(place, table.get("at")),
        table.get("every_s"), table.get("repeat"),
    )  # fmt: skip


def _second_of_day(place: _Place, value: object) -> int | None:
    if value is None:
        return None
    match = _TIME.fullmatch(str(value))
    if match is None:
        raise place.wrong("at", f"at must be a time of day like 23:45 or 23:45:30, not {value!r}")
    hours, minutes, seconds = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)


class ScenarioPlayer:
    """Carry out a scenario's steps when they are due."""

    def __init__(self, floor: Floor, inject: Callable[[str, dict[str, Any]], None]) -> None:
        self._floor = floor
        self._inject = inject

    def play(self, scenario: Scenario) -> None:
        """Set every step's time; those after some seconds count from now."""
        self._floor.log("scenario", name=scenario.name, steps=len(scenario.steps))
        for step in scenario.steps:
            if step.after_s is not None:
                self._later(step, int(step.after_s * NS_PER_S), step.repeat)
            else:
                self._next_day(step)

    def _later(self, step: Step, delay_ns: int, left: int | None) -> None:
        self._floor.later(delay_ns, lambda: self._do(step, left))

    def _do(self, step: Step, left: int | None) -> None:
        if step.every_s is not None and (left is None or left > 1):
            self._later(step, int(step.every_s * NS_PER_S), None if left is None else left - 1)
        try:
            self._inject(step.do, dict(step.parameters))
        except BadInput as e:  # what a step needs (an execution, an order) may not be there yet: the others go on
            self._floor.log("scenario_failed", line=step.line, do=step.do, reason=str(e))

    def _next_day(self, step: Step) -> None:
        floor = self._floor
        moment = local(floor.now_ns, floor.config.time_zone)
        due = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(seconds=step.at_s or 0)
        due_ns = to_ns(due)
        if due_ns <= floor.now_ns:
            due_ns = to_ns(due + timedelta(days=1))
        floor.later(due_ns - floor.now_ns, lambda: self._on_day(step))

    def _on_day(self, step: Step) -> None:
        self._next_day(step)
        self._do(step, step.repeat)

"""Hold the halt: whether orders may pass, since when, and who said so.

Invariants:
1. Where the state is missing or unreadable, it holds (P6); only a `sim` deployment starts open.
2. Halting twice keeps the first reason; resuming names who did it, and a later halt is newer than it.
3. Contracts are held beside that, each until it is resumed itself; a resume of everything opens none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Halt:
    """The latch's state; `at_ns` is Unix time of the last change."""

    is_holding: bool
    reason: str = ""
    who: str = ""
    at_ns: int = 0
    contracts: Mapping[int, str] = field(default_factory=dict)
    """Contracts that are held by themselves, and why."""

    def to_json(self) -> str:
        """Return the state for the disk."""
        return json.dumps(asdict(self), sort_keys=True)


def restored(text: str | None, *, is_sim: bool) -> Halt:
    """Return the state that the disk holds; missing or unreadable means holding, a simulation starts open."""
    if text is None:
        if is_sim:
            return Halt(is_holding=False, reason="first start of a simulation")
        return Halt(is_holding=True, reason="first start: nobody has resumed yet", who="guard")
    try:
        values = json.loads(text)
        contracts = {int(con_id): str(why) for con_id, why in dict(values.get("contracts", {})).items()}
        return Halt(
            bool(values["is_holding"]), str(values["reason"]), str(values["who"]), int(values["at_ns"]), contracts
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Halt(is_holding=True, reason="the guard's halt file is unreadable", who="guard")


def halted(now: Halt, *, reason: str, who: str, at_ns: int) -> Halt:
    """Return the state after a halt; one that holds already keeps its reason."""
    return now if now.is_holding else replace(now, is_holding=True, reason=reason, who=who, at_ns=at_ns)


def resumed(now: Halt, *, reason: str, who: str, at_ns: int) -> Halt:
    """Return the state after a resume."""
    return replace(now, is_holding=False, reason=reason, who=who, at_ns=at_ns) if now.is_holding else now


def contract_halted(now: Halt, con_id: int, *, reason: str, who: str) -> Halt:
    """Return the state after a halt of one contract; one that is held already keeps its reason."""
    return now if con_id in now.contracts else replace(now, contracts={**now.contracts, con_id: f"{who}: {reason}"})


def contract_resumed(now: Halt, con_id: int) -> Halt:
    """Return the state after a resume of one contract."""
    return replace(now, contracts={held: why for held, why in now.contracts.items() if held != con_id})

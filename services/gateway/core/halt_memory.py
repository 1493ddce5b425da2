"""Decide from two memories, Redis and the gateway's own disk, whether trading is halted (P6, architecture §4).

Invariants:
1. A halt that is newer than the last resume holds, whichever memory kept it.
2. Where Redis has nothing, or shows less than this gateway has seen before, paper and live are halted; a simulation
   begins open unless a halt is known.
3. What the disk cannot tell (missing, damaged) never opens anything; damaged counts as halted.
4. Halts and pauses of a strategy or a contract go with the later word of the two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from shared.bus.latches import latches_in
from shared.messages.control import HaltStage


@dataclass(frozen=True, slots=True)
class HaltMemory:
    """What is known of the halt: `at_ns` is the wall time of its last change, `epoch` the highest one ever seen."""

    is_halted: bool
    control_id: str = ""
    who: str = ""
    reason: str = ""
    everything: bool = False
    at_ns: int = 0
    epoch: int = 0
    latches: Mapping[str, str] | None = None
    """What is halted or paused beside the account, by fields of the `halt` hash (`shared/bus/latches.py`); None where
    that was not told: by a guard, or in the file of an older release."""

    def to_json(self) -> str:
        """Return it for the disk."""
        return json.dumps(asdict(self), sort_keys=True)


DAMAGED = HaltMemory(is_halted=True, who="gateway", reason="the gateway's halt file is damaged: look at the account")


def memory_of(text: str) -> HaltMemory:
    """Return what the disk holds; damaged content counts as halted, and as older than any resume to come."""
    try:
        values = json.loads(text)
        latches = values.get("latches")
        return HaltMemory(
            is_halted=bool(values["is_halted"]),
            control_id=str(values["control_id"]),
            who=str(values["who"]),
            reason=str(values["reason"]),
            everything=bool(values["everything"]),
            at_ns=int(values["at_ns"]),
            epoch=int(values["epoch"]),
            latches=None if latches is None else {str(name): str(said) for name, said in dict(latches).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return DAMAGED


def stored_memory(stored: Mapping[str, str], at_ns: int) -> HaltMemory | None:
    """Return what the `halt` hash says, None where it says nothing; `at_ns` is its `ts`."""
    stage = stored.get("stage", "")
    if stage not in tuple(HaltStage):
        return None
    return HaltMemory(
        is_halted=HaltStage(stage) is not HaltStage.NONE,
        control_id=stored.get("control_id", ""),
        who=stored.get("who", ""),
        reason=stored.get("reason", ""),
        everything=stored.get("everything") == "1",
        at_ns=at_ns,
        latches=latches_in(stored),
    )


def newer(known: HaltMemory | None, found: HaltMemory) -> HaltMemory:
    """Return what to keep: the later word, and the highest epoch of both."""
    if known is None:
        return found
    later, other = (found, known) if found.at_ns >= known.at_ns else (known, found)
    latches = other.latches if later.latches is None else later.latches
    return replace(later, epoch=max(known.epoch, found.epoch), latches=latches)


NEVER_STORED = "no halt state was ever stored: look at the account, then resume"
"""Why a new paper or live deployment is halted."""
LOST = "Redis has lost the halt state that this gateway knows: look at the account, then resume"


def recalled(stored: HaltMemory | None, disk: HaltMemory | None, *, is_sim: bool, redis_epoch: int) -> HaltMemory:
    """Return the state a new leader begins with.

    Args:
        stored: what Redis says, None where it says nothing.
        disk: what this gateway's disk says, None at its first start.
        is_sim: a simulation may begin open.
        redis_epoch: the highest epoch Redis knew before ours; lower than the disk's means that Redis lost some.
    """
    if stored is None:
        if disk is not None and disk.is_halted:
            return disk
        if is_sim:
            return HaltMemory(is_halted=False)
        return HaltMemory(is_halted=True, who="gateway", reason=NEVER_STORED if disk is None else LOST)
    if stored.is_halted or disk is None:
        return stored
    if disk.is_halted and disk.at_ns > stored.at_ns:
        return disk
    if not is_sim and redis_epoch < disk.epoch:
        return HaltMemory(
            is_halted=True, who="gateway",
            reason="Redis shows less than this gateway has seen before: look at the account, then resume",
        )  # fmt: skip
    return stored


def recalled_latches(stored: HaltMemory | None, disk: HaltMemory | None) -> Mapping[str, str]:
    """Return the halts and pauses of strategies and contracts that a new leader begins with."""
    told = [one for one in (stored, disk) if one is not None and one.latches is not None]
    later = max(told, key=lambda one: one.at_ns, default=None)
    return {} if later is None or later.latches is None else later.latches

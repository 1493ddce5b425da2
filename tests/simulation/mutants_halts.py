"""Break halts on purpose: of the account, and of a strategy or a contract by itself (`mutants.py` has the rest)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from services.gateway.core.order_machine import OrderTrack
from services.gateway.shell.halt import HaltDesk
from services.gateway.shell.latches import LatchDesk
from shared.bus.ports import ClaimRequest, ClaimResult
from shared.messages.control import HaltStage
from tests.simulation.breaking import Patches, mutant
from tests.simulation.redis_model import NodeBus
from tests.simulation.run import Run

FOCUS_OF_HALTS: dict[str, dict[str, float]] = {
    "halt_acknowledged_at_redis": {"halt": 0.45, "guard_pause": 0.6},
    "part_halt_unknown_to_claims": {"part_halt": 0.9, "wire_reset": 0.9, "cut_off": 0.45},
    "part_halt_said_at_once": {"part_halt": 1.2, "guard_pause": 0.9},
    "part_halt_cancels_nothing": {"part_halt": 0.9},
}
"""Their runs have these faults instead of drawn ones."""


@mutant
def halt_acknowledged_at_redis(_: Run, patches: Patches) -> None:
    """A halt is said to hold as soon as Redis knows of it."""

    async def halt(self: HaltDesk, control_id: str, who: str, reason: str, *, everything: bool = False) -> None:
        self._control_id, self._who, self._reason = control_id, who, reason
        self._everything = everything
        self.stage = HaltStage.HOLDING
        await self._store()
        self._cancel_ns = 0
        self._show()

    patches.put(HaltDesk, "halt", halt)


@mutant
def part_halt_unknown_to_claims(_: Run, patches: Patches) -> None:
    """A claim asks whether the account is halted, and not whether the order's strategy or contract is."""
    original = NodeBus._halted

    async def _halted(self: NodeBus, request: ClaimRequest) -> ClaimResult | None:
        found = await original(self, request)
        return None if found is ClaimResult.REFUSED_SCOPE_HALTED else found

    patches.put(NodeBus, "_halted", _halted)


@mutant
def part_halt_said_at_once(_: Run, patches: Patches) -> None:
    """A strategy is said to be held as soon as claims refuse it, whatever is on its way."""
    patches.put(LatchDesk, "_may_still_pass", lambda _self, _name: False)


@mutant
def part_halt_cancels_nothing(_: Run, patches: Patches) -> None:
    """A halt of a strategy or a contract leaves alone what works already."""

    async def work(self: LatchDesk, _positions: Mapping[int, Decimal] | None) -> list[OrderTrack]:
        await self._see_held()
        return []

    patches.put(LatchDesk, "work", work)

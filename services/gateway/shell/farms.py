"""Publish how IB's data farms do; while standing by the outbox takes nothing, and the leader says the same."""

from __future__ import annotations

from services.gateway.core.farms import Farm
from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.messages.control import FarmStatus


class FarmDesk:
    """Takes farms whose condition changed, of the data session."""

    def __init__(self, bus: Bus, outbox: Outbox, instance: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._stream = bus.keys.broker_status
        self._outbox = outbox
        self._instance = instance
        self._clock = clock

    def show(self, farm: Farm) -> None:
        """Say how a farm does."""
        status = FarmStatus(
            ts_init_ns=self._clock.wall_ns(), instance=self._instance, farm=farm.name, kind=farm.kind,
            condition=farm.condition, code=farm.code, text=farm.text,
        )  # fmt: skip
        self._outbox.put(self._stream, status)

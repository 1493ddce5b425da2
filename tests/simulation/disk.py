"""Keep what guard and gateways write to their disks: it outlives every crash of theirs."""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.core.halt_memory import HaltMemory, memory_of
from services.gateway.shell.halt_file import HaltFile
from shared.tws.hello import TradingClaim


@dataclass
class Disk:
    """The disk of one machine."""

    claim: TradingClaim | None = None
    """The guard's highest claim."""
    halt: str | None = None
    """The guard's latch."""
    gateways: str | None = None
    """The halt as the gateways keep it, in one directory of theirs."""


class SimHaltFile(HaltFile):
    """A gateway's file of the halt."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._known = self.load()

    def load(self) -> HaltMemory | None:
        """Return what is kept."""
        return None if self._disk.gateways is None else memory_of(self._disk.gateways)

    def _write(self, text: str) -> None:
        self._disk.gateways = text

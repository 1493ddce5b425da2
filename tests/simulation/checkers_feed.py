"""Judge prices: a leader's begin with a marker for each contract, and none of them is from before it led.

A standby that subscribes in silence knows prices of the time when another led. What it says of them when its turn comes
is how things are at that moment, as a snapshot; nothing else of that time may follow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.bus.ports import Entry
from shared.messages.market import TickKind, unpack_ticks
from tests.simulation.checkers import Checker


@dataclass
class FeedIsTheLeaders(Checker):
    """Ticks: after the marker of an epoch a contract's prices are the leader's own, and of its own time."""

    promise = "ticks"
    has_steady_clocks: bool = True
    """Whether wall clocks do not jump in this run: a tick carries the wall time of the gateway that received it."""
    markers: int = 0
    _began_ns: dict[int, int] = field(default_factory=dict)
    _begun: set[tuple[int, int, int]] = field(default_factory=set)

    def acquired(self, epoch: int, wall_ns: int) -> None:
        """Note when an epoch began, on the wall clock of who leads in it."""
        self._began_ns.setdefault(epoch, wall_ns)

    def added(self, life: int, entry: Entry) -> None:
        """Judge a batch of ticks; one without an epoch is the run's own."""
        text = entry.fields.get(b"epoch", b"")
        if not text.isdigit():
            return
        epoch = int(text)
        for tick in unpack_ticks(entry.fields[b"body"]):
            key = (life, epoch, tick.con_id)
            if tick.kind == TickKind.MARKER:
                self.markers += 1
                self._begun.add(key)
            elif key not in self._begun:
                self.fail(f"contract {tick.con_id}: the ticks of epoch {epoch} begin without a marker")
            if self.has_steady_clocks and tick.ts_event_ns < self._began_ns.get(epoch, 0):
                self.fail(f"contract {tick.con_id}: a tick of before epoch {epoch} is published in it")

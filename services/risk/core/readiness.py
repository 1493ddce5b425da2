"""Know whether the gateway's leader has reconciled in the present incarnation; before it nothing is approved.

And whether a live deployment may open positions at all: what is missing for that stands in `unprepared`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.messages.control import BrokerStatus, LinkState, Reconciled


class Readiness:
    """What the gateways said last. `epoch` is the highest gateway epoch seen on any of its streams."""

    __slots__ = (
        "_unprepared", "_unsafe", "epoch", "leader", "reconciled_epoch", "reconciled_in", "settled_in", "state",
        "was_reconciled",
    )  # fmt: skip

    def __init__(self) -> None:
        self.epoch = 0
        self.leader = ""
        self.state: LinkState | None = None
        self.reconciled_epoch = 0
        self.reconciled_in = ""
        self.was_reconciled = False
        self._unsafe = ""
        self._unprepared: tuple[str, ...] = ()
        self.settled_in = ""
        """The incarnation in which there is no `complaint` and nothing missing, else "": what decisions ask first."""

    @property
    def unprepared(self) -> tuple[str, ...]:
        """What stands between a live deployment and its first entry, a sentence each (P8); not of any stream."""
        return self._unprepared

    @unprepared.setter
    def unprepared(self, what: tuple[str, ...]) -> None:
        self._unprepared = what
        self._note()

    @property
    def unsafe(self) -> str:
        """An entry that could have been an order or a fill and could not be read; ends with the next reconciliation."""
        return self._unsafe

    @unsafe.setter
    def unsafe(self, what: str) -> None:
        self._unsafe = what
        self._note()

    def stored(self) -> dict[str, object]:
        """Return what the gateways said last, for a snapshot."""
        return {
            "epoch": self.epoch,
            "leader": self.leader,
            "state": self.state,
            "reconciled_epoch": self.reconciled_epoch,
            "reconciled_in": self.reconciled_in,
            "was_reconciled": self.was_reconciled,
            "unsafe": self._unsafe,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot."""
        self.epoch, self.leader = stored["epoch"], stored["leader"]
        self.state = None if stored["state"] is None else LinkState(stored["state"])
        self.reconciled_epoch, self.reconciled_in = stored["reconciled_epoch"], stored["reconciled_in"]
        self.was_reconciled, self._unsafe = stored["was_reconciled"], stored["unsafe"]
        self._note()

    def _note(self) -> None:
        is_settled = not self._unprepared and self.complaint(self.reconciled_in) is None
        self.settled_in = self.reconciled_in if is_settled else ""

    def saw_epoch(self, epoch: int) -> None:
        """Note the epoch of an entry a gateway leader published."""
        if epoch > self.epoch:
            self.epoch = epoch
            self.state = None
            self._note()

    def apply_status(self, status: BrokerStatus) -> None:
        """Take a gateway's link state; only the leader's counts."""
        if not status.is_leader:
            if status.instance == self.leader:
                self.leader, self.state = "", status.state
                self._note()
            return
        self.saw_epoch(status.epoch)
        if status.epoch == self.epoch:
            self.leader, self.state = status.instance, status.state
        self._note()

    def apply_reconciled(self, message: Reconciled) -> None:
        """Take the announcement of a leader."""
        self.saw_epoch(message.epoch)
        if message.epoch == self.epoch:
            self.reconciled_epoch = message.epoch
            self.reconciled_in = message.incarnation
            self.was_reconciled = True
            self.unsafe = ""

    def complaint(self, incarnation: str) -> str | None:
        """Return why nothing may be approved now, None if all is well."""
        if self._unsafe:
            return f"{self._unsafe} could not be read: waiting for the gateway to reconcile again"
        if not self.epoch:
            return "no gateway has announced itself yet"
        if self.reconciled_epoch != self.epoch:
            return f"the gateway's leader of epoch {self.epoch} has not reconciled with the broker yet"
        if self.reconciled_in != incarnation:
            return "the gateway has not reconciled since the order-flow Redis changed"
        if self.state is not None and self.state is not LinkState.READY:
            return f"the gateway's link to the broker is {self.state}"
        return None

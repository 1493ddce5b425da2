"""Latch halts, pauses and the daily loss: what stops new exposure until a person says otherwise (P6).

Two latches make a halt: the operator's word on `control`, which counts at once, and the stage the gateway and the guard
confirm. Resuming needs both gone. Where the stage is not known, the state is halted.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.messages.control import Control, ControlAction, HaltStage
from shared.money import ZERO


class Breakers:
    """What is stopped, and why; each reason is one sentence."""

    __slots__ = (
        "_lowest_pnl", "_paused", "_paused_shown", "_requested", "_scoped", "_stage", "_stage_reason", "is_calm",
        "loss",
    )  # fmt: skip

    def __init__(self) -> None:
        self._stage = ""
        self._stage_reason = ""
        self._requested = ""
        self._scoped: dict[str, str] = {}
        self._paused: dict[str, str] = {}
        self._paused_shown: dict[str, str] = {}
        self.loss = ""
        """The sentence of the tripped daily loss, "" while it has not tripped."""
        self._lowest_pnl = ZERO
        self.is_calm = False
        """No halt of any scope, no pause and no loss: what nearly every decision asks first."""

    def apply(self, control: Control) -> None:
        """Take an act of control, in the stream's order."""
        reason = f"{control.who}: {control.reason or 'no reason given'}"
        kind, _, name = control.scope.partition(":")
        if control.action is ControlAction.HALT and control.scope == "account":
            self._requested = reason
        elif control.action is ControlAction.RESUME and control.scope == "account":
            self._requested = self.loss = ""
            self._lowest_pnl = ZERO
        elif control.action is ControlAction.HALT:
            self._scoped[control.scope] = reason
        elif control.action is ControlAction.RESUME:
            self._scoped.pop(control.scope, None)
        elif control.action is ControlAction.PAUSE_STRATEGY:
            self._paused[name or kind] = reason
        elif control.action is ControlAction.RESUME_STRATEGY:
            self._paused.pop(name or kind, None)
            self._paused_shown.pop(name or kind, None)
        self._note()

    def set_stage(self, stage: str, reason: str) -> None:
        """Take the stage that the gateway shows; "" when it is missing."""
        self._stage = stage
        self._stage_reason = reason
        self._note()

    def set_paused(self, paused: Mapping[str, str]) -> None:
        """Take the pauses that are written in the snapshot hash."""
        self._paused_shown = dict(paused)
        self._note()

    def stored(self) -> dict[str, object]:
        """Return what was latched by the stream of control and by losses, for a snapshot."""
        return {
            "requested": self._requested,
            "scoped": dict(self._scoped),
            "paused": dict(self._paused),
            "loss": self.loss,
            "lowest_pnl": str(self._lowest_pnl),
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot; the confirmed stage is read from its hash."""
        self._requested = stored["requested"]
        self._scoped = dict(stored["scoped"])
        self._paused = dict(stored["paused"])
        self.loss = stored["loss"]
        self._lowest_pnl = Decimal(stored["lowest_pnl"])
        self._note()

    def _note(self) -> None:
        is_halted = bool(self._requested or self._scoped or self._stage != HaltStage.NONE)
        self.is_calm = not (is_halted or self._paused or self._paused_shown or self.loss)

    def note_pnl(self, daily: Decimal | None) -> None:
        """Take the broker's profit and loss of the day; the lowest since the last resume counts."""
        if daily is not None and daily < self._lowest_pnl:
            self._lowest_pnl = daily

    def check_loss(self, limit: Decimal | None) -> None:
        """Latch when the account lost more in a day than the limit; only a resume by a person ends it."""
        if limit is not None and -self._lowest_pnl > limit and not self.loss:
            self.loss = f"the account lost {-self._lowest_pnl} in a day"
            self._note()

    def halted(self, con_id: int, strategy: str) -> str | None:
        """Return why new exposure in a contract by a strategy is halted, None if it is not."""
        if self._requested:
            return f"halted by {self._requested}"
        if not self._stage:
            return "the halt state is not known, which counts as halted: cq resume"
        if self._stage != HaltStage.NONE:
            return f"halted ({self._stage}): {self._stage_reason or 'no reason given'}"
        if self._scoped:
            for scope in (f"contract:{con_id}", f"strategy:{strategy}"):
                if scope in self._scoped:
                    return f"{scope} halted by {self._scoped[scope]}"
        return None

    def paused(self, strategy: str) -> str | None:
        """Return why a strategy is paused, None if it is not."""
        return self._paused.get(strategy) or self._paused_shown.get(strategy)

"""Latch halts, pauses and tripped breakers: what stops new exposure until a person says otherwise (P6).

Two latches make a halt: the operator's word on `control`, which counts at once, and the stage the gateway and the guard
confirm. Resuming needs both gone. Where the stage is not known, the state is halted.

A breaker trips by itself and stays tripped until `cq resume` (of the account, or of its strategy). Its rung says what
follows, each with what those before it do: "warn" only says so; "no_entries" refuses orders that open, while those that
work may still be changed where nothing is added; "reduce_only" lets reductions pass only; "cancel_entries" cancels the
working orders that add exposure; "halt" asks for a halt of the whole account, which the gateway and the guard hold;
"flatten" closes what the strategy owns (of an account's breaker: what all own, halted). Losses, drawdowns,
rejections, errors, odd executions, liquidations and missing stops have rungs: lost heartbeats, stale data and books
that do not add up go no further than reduce-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from decimal import Decimal
from typing import Any

from shared.messages.control import Control, ControlAction, HaltStage
from shared.money import ZERO


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker that tripped: its sentence, the limit it went over, and its rung.

    `after` is the last resume before it: with the name it tells one occurrence from the next of the same day.
    """

    text: str
    limit: str
    measured: str
    rung: str
    after: str = ""


@dataclass(frozen=True, slots=True)
class Flatten:
    """A request to close what strategies own; it stands until a resume of its scope or of the account."""

    control_id: str
    scope: str
    who: str
    reason: str


class Breakers:
    """What is stopped, and why; each reason is one sentence."""

    __slots__ = (
        "_accepted", "_day_start_ns", "_lowest_pnl", "_own", "_own_accepted", "_own_day_ns", "_own_lowest", "_paused",
        "_paused_shown", "_peak_pnl", "_pnl", "_requested", "_resumed",
        "_scoped", "_stage", "_stage_reason", "flattens", "is_calm", "pnl_seen_for", "trips",
    )  # fmt: skip

    def __init__(self) -> None:
        self._stage = ""
        self._stage_reason = ""
        self._requested = ""
        self._resumed = ""
        """The last act by which a person let go on: what trips from then on is a new occurrence."""
        self._scoped: dict[str, str] = {}
        self._paused: dict[str, str] = {}
        self._paused_shown: dict[str, str] = {}
        self.flattens: list[Flatten] = []
        self.trips: dict[str, Trip] = {}
        """What tripped, by `name` (of the account) or `name:strategy`."""
        self._accepted = ZERO
        self._lowest_pnl = ZERO
        self._peak_pnl = ZERO
        self._pnl = ZERO
        self._day_start_ns = 0
        self._own = self._own_lowest = self._own_accepted = ZERO
        self._own_day_ns = 0
        self.pnl_seen_for: object = None
        """The limits that the present profit was compared with; None when there is a new figure."""
        self.is_calm = False
        """No halt of any scope, no pause and nothing tripped: what nearly every decision asks first."""

    def apply(self, control: Control) -> None:
        """Take an act of control, in the stream's order."""
        reason = f"{control.who}: {control.reason or 'no reason given'}"
        kind, _, name = control.scope.partition(":")
        if control.action in (ControlAction.RESUME, ControlAction.RESUME_STRATEGY):
            self._resumed = control.control_id
        if control.action is ControlAction.HALT and control.scope == "account":
            self._requested = reason
        elif control.action is ControlAction.RESUME and control.scope == "account":
            self._requested = ""
            self.flattens = []
            self.trips = {}
            self.pnl_seen_for = None
            self._accepted = self._lowest_pnl = min(ZERO, self._pnl)  # who resumes knows what was lost till now
            self._peak_pnl = self._pnl
            self._own_accepted = self._own_lowest = min(ZERO, self._own)
        elif control.action is ControlAction.FLATTEN:
            self._flatten(control, reason)
        elif control.action is ControlAction.HALT:
            self._scoped[control.scope] = reason
        elif control.action is ControlAction.RESUME:
            self._scoped.pop(control.scope, None)
            self.flattens = [one for one in self.flattens if one.scope != control.scope]
            self._end_trips(name)
        elif control.action is ControlAction.PAUSE_STRATEGY:
            self._paused[name or kind] = reason
        elif control.action is ControlAction.RESUME_STRATEGY:
            self._paused.pop(name or kind, None)
            self._paused_shown.pop(name or kind, None)
            self._end_trips(name or kind)
        self._note()

    def apply_unreadable(self, entry_id: str) -> None:
        """Take an entry of control that does not decode for a halt till a person resumes, as the gateway does (P10)."""
        self._requested = f"entry {entry_id} of control, which could not be read and might have been a halt"
        self._note()

    def _flatten(self, control: Control, reason: str) -> None:
        if control.scope == "account":
            self._requested = reason
        else:
            self._scoped[control.scope] = reason
        if all(one.scope != control.scope for one in self.flattens):
            self.flattens.append(Flatten(control.control_id, control.scope, control.who, control.reason))

    def _end_trips(self, strategy: str) -> None:
        self.trips = {name: trip for name, trip in self.trips.items() if name.partition(":")[2] != strategy}

    def set_stage(self, stage: str, reason: str) -> None:
        """Take the stage that the gateway shows; "" when it is missing."""
        self._stage = stage
        self._stage_reason = reason
        self._note()

    def set_paused(self, paused: Mapping[str, str]) -> None:
        """Take the pauses that are written in the snapshot hash."""
        self._paused_shown = dict(paused)
        self._note()

    def trip(self, name: str, trip: Trip) -> None:
        """Latch a breaker; the first time counts."""
        if name not in self.trips:
            self.trips[name] = replace(trip, after=self._resumed)
            self._note()

    # -- profit and loss of the account

    def note_pnl(self, daily: Decimal | None, day_start_ns: int) -> None:
        """Take the broker's profit and loss of the day; the lowest since the last resume counts, and the way down.

        Args:
            daily: the broker's figure; it begins anew at the broker's own time, which `trading_day` should be.
            day_start_ns: when the trading day of the report began: an earlier day's peak is forgotten.
        """
        if daily is None:
            return
        if day_start_ns > self._day_start_ns:
            self._day_start_ns = day_start_ns
            self._accepted = self._lowest_pnl = self._peak_pnl = ZERO
        self._pnl = daily
        self.pnl_seen_for = None
        self._lowest_pnl = min(self._lowest_pnl, daily)
        self._peak_pnl = max(self._peak_pnl, daily)

    def note_own(self, daily: Decimal, day_start_ns: int) -> None:
        """Take our own figure of the day's profit and loss, from executions and commissions; as `note_pnl`."""
        if day_start_ns > self._own_day_ns:
            self._own_day_ns = day_start_ns
            self._own_lowest = self._own_accepted = ZERO
        self._own = daily
        if daily < self._own_lowest:
            self._own_lowest = daily
            self.pnl_seen_for = None

    @property
    def lost(self) -> Decimal:
        """Return the most that the account lost in a day, beyond what a person accepted by resuming.

        The worse of the broker's figure and of ours: the broker's may be late or missing, ours does not know what the
        account held before.
        """
        return max(self._accepted - self._lowest_pnl, self._own_accepted - self._own_lowest)

    @property
    def drawdown(self) -> Decimal:
        """Return how far the account's profit of the day fell from its peak."""
        return self._peak_pnl - self._pnl

    # -- what a snapshot keeps

    def stored(self) -> dict[str, object]:
        """Return what was latched by the stream of control and by breakers, for a snapshot."""
        return {
            "requested": self._requested,
            "scoped": dict(self._scoped),
            "paused": dict(self._paused),
            "flattens": [[one.control_id, one.scope, one.who, one.reason] for one in self.flattens],
            "resumed": self._resumed,
            "trips": {name: list(astuple(one)) for name, one in self.trips.items()},
            "pnl": [str(one) for one in (self._accepted, self._lowest_pnl, self._peak_pnl, self._pnl)],
            "day_start_ns": self._day_start_ns,
            "own": [str(one) for one in (self._own_accepted, self._own_lowest, self._own)],
            "own_day_ns": self._own_day_ns,
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take `stored` of a snapshot; the confirmed stage is read from its hash."""
        self._requested = stored["requested"]
        self._resumed = stored.get("resumed", "")
        self._scoped = dict(stored["scoped"])
        self._paused = dict(stored["paused"])
        self.flattens = [Flatten(*row) for row in stored.get("flattens", [])]
        self.trips = {name: Trip(*row) for name, row in stored["trips"].items()}
        self._accepted, self._lowest_pnl, self._peak_pnl, self._pnl = [Decimal(one) for one in stored["pnl"]]
        self._day_start_ns = stored["day_start_ns"]
        own = stored.get("own", ["0", "0", "0"])
        self._own_accepted, self._own_lowest, self._own = [Decimal(one) for one in own]
        self._own_day_ns = stored.get("own_day_ns", 0)
        self._note()

    def _note(self) -> None:
        is_halted = bool(self._requested or self._scoped or self._stage != HaltStage.NONE)
        self.is_calm = not (is_halted or self._paused or self._paused_shown or self.trips)

    # -- what rules ask

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

    @property
    def scopes(self) -> list[str]:
        """Return what is halted by itself: `strategy:<name>`, `contract:<conId>`."""
        return list(self._scoped)

    def paused(self, strategy: str) -> str | None:
        """Return why a strategy is paused, None if it is not."""
        return self._paused.get(strategy) or self._paused_shown.get(strategy)

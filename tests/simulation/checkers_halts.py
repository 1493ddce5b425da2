"""Judge halts and pauses (P6): of the account, and of a strategy or a contract by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.bus.latches import HALT, PAUSE
from shared.ids import parse_order_ref
from shared.messages.control import HaltStage
from shared.messages.orders import Command, IntentAction
from tests.simulation.broker_records import SimOrder
from tests.simulation.checkers import Checker
from tests.simulation.kernel import NS


@dataclass
class HaltHolds(Checker):
    """P6: once a halt is acknowledged, nothing that adds exposure leaves until a person resumes."""

    promise = "P6"
    reducing: set[str] = field(default_factory=set)
    _since: int = 0
    _wanted: list[str] = field(default_factory=list)

    def asked(self, action: str) -> None:
        """Note that the bus has a halt or resume."""
        if action == "resume":
            self._since = 0
            self._wanted.clear()
        elif action == "halt":
            self._wanted.append(action)

    def acknowledged(self, stage: str) -> None:
        """Note the stage that the operator is shown."""
        if stage in ("holding", "clean") and self._wanted and not self._since:
            self._since = self.now()

    def left(self, ref: str, *, what_if: bool) -> None:
        """Judge an order that leaves for the broker (past the guard, where there is one)."""
        if self._since and not what_if and ref[:32] not in self.reducing:
            self.fail(f"{ref} left after the halt was acknowledged at {self._since / NS - 1000:.4f}")


@dataclass
class PartsHold(Checker):
    """P6: once a strategy or a contract is said to be held, nothing of it that adds exposure leaves until its resume.

    What a halt of it found working is cancelled, too. A latch is named as in the `halt` hash (`shared/bus/latches.py`).
    """

    promise = "P6"
    _wanted: dict[str, None] = field(default_factory=dict)
    _since: dict[str, int] = field(default_factory=dict)
    _strategies: dict[str, str] = field(default_factory=dict)
    """Intent → whose it is."""
    _reducing: set[str] = field(default_factory=set)
    """Intents that reduce, and those that a change which reduces is about."""

    def command(self, command: Command) -> None:
        """Note whose order risk approved, and whether it reduces."""
        intent = command.intent
        self._strategies[intent.intent_id] = intent.strategy
        if command.is_reducing:
            self._reducing.add(intent.modifies if intent.action is IntentAction.MODIFY else intent.intent_id)

    def asked(self, latch: str, *, is_set: bool) -> None:
        """Note that the bus has an act that sets or opens a latch."""
        if is_set:
            self._wanted[latch] = None
        else:
            self._wanted.pop(latch, None)
            self._since.pop(latch, None)

    def acknowledged(self, shown: Mapping[str, object]) -> None:
        """Note what the operator is shown in the `halt` hash."""
        for latch in self._wanted:
            if str(shown.get(latch, "")).startswith(HaltStage.HOLDING):
                self._since.setdefault(latch, self.now())

    def _held(self, ref: str, con_id: int, latches: Mapping[str, int]) -> str:
        """Return the latch that an order of ours is under, nothing if none; what reduces is under none."""
        intent_id = (parse_order_ref(ref) or ("", "", 0))[1]
        strategy = self._strategies.get(intent_id)
        if strategy is None or intent_id in self._reducing:
            return ""
        names = (f"{kind}{scope}" for kind in (HALT, PAUSE) for scope in (f"strategy:{strategy}", f"contract:{con_id}"))
        return next((name for name in names if name in latches), "")

    def left(self, ref: str, con_id: int, *, what_if: bool) -> None:
        """Judge an order that leaves for the broker (past the guard, where there is one)."""
        latch = "" if what_if else self._held(ref, con_id, self._since)
        if latch:
            self.fail(f"{ref} left after {latch} was acknowledged at {self._since[latch] / NS - 1000:.4f}")

    def still_working(self, orders: list[SimOrder]) -> str:
        """Return an order that a halt should have ended, nothing if there is none; a bracket's exits stay."""
        halts = {latch: since for latch, since in self._since.items() if latch.startswith(HALT)}
        for order in orders:
            if order.is_active and order.is_transmitted and not order.terms.parent_id:
                latch = self._held(order.ref, order.con_id, halts)
                if latch:
                    return f"{order.ref} works, and {latch} stands"
        return ""

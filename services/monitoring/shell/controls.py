"""Turn an operator's request into a `Control` entry: the act and its audit are one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.bus.ports import Bus
from shared.clock import Clock, random_token
from shared.errors import BadInput
from shared.messages.control import Control, ControlAction

ACTIONS = {
    "halt": ControlAction.HALT,
    "resume": ControlAction.RESUME,
    "pause": ControlAction.PAUSE_STRATEGY,
    "unpause": ControlAction.RESUME_STRATEGY,
    "handover": ControlAction.HANDOVER,
}
_FOR_STRATEGIES = (ControlAction.PAUSE_STRATEGY, ControlAction.RESUME_STRATEGY)
_RESUMES = (ControlAction.RESUME, ControlAction.RESUME_STRATEGY)
_MAX_TEXT = 500


class Controls:
    """Writes controls for people at the page.

    Args:
        resume_word: returns what a person types to resume everything; a click alone resumes nothing.
    """

    def __init__(self, bus: Bus, *, source: str, clock: Clock, resume_word: Callable[[], str]) -> None:
        self._bus = bus
        self._resume_word = resume_word
        self._source = source
        self._clock = clock

    async def give(self, name: str, asked: dict[str, Any]) -> Control:
        """Append the control and return it.

        Raises:
            BadInput: unknown action, a strategy, reason or confirmation that is missing, or texts that are none.
            BusUnavailable: Redis is away; nothing was written.
        """
        action = ACTIONS.get(name)
        if action is None:
            raise BadInput(f"{name!r} is no control: choose from {', '.join(ACTIONS)}")
        reason, strategy = asked.get("reason", ""), asked.get("strategy", "")
        if not isinstance(reason, str) or not isinstance(strategy, str):
            raise BadInput("reason and strategy are texts")
        if len(reason) > _MAX_TEXT or len(strategy) > _MAX_TEXT:
            raise BadInput(f"reason and strategy are at most {_MAX_TEXT} characters")
        if action in _FOR_STRATEGIES and not strategy:
            raise BadInput(f"{name} needs a strategy")
        if action in _RESUMES and not reason.strip():
            raise BadInput(f"{name} needs a reason")
        if action is ControlAction.RESUME and asked.get("confirm") != self._resume_word():
            raise BadInput(f"type {self._resume_word()} to trade again: still halted")
        control = Control(
            control_id=random_token(),
            action=action,
            scope=f"strategy:{strategy}" if action in _FOR_STRATEGIES else "account",
            who="web",
            reason=reason,
            everything=action is ControlAction.HALT and asked.get("everything") is True,
            ts_init_ns=self._clock.wall_ns(),
        )
        await self._bus.append(self._bus.keys.control, control, source=self._source)
        return control

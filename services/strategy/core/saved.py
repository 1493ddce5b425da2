"""What a unit saves, what it is told about itself, and what it calls in a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from services.strategy.core.book import BookState
from services.strategy.core.events import Bar, FillEvent, Gap, OrderUpdate, Quote, Timer, Trade
from shared.errors import BadInput
from shared.messages.orders import CancelRequest, Intent


class StateMisfit(BadInput):
    """The saved state does not fit the strategy's `State` any more; `field` of `model` is the first that does not."""

    def __init__(self, unit: str, model: type[Any], field_name: str, reason: str) -> None:
        super().__init__(
            f"the saved state of {unit} does not fit {model.__qualname__} any more at {field_name!r} ({reason})"
        )
        self.unit = unit
        self.model = model
        self.field = field_name


class HandlerBlocked(BaseException):
    """Raised into a handler that runs too long; no `except Exception` of a strategy swallows it."""


class Handlers(Protocol):
    """What a unit calls; `services.strategy.api.Strategy` has all of them."""

    state: Any

    def on_start(self) -> None: ...  # noqa: D102
    def on_quote(self, quote: Quote) -> None: ...  # noqa: D102
    def on_trade(self, trade: Trade) -> None: ...  # noqa: D102
    def on_bar(self, bar: Bar) -> None: ...  # noqa: D102
    def on_order(self, update: OrderUpdate) -> None: ...  # noqa: D102
    def on_fill(self, fill: FillEvent) -> None: ...  # noqa: D102
    def on_timer(self, timer: Timer) -> None: ...  # noqa: D102
    def on_gap(self, gap: Gap) -> None: ...  # noqa: D102
    def on_stop(self) -> None: ...  # noqa: D102


class Marks(Protocol):
    """Shows to others which handler runs."""

    def begin(self, unit: str, event: str) -> None: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102


class SavedUnit(BaseModel):
    """The saved part of a unit beside cursors and timers; added to, never changed (release N reads N-1)."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    user: dict[str, Any] = {}
    book: BookState = BookState()
    pending: dict[str, str] = {}
    """Intents risk has not answered, as JSON: encoded once, whatever the number of commits."""
    gaps: list[tuple[str, str, str]] = []
    paused: str = ""
    errors: int = 0
    error_times_ns: list[int] = []
    is_started: bool = False
    began: dict[str, str] = {}
    began_ns: int = 0
    """Where and when the unit began: a replay of a recording begins it there again."""
    fresh: str = ""
    """The wish of a person to begin with an empty state that was met last."""
    horizons: dict[str, int] = {}
    """`conId:bar size` → opening time of the newest bar that `self.history` shows."""


class SavedTimers(BaseModel):
    """Timers by name: when due, and every how many nanoseconds (0: once)."""

    due: dict[str, tuple[int, int]] = {}


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything of one commit; the shell turns it into the port's `UnitCommit`."""

    number: int
    state: bytes
    timers: bytes
    cursors: Mapping[str, str]
    intents: tuple[Intent, ...]
    cancels: tuple[CancelRequest, ...]
    past: bytes | None
    """What is over (ended orders, executions), if it changed since the last commit; it is most of a state."""


@dataclass(frozen=True, slots=True)
class HandlerError:
    """An error of user code: what was raised, where, and in which event."""

    event: str
    where: str
    error: str
    event_id: str = ""
    """The entry that caused it, or `at-<wall ns>` where none did."""
    at_ns: int = 0

    def __str__(self) -> str:
        """Return one sentence."""
        return f"{self.event} raised {self.error} at {self.where}"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a unit commits, repeats and pauses."""

    commit_every_s: float = 1.0
    resend_s: float = 2.0
    max_errors: int = 5


@dataclass(slots=True)
class Watched:
    """Which handler runs now; the watchdog thread reads it, so that a blocked one is named.

    With a `clock` (the shell's, nanoseconds) the time in each unit's handlers is summed; nothing is decided by it.
    """

    calls: int = 0
    unit: str = ""
    event: str = ""
    clock: Callable[[], int] | None = None
    mark: Marks | None = None
    """Where others see it too, from outside of the process."""
    is_debugged: bool = False
    debugged_ns: int = 0
    """How long a person has held handlers at a debugger's prompt, in sim; what they order is valid longer by it."""
    spent_ns: dict[str, int] = field(default_factory=dict)

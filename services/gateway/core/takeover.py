"""Walk from a won lease to consuming commands, one safe step at a time.

The procedure yields the next step from what is done, so that it can be begun again from the middle: a session that
breaks sends it back to connecting, never past a step that was not taken.

    fence → read streams → connect → ask (part by part) → publish → announce → consume

Invariants:
1. Nothing is published before the fence is raised; the streams are read to their end after it (architecture §4), and
   before the session opens: what the broker then says, asked or not, meets a book that knows the past.
2. CONSUME is reached only after every part of the broker's answer ended properly, in the present session. Where all of
   the day was asked for and published before, in this incarnation of the bus, completed orders are none of these parts:
   an order that only they would show counts as working until the whole day was asked for again, which comes next.
3. A lost session undoes everything that was asked of it; the fence and what was read stay.
"""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """What to do next."""

    FENCE = "fence"
    READ_STREAMS = "read_streams"
    CONNECT = "connect"
    ASK = "ask"
    PUBLISH = "publish"
    ANNOUNCE = "announce"
    CONSUME = "consume"


class Part(StrEnum):
    """The parts of the broker's answer; each ends properly or is asked again."""

    OPEN_ORDERS = "open_orders"
    COMPLETED_ORDERS = "completed_orders"
    EXECUTIONS = "executions"


class Takeover:
    """The progress of one leadership."""

    def __init__(self) -> None:
        self._is_fenced = False
        self._is_read = False
        self._is_connected = False
        self._parts: dict[Part, bool] = dict.fromkeys(Part, False)
        self._is_day_known = False
        self._is_published = False
        self._is_announced = False
        self.done_ns: dict[Step, int] = {}
        """When each step was done, on the caller's monotonic clock; a repeated one counts when it was done last."""

    def note(self, step: Step, now_ns: int) -> None:
        """Note when a step was done, for the measurement of phases only."""
        self.done_ns.pop(step, None)  # so that the order is that of the last times
        self.done_ns[step] = now_ns

    def step(self) -> Step:
        """Return the next step."""
        if not self._is_fenced:
            return Step.FENCE
        if not self._is_read:
            return Step.READ_STREAMS
        if not self._is_connected:
            return Step.CONNECT
        if self.missing_parts():
            return Step.ASK
        if not self._is_published:
            return Step.PUBLISH
        return Step.CONSUME if self._is_announced else Step.ANNOUNCE

    def missing_parts(self) -> list[Part]:
        """Return the parts still to be asked for, in order."""
        return [part for part, is_done in self._parts.items() if not is_done and self._is_waited_for(part)]

    def _is_waited_for(self, part: Part) -> bool:
        return not (self._is_day_known and part is Part.COMPLETED_ORDERS)

    def day_known(self) -> None:
        """Note that of the day only what came last can be missing on the bus; holds for the present session."""
        assert self._is_connected
        self._is_day_known = True

    def fenced(self) -> None:
        """Note that the fence stands."""
        self._is_fenced = True

    def connected(self) -> None:
        """Note a trading session that the broker accepted."""
        self._is_connected = True

    def read(self) -> None:
        """Note that the predecessors' streams were read to their end, after the fence."""
        assert self._is_fenced
        self._is_read = True

    def answered(self, part: Part) -> None:
        """Note that a part ended properly."""
        assert self._is_connected
        self._parts[part] = True

    def published(self) -> None:
        """Note that everything the bus had not got is on it."""
        assert not self.missing_parts()
        self._is_published = True

    def announced(self) -> None:
        """Note that RECONCILED was published."""
        assert self._is_published
        self._is_announced = True

    def asked_again(self) -> None:
        """Ask for everything once more (after 1101/1102, or when evidence is wanted), in the same session."""
        self._parts = dict.fromkeys(Part, False)
        self._is_published = False
        self._is_announced = False

    def disconnected(self) -> None:
        """Note that the session is gone."""
        self._is_connected = self._is_day_known = False
        self.asked_again()

    def times_ms(self, began_ns: int) -> dict[str, float]:
        """Return how long each phase took, in milliseconds, given when the lease was won."""
        times, before_ns = {}, began_ns
        for step, at_ns in self.done_ns.items():
            times[step.value] = round((at_ns - before_ns) / 1e6, 2)
            before_ns = at_ns
        return times

    @property
    def may_send(self) -> bool:
        """Return whether commands may be consumed."""
        return self.step() is Step.CONSUME

"""Run an election: watch, acquire, renew on a thread of its own, lose.

The renewal has its own thread and connection, so that a busy event loop cannot lose the lease by being slow; and it
stops when the loop has not turned for a whole lease time, so that a hung process does not keep it.

```python
elector = Elector(bus, Role.RISK, settings.instance, LeaseTiming.of_ttl(4.0))
token = await elector.win()          # waits as long as it takes
...  elector.has_lease()             # right before each act
await elector.lost()                 # returns when leadership is over
```
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from shared.bus.ports import Bus, LeaseToken, LeaseView
from shared.clock import NS_PER_S, NS_PER_US, SYSTEM_CLOCK, Clock, random_fraction
from shared.errors import Fenced, OutcomeUnknown, TransientError
from shared.leases.core import Candidate, Holder, LeaseTiming
from shared.logs import get_logger
from shared.metrics import LEASE_CHANGES, LEASE_EPOCH

QUESTION_S = 0.05
"""How often a candidate looks at the lease, at least: what a planned hand-over waits for on average is half of it."""


class Elector:
    """One process's part in the election of one role.

    Args:
        bus: the order-flow bus; its server holds the leases.
        role: what to lead (`shared.bus.keys.Role`).
        owner: this process's name; no two live processes may share one.
        timing: the lease's times.
        at_least_epoch: highest epoch known elsewhere (the guard's); asked right before acquiring.
        may_hang: whether the loop hangs for a reason that is no fault: a person at a debugger's prompt.
        is_prepared: whether this process could lead right away; a candidate that is not leaves the lease to others,
            and watches it meanwhile.
    """

    def __init__(
        self,
        bus: Bus,
        role: str,
        owner: str,
        timing: LeaseTiming,
        *,
        clock: Clock = SYSTEM_CLOCK,
        at_least_epoch: Callable[[], int] = lambda: 0,
        may_hang: Callable[[], bool] = lambda: False,
        is_prepared: Callable[[], bool] = lambda: True,
    ) -> None:
        timing.check()
        self.role = role
        self.owner = owner
        self._bus = bus
        self._timing = timing
        self._clock = clock
        self._at_least_epoch = at_least_epoch
        self._may_hang = may_hang
        self._is_prepared = is_prepared
        self._holder: Holder | None = None
        self._lost = asyncio.Event()
        self._stop_renewing = threading.Event()
        self._thread: threading.Thread | None = None
        self._turned_ns = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turner: asyncio.TimerHandle | None = None
        self._loss_reason = ""
        self._asked_above: int | None = None
        """Every epoch above this one under our name is an acquisition whose reply was lost or came too late."""

    @property
    def token(self) -> LeaseToken | None:
        """Return the token while leading, else None."""
        return self._holder.token if self.has_lease() and self._holder is not None else None

    @property
    def loss_reason(self) -> str:
        """Return why leadership ended last."""
        return self._loss_reason

    def has_lease(self) -> bool:
        """Return whether an act right now is covered by the lease."""
        holder = self._holder
        if holder is None:
            return False
        if holder.has_lease(self._clock.monotonic_ns()):
            return True
        self._end("the lease ran out before a renewal was confirmed")
        return False

    async def win(self) -> LeaseToken:
        """Wait until this process leads and return its token; `raise_fence` is the caller's next act."""
        candidate = Candidate(self._timing)
        while True:
            token = await self._try_once(candidate)
            if token is not None:
                return token
            await self._clock.sleep(self._pause_s(candidate))

    def _pause_s(self, candidate: Candidate) -> float:
        """Return how long to wait before the next question: until the lease can be taken, but not long.

        A change that is seen late starts the wait of a lease time late, and a lease that was given up is there to be
        taken: so questions come more often than renewals.
        """
        usual_s = min(self._timing.renew_s / 2, QUESTION_S) * (0.75 + random_fraction() / 2)
        due_s = candidate.due_ns(self._clock.monotonic_ns()) / NS_PER_S
        return min(usual_s, due_s + 0.001 + random_fraction() * self._timing.renew_s / 20) if due_s else usual_s

    async def _try_once(self, candidate: Candidate) -> LeaseToken | None:
        try:
            asked_ns = self._clock.monotonic_ns()
            view = await self._bus.lease_view(self.role)
            target = candidate.observed(view, asked_ns, self._clock.monotonic_ns())
            if (target is None and not self._is_unused(view)) or not self._is_prepared():
                return None
            return await self._acquire(view, candidate)
        except (TransientError, OutcomeUnknown):
            return None  # away, or unknown: an acquisition whose reply was lost is seen with the next question

    def _is_unused(self, view: LeaseView) -> bool:
        """Return whether a lease is our own and was never begun: nobody acts on it, so that nobody is waited for."""
        return self._asked_above is not None and view.owner == self.owner and view.epoch > self._asked_above

    async def _acquire(self, target: LeaseView, candidate: Candidate) -> LeaseToken | None:
        sent_ns = self._clock.monotonic_ns()
        floor = max(self._at_least_epoch(), self._clock.wall_ns() // NS_PER_US)
        self._asked_above = floor
        token = await self._bus.lease_acquire(self.role, self.owner, target, at_least_epoch=floor)
        candidate.forget()
        if token is None:
            self._asked_above = None
            return None
        holder = Holder(token, sent_ns, self._timing)
        if not holder.has_lease(self._clock.monotonic_ns()):
            return None
        self._begin(holder)
        return token

    def _begin(self, holder: Holder) -> None:
        self._holder = holder
        self._asked_above = None
        self._lost.clear()
        self._loop = asyncio.get_running_loop()
        self._stop_renewing = threading.Event()
        self._turn()
        self._thread = threading.Thread(
            target=self._renew_for_ever, args=(holder, self._stop_renewing), name=f"lease-{self.role}", daemon=True
        )
        self._thread.start()
        LEASE_CHANGES.labels(self.role, "won").inc()
        LEASE_EPOCH.labels(self.role).set(holder.token.epoch)
        get_logger().info("lease.acquired", role=self.role, epoch=holder.token.epoch)

    def _turn(self) -> None:
        """Show the renewal thread that the event loop turns, and notice a lease that ran out."""
        self._turned_ns = self._clock.monotonic_ns()
        if self._loop is not None and self.has_lease():
            self._turner = self._loop.call_later(self._timing.renew_s / 2, self._turn)

    def _renew_for_ever(self, holder: Holder, stop: threading.Event) -> None:
        link = self._bus.open_renewal(holder.token, limit_s=max(0.05, self._timing.ttl_s / 2))
        pause_s = self._timing.renew_s
        try:
            while not stop.wait(pause_s):
                sent_ns = self._clock.monotonic_ns()
                if sent_ns - self._turned_ns > self._timing.ttl_ns and not self._may_hang():
                    continue  # the event loop hangs: let the lease run out
                try:
                    link.renew()
                except Fenced as e:
                    holder.void()
                    self._end_from_thread(str(e))
                    return
                except TransientError:
                    # Not known to be renewed: the lease runs on from the last confirmed renewal. What is left of it
                    # after a reply that did not come in time is little: the next question does not wait its turn.
                    pause_s = self._timing.renew_s / 10
                    continue
                pause_s = self._timing.renew_s
                holder.renewed(sent_ns)
        finally:
            link.close()

    def _end_from_thread(self, reason: str) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end, reason)

    def _end(self, reason: str) -> None:
        if self._holder is None:
            return
        epoch = self._holder.token.epoch
        self._holder = None
        self._stop_renewing.set()
        if self._turner is not None:
            self._turner.cancel()
        self._loss_reason = reason
        self._lost.set()
        LEASE_CHANGES.labels(self.role, "lost").inc()
        LEASE_EPOCH.labels(self.role).set(0)
        get_logger().warning("lease.lost", role=self.role, epoch=epoch, reason=reason)

    async def lost(self) -> str:
        """Wait until leadership ends and return why; at once if this process does not lead."""
        if self._holder is None:
            return self._loss_reason
        while self.has_lease():
            left_s = max(0.0, (self._holder_until_ns() - self._clock.monotonic_ns()) / NS_PER_S)
            try:
                async with asyncio.timeout(left_s + 0.001):
                    await self._lost.wait()
            except TimeoutError:
                continue
        return self._loss_reason

    def _holder_until_ns(self) -> int:
        return self._holder.until_ns if self._holder is not None else 0

    async def resign(self, reason: str) -> None:
        """Give leadership up, so that a candidate need not wait a lease time."""
        holder = self._holder
        if holder is None:
            return
        holder.void()
        self._end(reason)
        try:
            await self._bus.lease_release(holder.token)
        except (TransientError, OutcomeUnknown):
            pass  # it runs out by itself

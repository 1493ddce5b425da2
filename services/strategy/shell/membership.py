"""Know which workers live and whose a unit should be: leases watched on our own clock, units spread evenly."""

from __future__ import annotations

from collections.abc import Iterable

from services.strategy.core.assignment import LeaseSeen, Watch, assign
from services.strategy.shell.isolated import is_isolated_instance
from shared.bus.keys import Role
from shared.bus.ports import Bus, LeaseToken, UnitRecord
from shared.clock import NS_PER_S, Clock
from shared.errors import OutcomeUnknown, TransientError
from shared.logs import get_logger

FORGET_AFTER_S = 60.0
OBSERVE_PER_LEASE = 8
PIN = "pin:"
FRESH = "fresh:"


class Membership:
    """The live workers as this worker sees them."""

    def __init__(
        self, bus: Bus, worker: str, ttl_s: float, clock: Clock, units: Iterable[str], *, only: str = ""
    ) -> None:
        """`units` are the names of all units of the deployment, whoever runs them; with `only`, we run that one."""
        self._bus = bus
        self._worker = worker
        self._ttl_s = ttl_s
        self._clock = clock
        self._watch = Watch(int(ttl_s * NS_PER_S))
        self._units = tuple(units)
        self._only = only
        self._mine: frozenset[str] = frozenset()
        self.live: list[str] = []
        self.paused: dict[str, str] = {}
        self.quarantined: dict[str, str] = {}
        """Units that blocked a worker for good or took its memory, with what was seen."""
        self.reload_wish: str | None = None
        """What operators last asked for with `reload`, "" for never; None until it was looked at."""
        self.fresh: dict[str, str] = {}
        """Unit → the last wish of a person that it begins with an empty state."""
        self._pins: dict[str, str] = {}

    async def join(self) -> None:
        """Put this worker on the list of those that share the units; call it with the lease held."""
        if self._only:
            await self.observe()
            return
        await self._bus.hash_set(self._bus.keys.strategy_workers, {self._worker: str(self._clock.wall_ns())})
        await self.observe()

    async def run(self) -> None:
        """Watch, for ever."""
        while True:
            try:
                await self.observe()
            except (TransientError, OutcomeUnknown) as e:
                get_logger().debug("workers.unseen", error=str(e))
            await self._clock.sleep(self._ttl_s / OBSERVE_PER_LEASE)

    async def observe(self) -> None:
        """Look at every listed worker's lease once, and at who is paused."""
        listed = list(await self._bus.hash_get_all(self._bus.keys.strategy_workers))
        left = [worker for worker in self._watch.known() if worker not in listed]
        for worker in [*listed, *left]:  # who left the list is watched on: its lease says whether it is gone
            await self._look_at(worker)
        live = [worker for worker in self._watch.live() if not is_isolated_instance(worker)]
        directives = await self._bus.hash_get_all(self._bus.keys.strategy_directives)
        told = {name: value.decode(errors="replace") for name, value in directives.items()}
        pins = {name.removeprefix(PIN): worker for name, worker in told.items() if name.startswith(PIN)}
        if live != self.live:
            get_logger().info("workers.changed", live=live, before=self.live)
        if live != self.live or pins != self._pins or self._only:
            self.live, self._pins = live, pins
            self._plan()
        held = await self._bus.hash_get_all(self._bus.keys.strategy_quarantine)
        self.quarantined = {unit: why.decode(errors="replace") for unit, why in held.items()}
        self.fresh = {name.removeprefix(FRESH): wish for name, wish in told.items() if name.startswith(FRESH)}
        self.reload_wish = told.get("reload", "")
        stored = await self._bus.hash_get_all(self._bus.keys.paused)
        self.paused = {name: reason.decode(errors="replace") for name, reason in stored.items()}

    def set_units(self, units: Iterable[str]) -> None:
        """Take other units than before: the strategies file was read again."""
        self._units = tuple(units)
        self._plan()

    def _plan(self) -> None:
        if self._only:
            self._mine = frozenset({self._only} & set(self._units))
            return
        self._mine = frozenset(assign(self._units, self.live, self._pins).get(self._worker, ()))

    async def _look_at(self, worker: str) -> None:
        asked_ns = self._clock.monotonic_ns()
        view = await self._bus.lease_view(Role.strategy(worker))
        seen = LeaseSeen(view.owner, view.epoch, view.counter)
        self._watch.observed(worker, seen, asked_ns, self._clock.monotonic_ns())
        if worker != self._worker and self._watch.silent_ns(worker) > FORGET_AFTER_S * NS_PER_S:
            await self._bus.hash_delete(self._bus.keys.strategy_workers, [worker])
            self._watch.forget(worker)

    def is_mine(self, unit_id: str) -> bool:
        """Return whether a unit should be on this worker."""
        return unit_id in self._mine

    async def may_take(self, record: UnitRecord, token: LeaseToken) -> bool:
        """Return whether a unit is free: given up, ours from before, or its owner's lease is gone."""
        if record.owner in ("", token.owner):
            return True
        if not self._watch.knows(record.owner):
            await self._look_at(record.owner)
        return not self._watch.may_hold(record.owner, record.epoch)

"""One worker: lead its own lease, take the units that are its, feed them, save their commits.

One task does everything that touches a unit, in turns: take and give up, read, hand out, timers, save. So a unit never
sees an event while its commit is on the way, and a former owner's commit is refused by the server's script.

Hand-over, in this order: `on_stop`, the last commit, the release. A worker that loses its lease drops its units at
once and begins again; what it had not committed had no effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from services.strategy import metrics
from services.strategy.core.events import Gap
from services.strategy.shell.caretaker import in_care, needs_care
from services.strategy.shell.contracts import ContractBook
from services.strategy.shell.failures import Failures
from services.strategy.shell.feed import Dispatcher, RunningUnit, merged
from services.strategy.shell.histories import History, HistoryBook
from services.strategy.shell.isolated import Isolated
from services.strategy.shell.loader import DeclaredUnit, Loaded, changed_units
from services.strategy.shell.measuring import CommitMeter
from services.strategy.shell.membership import Membership
from services.strategy.shell.registration import Registration
from services.strategy.shell.reloading import Reloading
from services.strategy.shell.status import StatusRows
from services.strategy.shell.units import UnitMaker
from shared.bus.ports import FIRST, Bus, Entry, LeaseToken, UnitCommit, entry_order
from shared.clock import NS_PER_MS, NS_PER_S, Clock
from shared.errors import BadInput, Fenced, OutcomeUnknown, TransientError
from shared.leases.elector import Elector
from shared.logs import get_logger
from shared.messages.market import ContractInfo
from shared.runtime import bind_epoch

READ_COUNT = 200
BLOCK_MS = 50
FLOW_MS = 5
"""How long other entries may wait for a tick to bring them along while ticks flow."""
YIELD_NS = 20 * NS_PER_MS
RETRY_S = 0.05
GAP_CHECK_AFTER_NS = NS_PER_S
HOUSEKEEPING_NS = 10 * NS_PER_MS
"""How often, while ticks flow, a worker looks at what they do not change: whose the units are, what is shown."""
SLOW_COMMITS_PER_TURN = 2
LOOKED_AT_PER_TURN = 64
"""Units that are asked, in turn, whether they have something to save that can wait; hundreds would slow every read."""


class Worker:
    """Runs the units that belong to this worker, for as long as it holds its lease."""

    def __init__(
        self,
        bus: Bus,
        elector: Elector,
        membership: Membership,
        contracts: ContractBook,
        maker: UnitMaker,
        loaded: Loaded,
        histories: HistoryBook,
        reloading: Reloading,
        isolated: Isolated | None = None,
        *,
        source: str,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._elector = elector
        self._membership = membership
        self._contracts = contracts
        self._maker = maker
        self._loaded = loaded
        self._histories = histories
        self._reloading = reloading
        self._isolated = isolated
        """None in a process of an isolated unit: it runs here."""
        self._source = source
        self._clock = clock
        self._status = StatusRows(bus, elector.owner, loaded, clock)
        self._cursors: dict[str, str] = {}
        self._units: dict[str, RunningUnit] = {}
        self._taken: dict[str, str] = {}
        """Units of ours that do not run yet, with the reason."""
        self._refused: dict[str, str] = {}
        """Units that nobody runs, with the reason."""
        self._misfits: dict[str, str] = {}
        """Units whose saved state does not fit, and for whose `flat_by` a caretaker runs."""
        self._dispatcher: Dispatcher | None = None
        """None when other units joined or left: made anew by whoever needs it, once for all of them."""
        self._looked_at = 0
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._read_ns = 0
        self._tick_streams = frozenset(bus.keys.ticks(partition) for partition in range(bus.keys.tick_partitions))
        self._ticks_flow = False
        """Whether the last read brought ticks. Then the next one waits for ticks only and reads the rest along with
        them: else every order event would wake every worker a moment before the ticks do, while the order waits."""
        self._house_kept_ns = 0
        self._registration = Registration(bus, elector.role, clock)
        self._lag_s = 0.0
        self._meter = CommitMeter(clock)
        self._failures = Failures(bus)

    @property
    def units(self) -> Mapping[str, RunningUnit]:
        """Return the units that run here."""
        return self._units

    def facts(self) -> dict[str, object]:
        """Return what the heartbeat shows."""
        return {"units": sorted(self._units), "lag_s": round(self._lag_s, 3), "leads": self._elector.has_lease()}

    def why_not_ready(self) -> str | None:
        """Return why the worker does not do its work."""
        return None if self._elector.has_lease() else "does not hold its lease"

    # -- the life of a worker

    async def run(self) -> None:
        """Lead, work, lose, begin again; ends after `drain`."""
        try:
            while not self._stopping.is_set():
                token = await self._elector.win()
                bind_epoch(token.epoch)
                try:
                    await self._take_office(token)
                    await self._lead(token)
                except Fenced as e:
                    get_logger().warning("worker.fenced", reason=str(e))
                    await self._elector.resign("fenced")
                finally:
                    self._drop_all()
                    if self._isolated is not None:
                        await self._isolated.end_all()
        finally:
            self._stopped.set()

    async def _take_office(self, token: LeaseToken) -> None:
        """Raise the fence of our epoch and put this worker on the list; both may be repeated."""
        while True:
            try:
                await self._bus.raise_fence(token)
                await self._membership.join()
                return
            except (TransientError, OutcomeUnknown) as e:
                if not self._elector.has_lease():
                    raise Fenced("the lease was lost before the fence was raised") from e
                await self._clock.sleep(RETRY_S)

    async def drain(self) -> None:
        """Give every unit up after its last commit, then the lease."""
        self._stopping.set()
        if self._elector.has_lease():
            await self._stopped.wait()

    async def _lead(self, token: LeaseToken) -> None:
        while self._elector.has_lease():
            try:
                if self._stopping.is_set():
                    await self._give_up_all(token)
                    return
                await self._turn(token)
            except (TransientError, OutcomeUnknown) as e:  # all acts of a turn may be repeated
                get_logger().debug("bus.away", error=str(e))
                await self._clock.sleep(RETRY_S)

    async def _turn(self, token: LeaseToken) -> None:
        is_house_kept = self._is_housekeeping_due()
        if is_house_kept:
            fresh = self._reloading.take()
            if fresh is not None:
                await self._adopt(fresh, token)
            await self._follow_plan(token)
            await self._catch_up(token)
        entries = await self._read()
        await self._hand_out(entries, token)
        now_ns = self._clock.wall_ns()
        for running in self._units.values():
            running.unit.tick(now_ns)
        await self._save(token)
        if is_house_kept:
            metrics.LAG.set(self._lag_s)
            self._count_ticks()
            await self._status.publish(self._units, {**self._taken, **self._refused}, self._lag_s)
            await self._registration.tell(self._cursors, [running.unit for running in self._units.values()])

    def _is_housekeeping_due(self) -> bool:
        now_ns = self._clock.monotonic_ns()
        if (
            self._ticks_flow
            and now_ns - self._house_kept_ns < HOUSEKEEPING_NS
            and all(running.is_joined for running in self._units.values())
        ):
            return False
        self._house_kept_ns = now_ns
        return True

    # -- which units

    async def _follow_plan(self, token: LeaseToken) -> None:
        for unit_id in [one for one in self._units if not self._membership.is_mine(one)]:
            await self._give_up(unit_id, token)
        for unit_id in [one for one in self._taken if not self._membership.is_mine(one)]:
            del self._taken[unit_id]
            self._histories.forget(unit_id)
            await self._bus.release_unit(token, unit_id)
        for unit_id in [one for one, running in self._units.items() if self._is_mended(running)]:
            await self._give_up(unit_id, token)
        await self._begin_mine(token)
        for running in self._units.values():
            running.unit.operator_pause = self._membership.paused.get(running.declared.strategy.name, "")

    async def _begin_mine(self, token: LeaseToken) -> None:
        """Begin what is ours and does not run yet: here, in a process of its own, in care, or not at all."""
        self._refused.clear()
        apart = []
        for unit_id, declared in self._loaded.units.items():
            if unit_id in self._units or not self._membership.is_mine(unit_id):
                continue
            if (why := self._membership.quarantined.get(unit_id)) and not needs_care(declared):
                self._refused[unit_id] = f"stopped: {why}"
            elif why:
                await self._begin(unit_id, token, f"stopped: {why}")
            elif self._isolated is not None and declared.strategy.is_isolated:
                apart.append(unit_id)
            else:
                await self._begin(unit_id, token)
        if self._isolated is not None:
            await self._isolated.follow(apart)

    async def _adopt(self, fresh: Loaded, token: LeaseToken) -> None:
        """Go on with a strategies file that was read again: only what it changed begins anew."""
        changed = changed_units(self._loaded, fresh)
        self._loaded = fresh
        self._membership.set_units(fresh.units)
        self._status.adopt(fresh)
        for unit_id in dict.fromkeys([*changed, *self._misfits]):
            self._misfits.pop(unit_id, None)
            if unit_id in self._units:
                await self._give_up(unit_id, token)
        for unit_id in list(self._taken):
            self._histories.forget(unit_id)
            if unit_id in fresh.units:
                self._taken[unit_id] = ""

    def _is_mended(self, running: RunningUnit) -> bool:
        """Return whether a unit in care was taken out of quarantine."""
        unit_id = str(running.declared.unit_id)
        is_held = unit_id in self._membership.quarantined or unit_id in self._misfits
        return bool(running.declared.why_in_care) and not is_held and not self._loaded.units[unit_id].why_in_care

    async def _begin(self, unit_id: str, token: LeaseToken, why_in_care: str = "") -> None:
        if not await self._take(unit_id, token):
            return
        declared = self._loaded.units[unit_id]
        if why_in_care := why_in_care or self._misfits.get(unit_id, ""):
            declared = in_care(declared, why_in_care)
        elif self._taken[unit_id].startswith("stopped"):
            return
        found, history, reason = self._parts_of(declared)
        if reason:
            self._taken[unit_id] = reason
            return
        record = await self._bus.load_unit(unit_id)  # again: the owner before us may have committed until we took it
        try:
            fresh = "" if declared.why_in_care else self._membership.fresh.get(unit_id, "")
            running = await self._maker.make(declared, found, record, token.incarnation, history, fresh)
        except BadInput as e:
            self._taken[unit_id] = f"stopped: {e}"
            if needs_care(declared) and not declared.why_in_care:
                self._misfits[unit_id] = f"stopped: {e}"
            get_logger().error("unit.refused", unit=unit_id, error=str(e))
            return
        gaps = await self._gaps_of(running, record.cursors)
        self._units[unit_id] = running  # from here on nothing can fail in between: it starts whole or not at all
        self._taken.pop(unit_id, None)
        now_ns = self._clock.wall_ns()
        for gap in gaps:
            running.unit.gap(gap, now_ns, now_ns)
        running.unit.start(now_ns, now_ns)
        for stream in running.streams:
            self._cursors.setdefault(stream, running.unit.cursors[stream])
        if not await self._save_one(running, token, force=True):  # pins where a new unit began to read
            return
        metrics.UNITS.set(len(self._units))
        get_logger().info("unit.started", unit=unit_id, commit=record.commit)

    async def _take(self, unit_id: str, token: LeaseToken) -> bool:
        """Return whether a unit's record is ours, and make it ours if it is free."""
        if unit_id not in self._taken:
            record = await self._bus.load_unit(unit_id)
            if not await self._membership.may_take(record, token):
                return False
            if not await self._bus.take_unit(token, unit_id, seen=record):
                return False
            self._taken[unit_id] = ""
        return True

    def _parts_of(self, declared: DeclaredUnit) -> tuple[list[ContractInfo], History, str]:
        """Return a unit's contracts and past bars, or why it waits for them; asking goes on in the background."""
        self._contracts.want(declared.contracts)
        found = self._contracts.all_of(declared.contracts)
        if found is None:
            return [], {}, self._contracts.why_missing(declared.contracts)
        history = self._histories.of_unit(declared, found)
        if history is None:
            return [], {}, self._histories.why_missing(declared.unit_id)
        return found, history, ""

    async def _gaps_of(self, running: RunningUnit, stored: Mapping[str, str]) -> list[Gap]:
        """Return the gaps between where a unit stopped and what is retained."""
        gaps = []
        for stream in running.streams:
            if stored.get(stream, FIRST) == FIRST:
                continue
            found = await self._bus.gap_after(stream, running.unit.cursors[stream])
            if found is not None:
                get_logger().warning("unit.missed_entries", unit=running.declared.unit_id, stream=stream)
                gaps.append(Gap(stream, found.after_id, found.next_id, blocks=True))
        return gaps

    async def _give_up(self, unit_id: str, token: LeaseToken) -> None:
        running = self._units[unit_id]
        now_ns = self._clock.wall_ns()
        running.unit.stop(now_ns, now_ns)
        if await self._save_one(running, token, force=True):
            await self._bus.release_unit(token, unit_id)
            get_logger().info("unit.released", unit=unit_id, commit=running.unit.last_commit)
        self._forget(unit_id)

    async def _give_up_all(self, token: LeaseToken) -> None:
        for unit_id in list(self._units):
            await self._give_up(unit_id, token)
        for unit_id in list(self._taken):
            await self._bus.release_unit(token, unit_id)
        self._taken.clear()
        await self._bus.hash_delete(self._bus.keys.strategy_workers, [self._elector.owner])
        await self._elector.resign("stopping")

    def _forget(self, unit_id: str) -> None:
        self._units.pop(unit_id, None)
        needed = {stream for running in self._units.values() for stream in running.streams}
        for stream in [one for one in self._cursors if one not in needed]:
            del self._cursors[stream]
        self._rebuild()

    def _drop_all(self) -> None:
        self._units.clear()
        self._taken.clear()
        self._cursors.clear()
        self._rebuild()

    def _rebuild(self) -> None:
        self._count_ticks()
        self._dispatcher = None
        metrics.UNITS.set(len(self._units))

    def _count_ticks(self) -> None:
        if self._dispatcher is not None:
            metrics.TICKS.inc(self._dispatcher.take_count())

    def _handle(self, entry: Entry, wall_ns: int) -> str | None:
        if self._dispatcher is None:
            self._dispatcher = Dispatcher(self._bus.keys, [one for one in self._units.values() if one.is_joined])
        return self._dispatcher.handle(entry, wall_ns)

    async def _catch_up(self, token: LeaseToken) -> None:
        """Bring units that joined later to where this worker reads, a slice a turn; then they read along."""
        for running in [one for one in self._units.values() if not one.is_joined]:
            unit = running.unit
            ours = {stream: entry_order(self._cursors[stream]) for stream in running.streams}
            behind = {s: unit.cursors[s] for s in running.streams if entry_order(unit.cursors[s]) < ours[s]}
            if behind:
                await self._slice(running, behind, ours, token)
            elif all(entry_order(unit.cursors[s]) == ours[s] for s in running.streams):
                running.is_joined = True
                self._rebuild()
            # else the former owner had read further than we have: wait until this worker is there

    async def _slice(
        self, running: RunningUnit, behind: Mapping[str, str], ours: Mapping[str, tuple[int, int]], token: LeaseToken
    ) -> None:
        found = await self._bus.read(behind, count=READ_COUNT)
        entries = [one for one in merged(found, READ_COUNT) if entry_order(one.entry_id) <= ours[one.stream]]
        dispatcher = Dispatcher(self._bus.keys, [running])
        for entry in entries:
            error = dispatcher.handle(entry, self._clock.wall_ns())
            running.unit.advance(entry.stream, entry.entry_id)
            if error is not None:
                await self._bus.dead_letter(entry, consumer=self._source, error=error)
        metrics.TICKS.inc(dispatcher.take_count())
        handled = {(entry.stream, entry.entry_id) for entry in entries}
        for stream in behind:
            rest = [e for e in found.get(stream, []) if entry_order(e.entry_id) <= ours[stream]]
            if all((stream, e.entry_id) in handled for e in rest) and len(found.get(stream, [])) < READ_COUNT:
                running.unit.advance(stream, self._cursors[stream])
        await self._save_one(running, token)

    # -- reading

    async def _read(self) -> list[Entry]:
        if not self._cursors:
            await self._clock.sleep(BLOCK_MS / 1000)
            return []
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._read_ns > GAP_CHECK_AFTER_NS:
            await self._check_gaps()
        front, beside = self._cursors, {}
        if self._ticks_flow:
            front = {stream: self._cursors[stream] for stream in self._cursors if stream in self._tick_streams}
            beside = {stream: self._cursors[stream] for stream in self._cursors if stream not in front}
        block_ms = min(self._block_ms(), FLOW_MS) if beside else self._block_ms()
        found = await self._bus.read(front, count=READ_COUNT, block_ms=block_ms, beside=beside)
        self._read_ns = self._clock.monotonic_ns()
        self._ticks_flow = not self._tick_streams.isdisjoint(found)
        return merged(found, READ_COUNT, tuple(front) if beside else ())

    def _block_ms(self) -> int:
        deadlines = [running.unit.deadline_ns() for running in self._units.values()]
        due = min((one for one in deadlines if one is not None), default=None)
        if any(not running.is_joined for running in self._units.values()):
            return 1
        left_ms = BLOCK_MS if due is None else (due - self._clock.wall_ns()) // NS_PER_MS
        return int(max(1, min(BLOCK_MS, left_ms)))

    async def _check_gaps(self) -> None:
        """Look for trimmed entries after this worker did not read for a while; one that keeps up cannot have a gap."""
        for stream, cursor in self._cursors.items():
            found = None if cursor == FIRST else await self._bus.gap_after(stream, cursor)
            if found is None:
                continue
            now_ns = self._clock.wall_ns()
            for running in self._units.values():
                if running.is_joined and stream in running.streams:
                    running.unit.gap(Gap(stream, found.after_id, found.next_id, blocks=True), now_ns, now_ns)

    async def _hand_out(self, entries: Sequence[Entry], token: LeaseToken) -> None:
        """Hand entries to the joined units; save and let other tasks run in between when it takes long."""
        if not entries:
            self._lag_s = 0.0
            return
        begun_ns = self._clock.monotonic_ns()
        wall_ns = self._clock.wall_ns()
        self._lag_s = max(0.0, (wall_ns - entry_order(entries[-1].entry_id)[0] * NS_PER_MS) / NS_PER_S)
        for entry in entries:
            error = self._handle(entry, wall_ns)
            self._cursors[entry.stream] = entry.entry_id
            if error is not None:
                await self._bus.dead_letter(entry, consumer=self._source, error=error)
            now_ns = self._clock.monotonic_ns()
            if now_ns - begun_ns > YIELD_NS:
                await self._save(token)
                await self._clock.sleep(0)
                begun_ns, wall_ns = now_ns, self._clock.wall_ns()

    # -- saving

    async def _save(self, token: LeaseToken) -> None:
        # Orders first: a unit that only saves where it is does not keep one waiting for its round trip.
        for running in [one for one in self._units.values() if one.unit.is_urgent or one.has_new_error]:
            await self._save_one(running, token)
        slow, now_ns, units = 0, self._clock.wall_ns(), list(self._units.values())
        for _ in range(min(LOOKED_AT_PER_TURN, len(units))):
            running = units[self._looked_at % len(units)]
            self._advance(running)
            if running.unit.may_commit(now_ns):
                if slow == SLOW_COMMITS_PER_TURN:
                    return
                before = running.unit.last_commit
                await self._save_one(running, token)
                slow += running.unit.last_commit != before
            self._looked_at += 1

    def _advance(self, running: RunningUnit) -> None:
        """Note in a unit that reads along how far this worker is: all of that was handed to it."""
        if running.is_joined:
            for stream in running.streams:
                if running.unit.cursors[stream] != self._cursors[stream]:
                    running.unit.advance(stream, self._cursors[stream])

    async def _save_one(self, running: RunningUnit, token: LeaseToken, *, force: bool = False) -> bool:
        """Save a unit's commit if one is due, again and again until the server's answer is known.

        Returns False if the unit is another's now: then it was dropped here.

        Raises:
            Fenced: this worker does not lead any more.
        """
        unit = running.unit
        self._advance(running)
        await self._failures.keep_new(running)
        commit = unit.commit(self._clock.wall_ns(), force=force)
        if commit is None:
            return True
        begun_ns = self._clock.monotonic_ns()
        port_commit = UnitCommit(
            running.declared.unit_id,
            commit.number,
            commit.state,
            commit.cursors,
            commit.timers,
            intents=commit.intents,
            cancels=commit.cancels,
            past=commit.past,
        )
        while True:
            if not self._elector.has_lease():
                raise Fenced("the lease was lost before a commit was saved")
            try:
                await self._bus.commit_unit(token, port_commit, source=self._source)
                break
            except (TransientError, OutcomeUnknown) as e:
                get_logger().warning("commit.unknown", unit=running.declared.unit_id, error=str(e))
                await self._clock.sleep(RETRY_S)
            except Fenced:
                if not await self._is_still_leading(token):
                    raise
                get_logger().warning("unit.lost", unit=running.declared.unit_id)
                self._forget(running.declared.unit_id)
                return False
        unit.committed(self._clock.wall_ns())
        self._meter.saved(running, commit, begun_ns)
        return True

    async def _is_still_leading(self, token: LeaseToken) -> bool:
        view = await self._bus.lease_view(token.role)
        is_ours = (view.owner, view.epoch, view.incarnation) == (token.owner, token.epoch, token.incarnation)
        return is_ours and self._elector.has_lease() and await self._bus.incarnation() == token.incarnation

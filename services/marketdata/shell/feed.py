"""Ticks in, bars and last prices out, while this process leads.

One task does it all in turn, so that order needs no locks: read what came, build, publish under the lease, and a few
times a second write the last prices. After a restart, a take-over, another incarnation or a publish whose outcome is
unknown it starts over from the streams (`core/resume.py`): bars are a function of ticks.

Bounds: one read takes at most `READ_ENTRIES` batches a stream; while more than that waits, bars are closed by trades
alone, since the clock is ahead of what was read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from services.marketdata.core.intake import Intake
from services.marketdata.core.resume import Resumption, start_after
from services.marketdata.core.snapshots import day_from_fields
from services.marketdata.metrics import BARS, LAG, TICKS, TOO_LATE
from services.marketdata.settings import MarketdataSettings
from services.marketdata.shell.reference import Reference
from shared.bus.ports import FIRST, Bus, Entry, LeaseToken
from shared.bus.tail import Batch, TailReader
from shared.clock import NS_PER_MS, NS_PER_S, Clock, iso_utc
from shared.errors import BadInput, BusUnavailable, OutcomeUnknown
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.market import Bar

READ_ENTRIES = 500
TAIL_BARS = 2_000
READ_SLICE_S = 0.02
"""Pause after a read once caught up: ticks taken in slices, not one by one, leave the machine to order flow."""
_SKEW_MS = 5_000
"""How far the bus server's clock (entry ids) and the gateway's (tick times) may be apart for a resume."""
_REFERENCE_EVERY_NS = 30 * NS_PER_S
_DEAD_KEPT = 1000
_FORGET_AFTER_NS = 600 * NS_PER_S


class Feed:
    """The leader's work. `may_act` is asked right before each publish."""

    def __init__(self, bus: Bus, settings: MarketdataSettings, reference: Reference, clock: Clock) -> None:
        self._bus = bus
        self._settings = settings
        self._reference = reference
        self._clock = clock
        self._source = f"marketdata:{settings.instance}"
        self._partitions = range(settings.tick_partitions)
        self._resumptions: dict[int, Resumption] = {}
        self.intake = self._new_intake()
        self.bars_published = 0
        self.ticks_read = 0
        self.lag_ms = 0
        self.is_caught_up = False
        self._epochs: dict[str, bytes] = {}
        self._dead: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Entries that were dead-lettered: each is read again whenever bars are built anew."""
        self._snapshot_due_ns = 0
        self._reference_due_ns = 0

    def _new_intake(self) -> Intake:
        return Intake(self._settings.rules, self._reference.calendar, self._known_from)

    def _known_from(self, con_id: int) -> int:
        resumption = self._resumptions.get(self._bus.keys.partition(con_id))
        return resumption.start_ns if resumption is not None else 0

    # ------------------------------------------------------------------------------------------ resume

    async def resume(self) -> TailReader:
        """Return a reader placed where bars can be rebuilt from, with the running days seeded."""
        await self._reference.load()
        cursors: dict[str, str] = {}
        self._resumptions = {}
        for partition in self._partitions:
            stream = self._bus.keys.bars(partition)
            tail = self._bars_of(await self._bus.read_last(stream, TAIL_BARS))
            start_ns = start_after(tail)
            cursor = FIRST
            if start_ns is not None:
                start_ms = max(0, start_ns // NS_PER_MS - _SKEW_MS)
                tail = self._bars_of(await self._bus.read_range(stream, first=f"{start_ms}-0"))
                cursor = f"{start_ms}-0"
            self._resumptions[partition] = Resumption(start_ns, tail)
            cursors[self._bus.keys.ticks(partition)] = cursor
        self.intake = self._new_intake()
        self._epochs = {}
        await self._seed_days()
        self.is_caught_up = False
        get_logger().info("bars.resumed", cursors=list(cursors.values()))
        return TailReader(self._bus, cursors)

    @staticmethod
    def _bars_of(entries: list[Entry]) -> list[Bar]:
        bars: list[Bar] = []
        for entry in entries:
            try:
                message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            except BadInput:
                continue  # a bar we cannot read is built again
            if isinstance(message, Bar):
                bars.append(message)
        return bars

    async def _seed_days(self) -> None:
        for con_id in self._reference.infos:
            start_ns = self._known_from(con_id)
            state = day_from_fields(await self._bus.hash_get_all(self._bus.keys.last(con_id)))
            if state is not None and state.close_ns > start_ns > 0:
                self.intake.bars_of(con_id, start_ns).seed_day(state)

    # -------------------------------------------------------------------------------------------- loop

    async def run(self, token: LeaseToken, may_act: Callable[[], bool]) -> None:
        """Work until the lease is lost.

        Raises:
            Fenced: somebody else leads.
        """
        reader: TailReader | None = None
        while may_act():
            try:
                reader = reader or await self.resume()
                batch = await reader.read(count=READ_ENTRIES, block_ms=self._patience_ms())
                if batch.is_new_incarnation:
                    reader = None
                    continue
                await self._turn(token, batch, may_act)
                if self.is_caught_up:
                    await self._clock.sleep(min(READ_SLICE_S, self._patience_ms() / 1000))
            except BusUnavailable as e:
                get_logger().warning("feed.waiting", error=str(e))
                reader = None  # what was built and not published is built again
                await self._clock.sleep(0.2)
            except OutcomeUnknown as e:
                get_logger().warning("feed.started_over", error=str(e))
                reader = None

    def _patience_ms(self) -> int:
        now_ns = self._clock.wall_ns()
        due_ns = self.intake.deadline_ns()
        waits = [200, self._settings.snapshot_ms]
        if due_ns is not None and self.is_caught_up:
            waits.append((due_ns - now_ns) // NS_PER_MS + 1)
        return max(1, min(waits))

    async def _turn(self, token: LeaseToken, batch: Batch, may_act: Callable[[], bool]) -> None:
        out: list[Bar] = []
        now_ns = self._clock.wall_ns()
        for gap in batch.gaps:
            get_logger().warning("ticks.gap_found", stream=gap.stream, after=gap.after_id, next=gap.next_id)
            self._mark_gap(gap.stream, gap.next_id)
        for entries in batch.entries.values():
            await self._take(entries, now_ns, out)
        self.is_caught_up = all(len(entries) < READ_ENTRIES for entries in batch.entries.values())
        if self.is_caught_up:
            self.intake.advance(now_ns, out)
        if out and may_act():
            await self._publish(token, out)
        if now_ns >= self._snapshot_due_ns and self.is_caught_up and may_act():
            self._snapshot_due_ns = now_ns + self._settings.snapshot_ms * NS_PER_MS
            await self._write_snapshots()
        if now_ns >= self._reference_due_ns:
            await self._refresh(now_ns)

    def _mark_gap(self, stream: str, entry_id: str) -> None:
        keys = self._bus.keys
        until_ns = int(entry_id.split("-")[0]) * NS_PER_MS
        self.intake.mark_gap(until_ns, lambda con_id: keys.ticks(keys.partition(con_id)) == stream)

    async def _take(self, entries: list[Entry], now_ns: int, out: list[Bar]) -> None:
        count = 0
        for entry in entries:
            epoch = entry.fields.get(b"epoch", b"")
            if self._epochs.get(entry.stream) != epoch:
                # another leader writes: what happened between the two was seen by neither
                if entry.stream in self._epochs:
                    self._mark_gap(entry.stream, entry.entry_id)
                self._epochs[entry.stream] = epoch
            body = entry.fields.get(b"body", b"")
            try:
                count += self.intake.apply(body, out)
            except BadInput as e:
                await self._dead_letter(entry, str(e))
                continue
        self.ticks_read += count
        TICKS.inc(count)
        if entries:
            self.lag_ms = max(0, now_ns // NS_PER_MS - int(entries[-1].entry_id.split("-")[0]))
            LAG.set(self.lag_ms / 1000)

    async def _dead_letter(self, entry: Entry, error: str) -> None:
        key = entry.stream, entry.entry_id
        if key in self._dead:
            return
        await self._bus.dead_letter(entry, consumer=self._source, error=error)
        self._dead[key] = None
        while len(self._dead) > _DEAD_KEPT:
            self._dead.popitem(last=False)

    async def _publish(self, token: LeaseToken, bars: list[Bar]) -> None:
        now_ns = self._clock.wall_ns()
        entries: list[tuple[str, Bar]] = []
        for bar in bars:
            partition = self._bus.keys.partition(bar.con_id)
            news = self._resumptions[partition].news([bar])
            entries.extend(
                (self._bus.keys.bars(partition), one.model_copy(update={"ts_init_ns": now_ns})) for one in news
            )
        for first in range(0, len(entries), 500):
            await self._bus.publish(token, entries[first : first + 500], source=self._source)
        self.bars_published += len(entries)
        for _, bar in entries:
            BARS.labels(bar.interval).inc()

    async def _write_snapshots(self) -> None:
        last = self.intake.last
        for con_id in last.take_dirty():
            built = self.intake.bars.get(con_id)
            fields = last.fields(con_id, self._reference.symbol(con_id), built.day_state() if built else None)
            fields["contract"] = self._reference.name(con_id)
            fields["ts"] = iso_utc(int(fields["ts_ns"]))
            await self._bus.hash_set(self._bus.keys.last(con_id), fields)

    async def _refresh(self, now_ns: int) -> None:
        for con_id in await self._reference.load():
            if con_id in self.intake.bars:
                self.intake.bars[con_id].set_calendar(self._reference.calendar(con_id))
        has_unknown = any(con_id not in self._reference.infos for con_id in self.intake.bars)
        self._reference_due_ns = now_ns + (NS_PER_S if has_unknown else _REFERENCE_EVERY_NS)
        TOO_LATE.set(sum(built.too_late for built in self.intake.bars.values()))
        for resumption in self._resumptions.values():
            resumption.forget_before(now_ns - _FORGET_AFTER_NS)

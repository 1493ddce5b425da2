"""Keep streams bounded: by age and by length, held back by registered readers, but never past the retention.

Per stream three numbers decide, in this order:
1. `max_entries` and `max_age_s` are the retention. What is beyond either goes, whoever has not read it: that reader
   gets a `GapEvent`.
2. `keep_s` is how long an entry stays although everybody has read it: for people, for late starters, for a book rebuilt
   from the stream.
3. Between the two, entries go once every registered reader is past them. A reader whose registration is older than
   `reader_ttl_s` holds nothing back any more: it is gone.
4. The newest entry of a stream always stays: it is the state of `subscriptions`, whatever its age, and a stream's last
   id must not seem to go back.

`plan_trim` decides, `trim_pass` reads and carries out. One process per deployment runs `keep_bounded` (monitoring: its
Redis user may XTRIM what it may not write); two at once do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.bus.keys import Keys
from shared.bus.ports import FIRST, Bus, entry_order
from shared.clock import NS_PER_MS, NS_PER_S, Clock
from shared.errors import OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a stream keeps its entries."""

    max_age_s: float
    max_entries: int
    keep_s: float
    reader_ttl_s: float = DAY_S


ORDER_PATH = Retention(max_age_s=8 * DAY_S, max_entries=1_000_000, keep_s=8 * DAY_S)
"""Eight days like the ledger: risk's book, the strategies' positions and a take-over read these again."""
RECORDS = Retention(max_age_s=8 * DAY_S, max_entries=200_000, keep_s=DAY_S)
TICKS = Retention(max_age_s=2 * 3600.0, max_entries=100_000, keep_s=600.0)
BARS = Retention(max_age_s=3 * DAY_S, max_entries=200_000, keep_s=DAY_S)
REQUESTS = Retention(max_age_s=3600.0, max_entries=10_000, keep_s=60.0)
COUNT_CHUNK = 500
COUNT_LIMIT = 20_000
"""Entries over `max_entries` that one pass counts off at most: a pass is short, the next one goes on."""


def retentions(keys: Keys) -> dict[str, Retention]:
    """Return the retention of every stream of a deployment; `answers:<client>` expire by themselves."""
    order_path = (
        *(keys.intents, keys.cancels, keys.decisions, keys.commands, keys.cancel_commands),
        *(keys.orders, keys.fills, keys.control),
        keys.broker_status,  # few entries, and RECONCILED among them: without it a risk that restarts approves nothing
    )
    found = dict.fromkeys(order_path, ORDER_PATH)
    found |= dict.fromkeys((keys.account, keys.alerts, keys.dead_letter), RECORDS)
    found |= dict.fromkeys((keys.queries, keys.history_queries, keys.subscriptions), REQUESTS)
    for partition in range(keys.tick_partitions):
        found[keys.ticks(partition)] = TICKS
        found[keys.bars(partition)] = BARS
    return found


@dataclass(frozen=True, slots=True)
class ReaderPosition:
    """A registered reader: the last entry it took, and when it last said so (wall time)."""

    name: str
    entry_id: str
    seen_ns: int


def plan_trim(
    retention: Retention, readers: Sequence[ReaderPosition], now_ns: int, *, oldest_by_length: str = FIRST
) -> str:
    """Return the first entry id to keep; entries below it go. `0-0` keeps everything.

    Args:
        retention: the stream's.
        readers: who is registered.
        now_ns: wall time; entry ids are wall time too, by the server's clock.
        oldest_by_length: the oldest entry that `max_entries` allows.
    """
    forced = max(entry_order(oldest_by_length), _since(now_ns, retention.max_age_s))
    freely = max(forced, _since(now_ns, retention.keep_s))
    alive_since_ns = now_ns - int(retention.reader_ttl_s * NS_PER_S)
    for reader in readers:
        if reader.seen_ns >= alive_since_ns:
            milliseconds, sequence = entry_order(reader.entry_id)
            freely = min(freely, (milliseconds, sequence + 1))
    first = max(forced, freely)
    return f"{first[0]}-{first[1]}"


def _since(now_ns: int, age_s: float) -> tuple[int, int]:
    return max(0, (now_ns - int(age_s * NS_PER_S)) // NS_PER_MS), 0


async def register_reader(bus: Bus, stream: str, name: str, cursor: str, now_ns: int) -> None:
    """Note how far a reader is: until `reader_ttl_s` from now, what it has not read is held back."""
    await bus.hash_set(bus.keys.readers(stream), {name: f"{cursor} {now_ns}"})


async def forget_reader(bus: Bus, stream: str, name: str) -> None:
    """End a registration: the reader holds nothing back any more."""
    await bus.hash_delete(bus.keys.readers(stream), [name])


def parse_readers(stored: Mapping[str, bytes]) -> tuple[ReaderPosition, ...]:
    """Return the registered readers; a registration that cannot be read holds nothing back."""
    found = []
    for name, value in stored.items():
        entry_id, _, seen = value.decode(errors="replace").partition(" ")
        try:
            entry_order(entry_id)
            found.append(ReaderPosition(name, entry_id, int(seen)))
        except ValueError:
            continue
    return tuple(found)


async def trim_pass(bus: Bus, streams: Mapping[str, Retention], now_ns: int) -> dict[str, int]:
    """Trim every stream once; return how many entries went, for streams that lost any.

    Readers of the order path that keep their cursor in a script (`intents`, `cancels`, `commands`) need no
    registration: these streams keep everything for their whole retention.
    """
    trimmed = {}
    for stream, retention in streams.items():
        length = await bus.stream_length(stream)
        if not length:
            continue
        oldest = await _id_at(bus, stream, length - retention.max_entries)
        readers = parse_readers(await bus.hash_get_all(bus.keys.readers(stream)))
        planned = plan_trim(retention, readers, now_ns, oldest_by_length=oldest)
        before = min(planned, await bus.last_id(stream), key=entry_order)
        count = await bus.trim(stream, before=before)
        if count:
            trimmed[stream] = count
    return trimmed


async def _id_at(bus: Bus, stream: str, place: int) -> str:
    """Return the id of the entry at `place` from the oldest (0), at most `COUNT_LIMIT`."""
    left, first, found = min(place, COUNT_LIMIT), "-", FIRST
    while left > 0:
        step = min(left, COUNT_CHUNK)
        entries = await bus.read_range(stream, first=first, count=step + 1)
        if not entries:
            break
        found = first = entries[-1].entry_id
        if len(entries) <= step:
            break  # the stream became shorter meanwhile
        left -= step
    return found


async def keep_bounded(bus: Bus, clock: Clock, *, every_s: float = 60.0) -> None:
    """Run `trim_pass` over every stream of the deployment for ever, once a minute."""
    streams = retentions(bus.keys)
    while True:
        try:
            trimmed = await trim_pass(bus, streams, clock.wall_ns())
            if trimmed:
                get_logger().info("streams.trimmed", entries=sum(trimmed.values()), streams=sorted(trimmed))
        except (TransientError, OutcomeUnknown):
            pass  # away: trimming is idempotent, the next pass does it
        except Refused as e:
            # A user without the right to trim: said each time, since an unbounded server fills up in days.
            get_logger().error("retention.refused", error=str(e))
        await clock.sleep(every_s)

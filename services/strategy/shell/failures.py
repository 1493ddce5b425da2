"""Keep what a handler was told when it raised, and what was saved before: enough to run it again, anywhere, later.

A unit's commits are at most about a second apart, so a failure is the last commit and the entries since then, as they
were on the bus. They are copied at once: a stream may be trimmed, a state is overwritten. The last ten of each unit are
kept, in a hash of slots; `cq replay-event` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgpack

from services.strategy.core.history import ClosedBar
from services.strategy.shell.feed import RunningUnit, merged
from shared.bus.ports import Bus, Entry, UnitRecord, entry_order
from shared.errors import DecodeError, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.codec import decode_body, encode_body
from shared.messages.market import ContractInfo

SLOTS = 10
MOST_ENTRIES = 5000


@dataclass(frozen=True, slots=True)
class Failure:
    """One handler's error with everything that led to it.

    `event_id` is the entry that caused it, or `at-<wall ns>` for a timer, a start or a stop. `history` has
    `conId:bar size` → rows of `ClosedBar`.
    """

    unit: str
    event_id: str
    handler: str
    error: str
    where: str
    at_ns: int
    file: str
    class_name: str
    params: dict[str, Any]
    bars: list[str]
    rules: list[str] | None
    needs: dict[str, int]
    deployment: str
    partitions: int
    deployment_id: str
    account: str
    commit: int
    state: bytes
    timers: bytes
    cursors: dict[str, str]
    contracts: list[bytes]
    past: bytes = b""
    history: dict[str, list[list[float]]] = field(default_factory=dict)
    entries: list[tuple[str, str, dict[bytes, bytes]]] = field(default_factory=list)

    def pack(self) -> bytes:
        """Return it as bytes, to keep or to write into a file."""
        packed: bytes = msgpack.packb(asdict(self))
        return packed

    @classmethod
    def unpack(cls, content: bytes) -> Failure:
        """Read what `pack` wrote.

        Raises:
            DecodeError: it is something else.
        """
        try:
            values: dict[str, Any] = msgpack.unpackb(content, strict_map_key=False)
            values["entries"] = [(stream, entry_id, fields) for stream, entry_id, fields in values["entries"]]
            return cls(**values)
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as e:
            raise DecodeError(f"this is no kept failure of a strategy: {e}") from e

    def found_entries(self) -> list[Entry]:
        """Return the entries since the last commit, in the order in which they were handed out."""
        return [Entry(stream, entry_id, fields) for stream, entry_id, fields in self.entries]

    def record(self) -> UnitRecord:
        """Return the unit as it was saved last before."""
        return UnitRecord(self.commit, self.state, self.cursors, self.timers, past=self.past)

    def contract_infos(self) -> list[ContractInfo]:
        """Return the contracts of the unit."""
        found = [decode_body(ContractInfo.TYPE, body) for body in self.contracts]
        return [info for info in found if isinstance(info, ContractInfo)]


class Failures:
    """Keeps the failures of one worker's units; whatever goes wrong here stops nobody."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep_new(self, running: RunningUnit) -> None:
        """Keep the last error of a unit if it came since the last call; call it before the unit's next commit."""
        unit = running.unit
        if unit.saved.errors <= running.failures_kept:
            return
        running.failures_kept = unit.saved.errors
        try:
            failure = await self._failure_of(running)
            if failure is None:
                return
            slot = f"{failure.unit} {unit.saved.errors % SLOTS}"
            await self._bus.hash_set(self._bus.keys.strategy_failures, {slot: failure.pack()})
        except (TransientError, OutcomeUnknown) as e:
            get_logger().warning("failure.not_kept", unit=running.declared.unit_id, error=str(e))

    async def _failure_of(self, running: RunningUnit) -> Failure | None:
        unit, keys, spec = running.unit, self._bus.keys, running.declared.strategy
        last = unit.recent_errors[-1] if unit.recent_errors else None
        if last is None:
            return None
        record = await self._bus.load_unit(running.declared.unit_id)
        entries = await self._since(record, unit.cursors)
        return Failure(
            unit=str(running.declared.unit_id),
            event_id=last.event_id,
            handler=last.event,
            error=last.error,
            where=last.where,
            at_ns=last.at_ns,
            file=spec.file,
            class_name=spec.cls.__qualname__,
            params=spec.params.model_dump(mode="json"),
            bars=list(spec.bars),
            rules=None if spec.rules is None else [spec.rules.session, spec.rules.last_entry, spec.rules.flat_by],
            needs=dict(spec.history),
            deployment=keys.deployment,
            partitions=keys.tick_partitions,
            deployment_id=unit.identity.deployment_id,
            account=unit.identity.account,
            commit=record.commit,
            state=record.state,
            past=record.past,
            timers=record.timers,
            cursors=dict(record.cursors),
            contracts=[encode_body(info) for info in unit.contracts.values()],
            history={key: [list(_row(bar)) for bar in bars] for key, bars in unit.history.loaded.items()},
            entries=[(entry.stream, entry.entry_id, dict(entry.fields)) for entry in entries],
        )

    async def _since(self, record: UnitRecord, until: Mapping[str, str]) -> Sequence[Entry]:
        found = {}
        for stream, last in until.items():
            first = record.cursors.get(stream)
            if first is None or entry_order(first) >= entry_order(last):
                continue
            entries = await self._bus.read_range(stream, first=first, last=last, count=MOST_ENTRIES)
            found[stream] = [entry for entry in entries if entry.entry_id != first]
        return merged(found, MOST_ENTRIES + 1)


def _row(bar: ClosedBar) -> tuple[float, ...]:
    return (bar.ts_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap)

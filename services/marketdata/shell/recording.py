"""Record a deployment while leading: ticks, bars and the order path, entry by entry, and what a replay needs beside.

It reads the streams on its own, so that the way from ticks to bars does not wait for a disk; without
`MARKETDATA_RECORD_DIR` it does not run at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from services.marketdata.shell.recorder import Recorder
from shared.bus.keys import Keys
from shared.bus.ports import FIRST, Bus, Entry, LeaseToken
from shared.clock import NS_PER_S, Clock
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.codec import encode_fields
from shared.messages.requests import BarsAnswer

FLUSH_EVERY_S = 2.0
BLOCK_MS = 500
HISTORY = "history"
"""The recorded name of what units were given to look back on: no stream, the answers marketdata gave."""


def recorded_streams(keys: Keys) -> dict[str, str]:
    """Return the streams that are recorded: name in the recording → key, in the order in which workers read them."""
    partitions = range(keys.tick_partitions)
    found = {f"ticks:{partition}": keys.ticks(partition) for partition in partitions}
    found |= {f"bars:{partition}": keys.bars(partition) for partition in partitions}
    order_path = {"orders": keys.orders, "fills": keys.fills, "decisions": keys.decisions, "control": keys.control}
    return found | order_path | {"intents": keys.intents}


class Recording:
    """The leader's fourth loop."""

    def __init__(self, bus: Bus, recorder: Recorder, clock: Clock) -> None:
        self._bus = bus
        self._recorder = recorder
        self._clock = clock
        self._streams = recorded_streams(bus.keys)
        self._names = {key: name for name, key in self._streams.items()}
        self._units: dict[str, dict[str, Any]] = {}

    def note_history(self, answer: BarsAnswer) -> None:
        """Take a piece of the bars that a unit was given."""
        now_ns = self._clock.wall_ns()
        fields = encode_fields(answer, source="marketdata", now_ns=now_ns)
        as_bytes = {name.encode(): value for name, value in fields.items()}
        self._recorder.note(HISTORY, Entry(HISTORY, f"{now_ns // 1_000_000}-{now_ns % 1_000_000}", as_bytes))

    async def run(self, token: LeaseToken, may_act: Callable[[], bool]) -> None:
        """Record until the lease is lost, from where the recording stopped."""
        del token  # nothing is published: two recorders write each to a folder of its own
        try:
            stored = self._recorder.progress().cursors
        except BadInput as e:
            get_logger().error("recording.stopped", error=str(e))
            return
        cursors = {key: stored.get(name, FIRST) for name, key in self._streams.items()}
        due_ns = 0
        try:
            while may_act():
                try:
                    found = await self._bus.read(cursors, block_ms=BLOCK_MS)
                    for key, entries in found.items():
                        for entry in entries:
                            self._recorder.note(self._names[key], entry)
                            cursors[key] = entry.entry_id
                    if self._recorder.is_full or self._clock.monotonic_ns() >= due_ns:
                        await self._report_gaps(cursors)
                        await self._write_session()
                        await asyncio.to_thread(self._recorder.write, self._recorder.take())
                        due_ns = self._clock.monotonic_ns() + int(FLUSH_EVERY_S * NS_PER_S)
                except (TransientError, OutcomeUnknown) as e:
                    get_logger().debug("recording.waiting", error=str(e))
                    await self._clock.sleep(0.2)
        finally:
            self._recorder.flush()

    async def _report_gaps(self, cursors: dict[str, str]) -> None:
        for key, cursor in cursors.items():
            gap = None if cursor == FIRST else await self._bus.gap_after(key, cursor)
            if gap is not None:
                get_logger().warning("recording.missed_entries", stream=key, after=gap.after_id, next=gap.next_id)

    async def _write_session(self) -> None:
        """Write identity, contracts, and where each unit began and has come to: a replay goes from there to there."""
        keys = self._bus.keys
        for unit_id in await self._bus.hash_get_all(keys.strategies):
            record = await self._bus.load_unit(unit_id)
            if not record.state:
                continue
            if unit_id not in self._units:
                try:
                    state = json.loads(record.state)
                except ValueError:
                    continue  # its worker says so; here it is only not replayed from its beginning
                self._units[unit_id] = {"began": state.get("began", {}), "began_ns": state.get("began_ns", 0)}
            self._units[unit_id]["until"] = dict(record.cursors)
        content = {
            "version": 1,
            "deployment": keys.deployment,
            "tick_partitions": keys.tick_partitions,
            "identity": {k: v.decode() for k, v in (await self._bus.hash_get_all(keys.identity)).items()},
            "contract_names": {k: v.decode() for k, v in (await self._bus.hash_get_all(keys.contract_names)).items()},
            "contracts": await self._bus.hash_get_all(keys.contracts),
            "units": self._units,
        }
        self._recorder.write_session(content)

"""Carry out halt and resume: hold at the claim script (and at the guard), then cancel what must go, until it is gone.

Stages (architecture §4): `requested` is stored first, so that the claim script refuses what adds exposure; `holding`
is the acknowledgement, stored once nothing is between a claim and the socket, and the guard holds too. `clean`: no
order of ours that adds exposure rests at the broker any more. Stops and other orders that only reduce stay, as do
orders that are not ours, unless the operator said everything. Halts of a strategy or a contract are `latches.py`'s.

A missing state means halted; in sim mode the leader initialises it. The state is kept on this machine's disk as well,
and a halt that is newer than the last resume is set again after any loss (`core/halt_memory.py`).

A person may halt at the guard itself, while Redis is away. The leader that finds such a latch holds too, and writes the
halt into `control`, once, as its author gave it: so that risk, the page and the audit know of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from services.gateway.core.book import OrderBook
from services.gateway.core.halt_memory import HaltMemory, newer, recalled, recalled_latches, stored_memory
from services.gateway.core.halt_orders import must_go
from services.gateway.core.order_machine import OrderTrack
from services.gateway.shell.commands import Commands
from services.gateway.shell.guard import GuardControl
from services.gateway.shell.halt_file import HaltFile
from services.gateway.shell.latches import LatchDesk
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.reading import FencedReader
from services.gateway.shell.trading import Trading
from shared.bus.latches import ACCOUNT, WAITS, latch_of
from shared.bus.once import append_once
from shared.bus.ports import Bus, Entry
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock, iso_utc, parse_iso_utc
from shared.errors import BadInput, Fenced, OutcomeUnknown, Refused, TransientError
from shared.logs import get_logger
from shared.messages.codec import decode_fields
from shared.messages.control import Control, ControlAction, HaltStage, HaltStatus
from shared.settings import Mode

CANCEL_AGAIN_S = 1.0
BLOCK_MS = 250
UNKEPT = "unkept"
"""The field of the `halt` hash with the ids of entries of `control` that wait for their dead letter."""
LISTED = 200
"""How many orders a line of the log names."""


def hash_memory(stored: Mapping[str, str]) -> HaltMemory | None:
    """Return what the `halt` hash says; an unreadable time counts as the oldest."""
    try:
        at_ns = parse_iso_utc(stored.get("ts", ""))
    except ValueError:
        at_ns = 0
    return stored_memory(stored, at_ns)


_OURS = ("gateway", "guard")
"""Whose holds are no act of a person: that of a lost state, and what a gateway told the guard by itself."""


def _is_of(found: HaltMemory, at_guard: HaltMemory) -> bool:
    """Return whether a halt is one that a person told the guard, and nobody else."""
    is_same = (found.who, found.reason) == (at_guard.who, at_guard.reason)
    return found.is_halted and at_guard.is_halted and not found.control_id and is_same and found.who not in _OURS


def _said_at_guard(found: HaltMemory, now_ns: int) -> Control:
    """Return the entry of a halt that the guard was told; its id is made of when, so there is one of it."""
    when = iso_utc(found.at_ns)
    return Control(
        ts_init_ns=now_ns, control_id=f"guard:{found.at_ns}", action=ControlAction.HALT, who=found.who,
        reason=f"{found.reason} (told to the guard at {when})",
    )  # fmt: skip


class HaltDesk:
    """The leader's side of the halt."""

    def __init__(
        self, bus: Bus, outbox: Outbox, book: OrderBook, commands: Commands, trading: Trading, guard: GuardControl, *,
        mode: Mode, source: str, has_lease: Callable[[], bool], file: HaltFile | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._outbox = outbox
        self._book = book
        self._commands = commands
        self._trading = trading
        self._guard = guard
        self._file = file
        self._mode = mode
        self._source = source
        self._has_lease = has_lease
        self._clock = clock
        reader = FencedReader(bus, has_lease, block_ms=BLOCK_MS, clock=clock)
        self._read, self._retry = reader.read, reader.until_done
        self.latches = LatchDesk(book, commands, trading, guard, self._store, clock)
        self.stage = HaltStage.REQUESTED
        self._control_id = ""
        self._who = ""
        self._reason = ""
        self._everything = False
        self._cancel_ns = 0
        self._cursor = "0-0"
        self.on_other: Callable[[Control], None] = lambda _control: None
        """Takes every control that is no halt or resume; `control` has one reader here, and one cursor."""
        self.on_foreign: Callable[[list[OrderTrack]], None] = lambda _tracks: None
        """Takes the orders of ours that live under another client id and must go (`adoption.py`)."""
        self.ask_list: Callable[[], None] = lambda: None
        """Has the broker's list of everybody's open orders asked for, at once."""
        self.listed_ns: Callable[[], int] = lambda: 1 << 62
        """Returns when the last complete list was asked for, monotonic; `clean` needs one newer than the halt."""
        self.positions: Callable[[], Mapping[int, Decimal] | None] = lambda: None
        """Returns the account's positions by conId, None while the broker has not listed them."""
        self._began_ns = 0
        self._at_guard: HaltMemory | None = None
        """A halt that the guard was told directly, and `control` was not."""
        self._unkept: dict[str, tuple[Entry, str]] = {}
        """Unreadable entries by id, with what is wrong: taken for halts, and not yet among the dead letters."""

    async def restore(self, *, redis_epoch: int = 0, at_guard: HaltMemory | None = None) -> None:
        """Read the stored states before any command is consumed; a missing one is set up.

        Args:
            redis_epoch: the highest epoch that Redis knew before this leadership.
            at_guard: what the guard holds, if it was asked: `cq halt` tells it directly while Redis is away.
        """
        stored = {name: value.decode() for name, value in (await self._retry(self._stored)).items()}
        self._cursor = stored.get("cursor", "0-0")
        for entry_id in stored.get(UNKEPT, "").split():
            await self._recall_unkept(entry_id)
        known = hash_memory(stored)
        kept = self._file.load() if self._file is not None else None
        self.latches.restore(recalled_latches(known, kept))
        if at_guard is not None and at_guard.is_halted:
            kept = newer(kept, at_guard)
        found = recalled(known, kept, is_sim=self._mode is Mode.SIM, redis_epoch=redis_epoch)
        self._control_id, self._who = found.control_id, found.who
        self._reason, self._everything = found.reason, found.everything
        self._at_guard = at_guard if at_guard is not None and _is_of(found, at_guard) else None
        # A halt is seen clean, and the guard holding, anew in each leadership.
        self.stage = HaltStage.REQUESTED if found.is_halted else HaltStage.NONE
        if found is not known:
            get_logger().warning("halt.recalled", is_halted=found.is_halted, who=found.who, reason=found.reason)
        if known is None or found is not known or known.latches != self.latches.fields():
            await self._store()
        else:
            self._keep(known)
        stale = [name for name, text in stored.items() if name.startswith(WAITS) or (not text and ":" in name)]
        if stale:
            await self._retry(lambda: self._bus.hash_delete(self._bus.keys.halt, stale))
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Take what `control` says since: no command may go out while a halt that was asked for waits to be read."""
        stream = self._bus.keys.control
        while entries := (await self._retry(lambda: self._bus.read({stream: self._cursor}))).get(stream):
            for entry in entries:
                await self._entry(entry)

    async def _stored(self) -> dict[str, bytes]:
        return await self._bus.hash_get_all(self._bus.keys.halt)

    async def _store(self, is_hold: bool | None = None) -> None:  # noqa: FBT001 - `LatchDesk` names it
        if not self._has_lease():
            raise Fenced("the lease ran out")
        values = {
            "stage": str(self.stage), "control_id": self._control_id, "who": self._who, "reason": self._reason,
            "everything": "1" if self._everything else "0", "ts": iso_utc(self._clock.wall_ns()),
            "cursor": self._cursor, UNKEPT: " ".join(self._unkept), **self.latches.fields(),
        }  # fmt: skip

        def act() -> Awaitable[None]:
            return self._bus.hash_set(self._bus.keys.halt, values)

        found = hash_memory(values)
        assert found is not None
        if found.is_halted if is_hold is None else is_hold:
            self._keep(found)  # a halt is known here first, a resume there: what is lost between them holds
        await self._retry(act)
        self._keep(found)

    def _keep(self, found: HaltMemory) -> None:
        if self._file is not None:
            self._file.keep(found)

    async def run(self) -> None:
        """Follow `control` and work towards `clean`, until cancelled."""
        stream = self._bus.keys.control
        self._show()
        while True:
            for entry in await self._read(stream, self._cursor):
                await self._entry(entry)
            await self._keep_unreadable()
            await self._heed_guard()
            if foreign := await self.latches.work(self.positions()):
                self.on_foreign(foreign)
            if self.stage in (HaltStage.REQUESTED, HaltStage.HOLDING, HaltStage.CLEAN):
                await self._work()

    async def _heed_guard(self) -> None:
        """Take a halt that the guard was told directly, and see that `control` has it."""
        if self.stage is HaltStage.NONE and self._guard.is_holding:
            found = await self._guard.halt_memory()  # asked anew: what was seen may be older than our own resume
            if found is None or not found.is_halted:
                return
            await self.halt("", found.who, found.reason)
            self._at_guard = found if found.who not in _OURS else None
        if self._at_guard is not None:
            said = _said_at_guard(self._at_guard, self._clock.wall_ns())
            try:
                await self._retry(lambda: self._tell_once(said))
            except Refused as e:  # a Redis user of an older release may not write there: it holds all the same
                get_logger().error("halt.not_recorded", who=said.who, reason=said.reason, error=str(e))
            self._at_guard = None

    async def _tell_once(self, control: Control) -> None:
        if await append_once(self._bus, self._bus.keys.control, control, source=self._source):
            get_logger().warning("halt.recorded", who=control.who, reason=control.reason)

    async def _entry(self, entry: Entry) -> None:
        self._cursor = entry.entry_id
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput as e:
            await self._unreadable(entry, str(e))
            return
        latch, is_set = (latch_of(message) if isinstance(message, Control) else None) or ("", False)
        if not isinstance(message, Control):
            await self._retry(self._keep_cursor)
        elif latch == ACCOUNT and is_set:
            if message.action is ControlAction.FLATTEN and self.stage is not HaltStage.NONE:
                await self._retry(self._keep_cursor)  # it is held already, and risk closes what is owned
            else:
                await self.halt(message.control_id, message.who, message.reason, everything=message.everything)
        elif latch == ACCOUNT:
            await self._resume(message)
        elif not latch or not await self.latches.take(message, latch, is_set=is_set):
            await self._retry(self._keep_cursor)  # first, so that a successor does not carry it out again
            self.on_other(message)

    async def _keep_cursor(self) -> None:
        await self._bus.hash_set(self._bus.keys.halt, {"cursor": self._cursor})

    async def _unreadable(self, entry: Entry, error: str) -> None:
        """An unreadable entry of `control` could have been a halt: it is taken for one (P10)."""
        get_logger().error("entry.dead_lettered", stream=entry.stream, entry_id=entry.entry_id, error=error)
        self._unkept[entry.entry_id] = (entry, error)
        await self.halt(entry.entry_id, "gateway", f"an entry of control could not be read: {error}")
        if why := await self._keep_unreadable():
            get_logger().error("dead_letter.waits", stream=entry.stream, entry_id=entry.entry_id, error=why)

    async def _keep_unreadable(self) -> str:
        """Dead-letter what could not be read; return why one waits: a full Redis takes a halt, but no dead letter."""
        while self._unkept:
            entry_id, (entry, error) = next(iter(self._unkept.items()))
            try:
                await self._bus.dead_letter(entry, consumer=self._source, error=error)
            except (TransientError, OutcomeUnknown) as e:
                return str(e)
            del self._unkept[entry_id]
            await self._retry(self._store_unkept)
        return ""

    async def _store_unkept(self) -> None:
        await self._bus.hash_set(self._bus.keys.halt, {UNKEPT: " ".join(self._unkept)})

    async def _recall_unkept(self, entry_id: str) -> None:
        """Take over a dead letter that a predecessor could not write."""
        stream = self._bus.keys.control
        for entry in await self._retry(lambda: self._bus.read_range(stream, first=entry_id, last=entry_id)):
            try:
                decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream)
            except BadInput as e:
                self._unkept[entry_id] = (entry, str(e))

    async def halt(self, control_id: str, who: str, reason: str, *, everything: bool = False) -> None:
        """Hold: returns when nothing that adds exposure passes any more."""
        self._control_id, self._who, self._reason = control_id, who, reason
        self._everything = everything or (self._everything and self.stage is not HaltStage.NONE)
        async with self._commands.sending:  # what was claimed is written; what comes next meets the new stage
            self.stage = HaltStage.REQUESTED
            await self._store()  # the claim script refuses from here on; HOLDING is said once the guard holds, too
        self._cancel_ns, self._began_ns = 0, self._clock.monotonic_ns()
        self.ask_list()
        if not await self._hold():
            self._show()

    async def _hold(self) -> bool:
        """Ask the guard, and acknowledge the halt once it holds: a predecessor's bytes may be on their way to it."""
        if not await self._guard.halt(self._who, self._reason):
            return False
        self.stage = HaltStage.HOLDING
        await self._store()
        get_logger().warning("halt.holding", who=self._who, reason=self._reason, everything=self._everything)
        self._show()
        return True

    async def _resume(self, message: Control) -> None:
        if not await self._guard.resume(message.who, message.reason):
            get_logger().error("resume.refused_by_guard", who=message.who)
            await self._retry(self._keep_cursor)
            return
        self.stage = HaltStage.NONE
        self._everything = False
        self._control_id, self._who, self._reason = message.control_id, message.who, message.reason
        await self._store()
        get_logger().warning("halt.resumed", who=message.who, reason=message.reason)
        self._show()

    async def _work(self) -> None:
        if self.stage is HaltStage.REQUESTED and not await self._hold():
            return
        left = self.must_go()
        if not left:
            if self.stage is not HaltStage.CLEAN and self._trading.can_send and self.listed_ns() > self._began_ns:
                self.stage = HaltStage.CLEAN
                self._everything = False  # that word was about what worked then: what comes by hand from now on stays
                await self._store()
                get_logger().warning("halt.clean")
                self._show()
            return
        if self.stage is HaltStage.CLEAN:
            self.stage = HaltStage.HOLDING
            await self._store()
            self._show()
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._cancel_ns:
            self._cancel_ns = now_ns + int(CANCEL_AGAIN_S * NS_PER_S)
            await self._cancel(left)

    async def _cancel(self, left: list[OrderTrack]) -> None:
        session = self._trading.session
        if self._everything and session is not None and session.is_open and self._has_lease():
            get_logger().warning(
                "halt.cancelling_everything", orders=[track.key for track in left[:LISTED]], count=len(left)
            )
            session.cancel_everything()
            return
        ids = (0, self._trading.client_id)
        foreign = [track for track in left if track.client_id not in ids]
        if foreign:
            self.on_foreign(foreign)
        try:
            async with asyncio.timeout(5.0):
                for track in [track for track in left if track.client_id in ids]:
                    await self._commands.cancel(track, f"halt by {self._who}")
        except TimeoutError:
            get_logger().warning("halt.cancels_waiting", orders=len(left))

    def must_go(self) -> list[OrderTrack]:
        """Return the open orders that this halt cancels."""
        return must_go(self._book.open_tracks(), self.positions(), everything=self._everything)

    @property
    def is_holding(self) -> bool:
        """Return whether anything is halted: the account, a strategy or a contract."""
        return self.stage is not HaltStage.NONE or any(self.latches.fields().values())

    def is_wanted_gone(self, track: OrderTrack) -> bool:
        """Return whether the halt that asked for an order's end, of the account or of a part of it, still stands."""
        return self.stage is not HaltStage.NONE or self.latches.halts(track)

    def _show(self) -> None:
        self._outbox.put(
            self._bus.keys.broker_status,
            HaltStatus(
                ts_init_ns=self._clock.wall_ns(), stage=self.stage, control_id=self._control_id, who=self._who,
                reason=self._reason, orders_left=len(self.must_go()) if self.stage is not HaltStage.NONE else 0,
            ),
        )  # fmt: skip

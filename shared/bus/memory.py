"""The bus in memory: for tests of shells and for simulations; passes the conformance suite of the Redis bus.

It keeps the semantics that matter: fenced acts are all or nothing, an incarnation can change (`restart`), and it can be
`away`. Fields are encoded and decoded like on the wire. One `MemoryServer` is shared by any number of `MemoryBus`es.
"""

from __future__ import annotations

import asyncio
import fnmatch
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.bus.dead_letter import dead_letter_fields
from shared.bus.keys import Keys
from shared.bus.latches import ACCOUNT, latch_of, latches_on
from shared.bus.memory_server import MemoryGroups, MemoryServer
from shared.bus.ports import (
    FIRST,
    ClaimRequest,
    ClaimResult,
    Entry,
    LeaseToken,
    LeaseView,
    LedgerRow,
    UnitCommit,
    UnitRecord,
    entry_order,
)
from shared.errors import BadInput, BusUnavailable, Fenced, Refused
from shared.messages.base import Message
from shared.messages.codec import decode_fields, encode_fields
from shared.messages.control import Control, GapEvent
from shared.messages.market import TICKS_TYPE
from shared.messages.orders import CancelCommand, Command, Commission, Decision, Fill, OrderEvent


class MemoryBus(MemoryGroups):
    """`shared.bus.ports.Bus` on a `MemoryServer`."""

    url = "memory:"
    client_name = "memory"

    def __init__(self, server: MemoryServer, keys: Keys) -> None:
        self._server = server
        self._keys = keys

    @property
    def keys(self) -> Keys:
        """Return the names of this deployment."""
        return self._keys

    def _here(self) -> MemoryServer:
        if self._server.is_away:
            raise BusUnavailable("the memory bus is away")
        return self._server

    def _check(self, token: LeaseToken) -> MemoryServer:
        server = self._server
        self._held(token)
        fence = server.fences.get(self._keys.fence(token.role), 0)
        if fence != token.epoch:
            raise Fenced(f"the fence stands at {fence}")
        return server

    def _encode(self, message: Message, source: str, epoch: int) -> dict[str, bytes]:
        return encode_fields(message, source=source, epoch=epoch, now_ns=self._server.clock.wall_ns())

    async def incarnation(self) -> str:
        """Return the server's incarnation."""
        return str(self._here().life)

    async def server_facts(self) -> dict[str, str]:
        """Return what a server set up well says."""
        self._here()
        return {"redis_version": "7.0.0", "maxmemory_policy": "noeviction", "aof_enabled": "1"}

    async def close(self) -> None:
        """Do nothing."""

    async def load_functions(self) -> None:
        """Do nothing: there is no server to load into."""

    # -- appending and reading

    async def append(self, stream: str, message: Message, *, source: str, epoch: int = 0) -> str:
        """Append one message without a lease."""
        return self._here().add(stream, self._encode(message, source, epoch))

    async def answer(self, client: str, message: Message, *, source: str, epoch: int = 0) -> None:
        """Append to a client's answer stream."""
        await self.append(self._keys.answers(client), message, source=source, epoch=epoch)

    async def dead_letter(self, entry: Entry, *, consumer: str, error: str) -> None:
        """Keep an entry that could not be handled."""
        self._here().add(self._keys.dead_letter, dead_letter_fields(entry, consumer=consumer, error=error))

    def _after(self, cursors: Mapping[str, str], count: int) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for stream, cursor in cursors.items():
            after = entry_order(cursor)
            entries = [entry for entry in self._here().streams.get(stream, []) if entry_order(entry.entry_id) > after]
            if entries:
                found[stream] = entries[:count]
        return found

    async def read(
        self,
        cursors: Mapping[str, str],
        *,
        count: int = 500,
        block_ms: int | None = None,
        beside: Mapping[str, str] | None = None,
    ) -> dict[str, list[Entry]]:
        """Return entries after each cursor; wait for one change, at most `block_ms`."""
        if beside:
            found = self._after(cursors, count)
            if not found and block_ms is not None:
                try:
                    async with asyncio.timeout(block_ms / 1000):
                        while not (found := self._after(cursors, count)):
                            await self._server.changed.wait()
                except TimeoutError:
                    found = {}
            return {**found, **self._after(beside, count)}
        found = self._after(cursors, count)
        if found or block_ms is None:
            return found
        changed = self._server.changed
        try:
            async with asyncio.timeout(block_ms / 1000):
                await changed.wait()
        except TimeoutError:
            return {}
        return self._after(cursors, count)

    async def read_range(
        self, stream: str, *, first: str = "-", last: str = "+", count: int | None = None
    ) -> list[Entry]:
        """Return entries from `first` to `last`, both included."""
        low = (0, 0) if first == "-" else entry_order(first)
        high = (1 << 62, 0) if last == "+" else entry_order(last)
        stored = self._here().streams.get(stream, [])
        entries = [entry for entry in stored if low <= entry_order(entry.entry_id) <= high]
        return entries if count is None else entries[:count]

    async def read_last(self, stream: str, count: int) -> list[Entry]:
        """Return the last `count` entries, oldest first."""
        return self._here().streams.get(stream, [])[-count:]

    async def last_id(self, stream: str) -> str:
        """Return the last generated id of a stream, `0-0` if it has never had an entry."""
        return self._here().last_ids.get(stream, FIRST)

    async def stream_length(self, stream: str) -> int:
        """Return how many entries a stream holds."""
        return len(self._here().streams.get(stream, []))

    async def count_after(self, stream: str, cursor: str, *, limit: int = 100_000) -> int:
        """Return how many entries lie after a cursor."""
        return len(self._after({stream: cursor}, limit).get(stream, []))

    async def gap_after(self, stream: str, cursor: str) -> GapEvent | None:
        """Return the gap after a cursor, if entries were trimmed there."""
        deleted = self._here().trimmed.get(stream)
        if deleted is None or entry_order(deleted) <= entry_order(cursor):
            return None
        entries = self._server.streams.get(stream)
        return GapEvent(stream=stream, after_id=cursor, next_id=entries[0].entry_id if entries else deleted)

    async def trim(self, stream: str, *, before: str) -> int:
        """Delete entries with an id below `before`."""
        entries = self._here().streams.get(stream, [])
        old = [entry for entry in entries if entry_order(entry.entry_id) < entry_order(before)]
        if old:
            self._server.trimmed[stream] = old[-1].entry_id
            self._server.streams[stream] = entries[len(old) :]
        return len(old)

    async def get_cursor(self, stream_name: str) -> str:
        """Return the committed cursor of a single fenced reader."""
        stored = await self.get_text(self._keys.cursor(stream_name))
        return stored.decode() if stored else "0-0"

    # -- snapshots

    async def hash_set(self, key: str, values: Mapping[str, str | bytes], *, expire_s: float | None = None) -> None:
        """Set fields of a hash; expiry of hashes is not modelled."""
        _ = expire_s
        target = self._here().hashes.setdefault(key, {})
        target.update({name: value.encode() if isinstance(value, str) else value for name, value in values.items()})

    async def hash_get_all(self, key: str) -> dict[str, bytes]:
        """Return a hash, empty when missing."""
        return dict(self._here().hashes.get(key, {}))

    async def hash_delete(self, key: str, fields: Sequence[str]) -> None:
        """Delete fields of a hash."""
        for name in fields:
            self._here().hashes.get(key, {}).pop(name, None)

    async def set_text(self, key: str, value: str | bytes, *, expire_s: float | None = None) -> None:
        """Set a string."""
        until = None if expire_s is None else self._server.clock.monotonic_ns() + int(expire_s * 1e9)
        self._here().texts[key] = (value.encode() if isinstance(value, str) else value, until)

    async def get_text(self, key: str) -> bytes | None:
        """Return a string, None when missing or expired."""
        stored = self._here().texts.get(key)
        if stored is None or (stored[1] is not None and stored[1] <= self._server.clock.monotonic_ns()):
            return None
        return stored[0]

    async def scan(self, pattern: str) -> list[str]:
        """Return the keys that match a glob pattern, sorted."""
        server = self._here()
        alive = [key for key in server.texts if await self.get_text(key) is not None]
        return sorted(key for key in (*alive, *server.hashes, *server.streams) if fnmatch.fnmatchcase(key, pattern))

    # -- leases

    async def lease_view(self, role: str) -> LeaseView:
        """Return the stored lease."""
        return self._here().leases.get(self._keys.lease(role), LeaseView())

    async def lease_acquire(self, role: str, owner: str, seen: LeaseView, *, at_least_epoch: int) -> LeaseToken | None:
        """Replace the lease if it still equals `seen`."""
        server = self._here()
        stored = await self.lease_view(role)
        if stored != seen:
            return None
        epoch = max(stored.epoch, server.fences.get(self._keys.fence(role), 0), at_least_epoch) + 1
        server.leases[self._keys.lease(role)] = LeaseView(owner, epoch, str(server.life), 1)
        return LeaseToken(role, owner, epoch, str(server.life))

    async def lease_renew(self, token: LeaseToken) -> LeaseView:
        """Count the lease up."""
        return self.renew_now(token)

    def _held(self, token: LeaseToken) -> LeaseView:
        """Return the stored lease if it is the token's."""
        server = self._here()
        stored = server.leases.get(self._keys.lease(token.role), LeaseView())
        if (stored.owner, stored.epoch, stored.incarnation) != (token.owner, token.epoch, token.incarnation):
            raise Fenced(f"the lease is {stored.owner or 'nobody'}'s, epoch {stored.epoch}")
        if str(server.life) != token.incarnation:
            raise Fenced("the server is another incarnation")
        return stored

    def renew_now(self, token: LeaseToken) -> LeaseView:
        """Count the lease up without waiting."""
        stored = self._held(token)
        renewed = replace(stored, counter=stored.counter + 1)
        self._server.leases[self._keys.lease(token.role)] = renewed
        return renewed

    def open_renewal(self, token: LeaseToken, *, limit_s: float) -> MemoryRenewal:
        """Return what renews this lease from the elector's thread."""
        _ = limit_s
        return MemoryRenewal(self, token)

    async def lease_release(self, token: LeaseToken) -> None:
        """Give the lease up if it is still ours."""
        stored = await self.lease_view(token.role)
        if (stored.owner, stored.epoch, stored.incarnation) == (token.owner, token.epoch, token.incarnation):
            self._server.leases[self._keys.lease(token.role)] = replace(stored, owner="", counter=0)

    async def raise_fence(self, token: LeaseToken) -> None:
        """From now on only this epoch of the role publishes."""
        self._held(token)
        key = self._keys.fence(token.role)
        if self._server.fences.get(key, 0) > token.epoch:
            raise Fenced(f"the fence stands at {self._server.fences[key]}")
        self._server.fences[key] = token.epoch

    # -- fenced acts

    def _move(self, stream_name: str, entry_id: str) -> None:
        if entry_id:
            self._server.texts[self._keys.cursor(stream_name)] = (entry_id.encode(), None)

    async def publish(self, token: LeaseToken, entries: Sequence[tuple[str, Message]], *, source: str) -> list[str]:
        """Append messages to streams under a lease, all or none."""
        if not entries:
            return []
        server = self._check(token)
        encoded = [(stream, self._encode(message, source, token.epoch)) for stream, message in entries]
        return [server.add(stream, fields) for stream, fields in encoded]

    async def publish_ticks(self, token: LeaseToken, batches: Sequence[tuple[int, bytes]], *, source: str) -> None:
        """Append packed batches to the tick streams under a lease."""
        server = self._check(token)
        head = {"type": TICKS_TYPE.encode(), "source": source.encode(), "epoch": str(token.epoch).encode()}
        for partition, body in batches:
            server.add(self._keys.ticks(partition), {**head, "body": body})

    async def decide(
        self, token: LeaseToken, *, entry_id: str, decision: Decision, command: Command | None, source: str
    ) -> bool:
        """Write the one decision of an intent, its command, and move the cursor of `intents`."""
        server = self._check(token)
        key = self._keys.decided(decision.intent_id)
        is_new = key not in server.texts
        if is_new and command is not None and command.incarnation != token.incarnation:
            raise Refused("RISK_INCARNATION", "the intent was made in another incarnation")
        if is_new:
            entry = server.add(self._keys.decisions, self._encode(decision, source, token.epoch))
            if command is not None:
                server.add(self._keys.commands, self._encode(command, source, token.epoch))
            await self.set_text(key, entry)
        self._move("intents", entry_id)
        return is_new

    async def pass_cancel(
        self, token: LeaseToken, *, entry_id: str, command: CancelCommand | None, source: str
    ) -> None:
        """Write a cancel command and move the cursor of `cancels`."""
        server = self._check(token)
        if command is not None:
            server.add(self._keys.cancel_commands, self._encode(command, source, token.epoch))
        self._move("cancels", entry_id)

    async def skip_entry(self, token: LeaseToken, stream_name: str, entry_id: str) -> None:
        """Move the cursor of a single fenced reader past an entry."""
        self._check(token)
        self._move(stream_name, entry_id)

    def _waiting(self, cursor: bytes | None) -> set[str]:
        """Return the latches that are set in `control` by what the leader has not read yet."""
        if cursor is None:
            return set()
        found, stream = set(), self._keys.control
        for entry in self._after({stream: cursor.decode()}, sys.maxsize).get(stream, []):
            try:
                message = decode_fields(entry.fields).message
            except BadInput:
                return {ACCOUNT}
            if not isinstance(message, Control):
                return {ACCOUNT}
            latch, is_set = latch_of(message) or ("", False)
            if is_set:
                found.add(latch)
        return found

    async def _halted(self, request: ClaimRequest) -> ClaimResult | None:
        halt = await self.hash_get_all(self._keys.halt)
        waiting = self._waiting(halt.get("cursor"))
        if halt.get("stage") != b"none" or ACCOUNT in waiting:
            return ClaimResult.REFUSED_HALTED
        if any(halt.get(latch) or latch in waiting for latch in latches_on(request.strategy, request.con_id)):
            return ClaimResult.REFUSED_SCOPE_HALTED
        return None

    async def _judge(self, token: LeaseToken, request: ClaimRequest) -> ClaimResult:
        stored = self._server.ledgers.get(request.intent_id, {})
        if any(leg in stored for leg in range(request.legs)):
            return ClaimResult.REFUSED_CANCELLED_FIRST
        if request.made_in != token.incarnation:
            return ClaimResult.REFUSED_STALE
        if request.now_ns > request.not_after_ns:
            return ClaimResult.REFUSED_EXPIRED
        if request.is_in_window and not request.is_reducing:
            return ClaimResult.REFUSED_WINDOW
        if request.is_reducing:
            return ClaimResult.CLAIMED
        return await self._halted(request) or ClaimResult.CLAIMED

    async def claim(self, token: LeaseToken, request: ClaimRequest, *, source: str) -> list[LedgerRow]:
        """Write the one final result per leg with its order events and move the cursor of `commands`."""
        server = self._check(token)
        result = await self._judge(token, request)
        is_claimed = result is ClaimResult.CLAIMED
        events = request.if_claimed if is_claimed else request.if_refused.get(result, ())
        ledger = server.ledgers.setdefault(request.intent_id, {})
        answer = []
        for leg in range(request.legs):
            if leg in ledger:
                answer.append(replace(ledger[leg], is_new=False))
                if result is ClaimResult.REFUSED_CANCELLED_FIRST and ledger[leg].order_id == -1 and leg < len(events):
                    # A cancel closed it when its terms were not known: the claim that knows them writes its outcome.
                    ledger[leg] = replace(ledger[leg], order_id=0)
                    server.add(self._keys.orders, self._encode(events[leg], source, token.epoch))
                continue
            order_id = request.order_ids[leg] if is_claimed else 0
            row = LedgerRow(leg, result, request.client_id if is_claimed else 0, order_id, token.epoch, is_new=True)
            ledger[leg] = row
            answer.append(row)
            if is_claimed:
                ids = server.hashes.setdefault(self._keys.order_ids, {})
                known = int(ids.get(str(request.client_id), b"0"))
                ids[str(request.client_id)] = str(max(known, order_id)).encode()
            if leg < len(events):
                server.add(self._keys.orders, self._encode(events[leg], source, token.epoch))
        self._move("commands", request.cursor_entry)
        return answer

    async def ledger_rows(self, intent_id: str) -> list[LedgerRow]:
        """Return the stored claim results of an intent, by leg."""
        rows = self._here().ledgers.get(intent_id, {})
        return [replace(rows[leg], is_new=False) for leg in sorted(rows)]

    async def cancel_first(
        self,
        token: LeaseToken,
        *,
        intent_id: str,
        legs: Sequence[int],
        events: Sequence[OrderEvent],
        entry_id: str,
        source: str,
    ) -> list[LedgerRow]:
        """Close unclaimed legs as `cancelled_first` and move the cursor."""
        server = self._check(token)
        ledger = server.ledgers.setdefault(intent_id, {})
        answer = []
        for number, leg in enumerate(legs):
            if leg in ledger:
                answer.append(replace(ledger[leg], is_new=False))
                continue
            written = 0 if number < len(events) else -1  # -1: the claim that may come writes the outcome
            ledger[leg] = LedgerRow(
                leg, ClaimResult.REFUSED_CANCELLED_FIRST, order_id=written, epoch=token.epoch, is_new=True
            )
            answer.append(ledger[leg])
            if number < len(events):
                server.add(self._keys.orders, self._encode(events[number], source, token.epoch))
        self._move("cancel-commands", entry_id)
        return answer

    async def publish_fills(self, token: LeaseToken, fills: Sequence[Fill | Commission], *, source: str) -> list[bool]:
        """Append executions not yet in the index; True per entry that was new."""
        server = self._check(token) if fills else self._here()
        answer = []
        for fill in fills:
            stem = fill.exec_stem if isinstance(fill, Fill) else f"commission:{fill.exec_id}"
            revision = fill.revision if isinstance(fill, Fill) else 1
            key = self._keys.fill_index(fill.account, stem)
            known = server.texts.get(key)
            is_new = known is None or int(known[0]) < revision
            if is_new:
                server.add(self._keys.fills, self._encode(fill, source, token.epoch))
                await self.set_text(key, str(revision))
            answer.append(is_new)
        return answer

    # -- strategy units

    async def load_unit(self, unit_id: str) -> UnitRecord:
        """Return a unit as last committed."""
        return self._here().units.get(unit_id, UnitRecord())

    async def take_unit(self, token: LeaseToken, unit_id: str, *, seen: UnitRecord) -> bool:
        """Become a unit's owner if its owner is still the one seen."""
        server = self._check(token)
        stored = await self.load_unit(unit_id)
        if (stored.owner, stored.epoch) != (seen.owner, seen.epoch):
            return False
        server.units[unit_id] = replace(stored, owner=token.owner, epoch=token.epoch)
        return True

    async def release_unit(self, token: LeaseToken, unit_id: str) -> bool:
        """Give a unit up; False if it is another's already."""
        server = self._check(token)
        stored = await self.load_unit(unit_id)
        if (stored.owner, stored.epoch) != (token.owner, token.epoch):
            return False
        server.units[unit_id] = replace(stored, owner="", epoch=0)
        return True

    async def commit_unit(self, token: LeaseToken, commit: UnitCommit, *, source: str) -> bool:
        """Save a unit's commit and append its intents; False if this commit was saved before."""
        server = self._check(token)
        stored = await self.load_unit(commit.unit_id)
        if (stored.owner, stored.epoch) != (token.owner, token.epoch):
            raise Fenced(f"the unit is {stored.owner or 'nobody'}'s")
        if commit.commit == stored.commit:
            return False
        if commit.commit != stored.commit + 1:
            raise Fenced(f"commit {commit.commit} does not follow {stored.commit}")
        server.units[commit.unit_id] = replace(
            stored,
            commit=commit.commit,
            state=commit.state,
            timers=commit.timers,
            cursors={**stored.cursors, **commit.cursors},
            past=stored.past if commit.past is None else commit.past,
        )
        for intent in commit.intents:
            server.add(self._keys.intents, self._encode(intent, source, token.epoch))
        for cancel in commit.cancels:
            server.add(self._keys.cancels, self._encode(cancel, source, token.epoch))
        return True


class MemoryRenewal:
    """Renews one lease of a memory bus from another thread; a dict lookup and a replacement, atomic under the GIL."""

    def __init__(self, bus: MemoryBus, token: LeaseToken) -> None:
        self._bus = bus
        self._token = token

    def renew(self) -> None:
        """Count the lease up."""
        self._bus.renew_now(self._token)

    def close(self) -> None:
        """Do nothing."""

"""The bus on Redis: appends, readers, snapshots, leases and the fenced scripts of one deployment.

`open_bus` opens it; nothing is connected before the first call, so that a service may start before its Redis.
Reads block on a connection of their own out of the pool, in slices, and are never cancelled half-way by us.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from shared.bus.keys import Keys
from shared.bus.ports import (
    ClaimRequest,
    ClaimResult,
    Entry,
    LeaseToken,
    LeaseView,
    LedgerRow,
    UnitCommit,
    UnitRecord,
)
from shared.bus.redis_link import REPLY_LIMIT_S, RedisLink
from shared.bus.scripts import LEDGER_KEEP_S, pack_entries, pack_entry
from shared.clock import SYSTEM_CLOCK
from shared.errors import BusUnavailable
from shared.messages.base import Message
from shared.messages.codec import encode_fields
from shared.messages.control import GapEvent
from shared.messages.market import TICKS_TYPE
from shared.messages.orders import CancelCommand, Command, Commission, Decision, Fill, OrderEvent

TICK_STREAM_ENTRIES = 100_000
"""About how many batches a tick stream keeps."""
ANSWERS_ENTRIES = 1000
ANSWERS_EXPIRE_MS = 600_000
_CLAIM_ORDER = (
    ClaimResult.CLAIMED,
    ClaimResult.REFUSED_HALTED,
    ClaimResult.REFUSED_EXPIRED,
    ClaimResult.REFUSED_CANCELLED_FIRST,
    ClaimResult.REFUSED_STALE,
)


def open_bus(url: str, keys: Keys, *, ticks_url: str | None = None, client_name: str = "cq") -> RedisBus:
    """Return a bus; it connects at the first call.

    Args:
        url: order-flow server, `redis://user:password@host:port/db`.
        keys: names of the deployment.
        ticks_url: a second server for `ticks:<p>` and `bars:<p>`; default the same.
        client_name: shown by `CLIENT LIST`.

    Raises:
        ConfigError: a URL is none.
    """
    return RedisBus(url, keys, ticks_url=ticks_url, client_name=client_name)


class RedisBus:
    """`shared.bus.ports.Bus` on a Redis or Valkey server."""

    def __init__(self, url: str, keys: Keys, *, ticks_url: str | None = None, client_name: str = "cq") -> None:
        self.url = url
        self.client_name = client_name
        self._keys = keys
        self._link = RedisLink(url, client_name)
        self._ticks = RedisLink(ticks_url, client_name) if ticks_url and ticks_url != url else self._link

    @property
    def keys(self) -> Keys:
        """Return the names of this deployment."""
        return self._keys

    @property
    def has_own_tick_server(self) -> bool:
        """Return whether ticks live on a second server."""
        return self._ticks is not self._link

    def _link_of(self, stream: str) -> RedisLink:
        name = stream.split(":", 2)[-1]
        return self._ticks if name.startswith(("ticks:", "bars:")) else self._link

    async def incarnation(self) -> str:
        """Return the server's incarnation."""
        server, replication = await self._link.pipeline([("INFO", "server"), ("INFO", "replication")], writes=False)
        return f"{_info(server, 'run_id')}:{_info(replication, 'master_replid')}"

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()
        if self._ticks is not self._link:
            await self._ticks.close()

    async def load_functions(self) -> None:
        """Load the function library `cq` (`FCALL_RO cq_peek 1 <stream> <count>`); needs an administrator's user."""
        text = (resources.files("shared.bus") / "lua" / "cq_peek.lua").read_text()
        for link in {id(link): link for link in (self._link, self._ticks)}.values():
            await link.call("FUNCTION", "LOAD", "REPLACE", text)

    # -- appending

    async def append(self, stream: str, message: Message, *, source: str, epoch: int = 0) -> str:
        """Append one message without a lease; return its entry id."""
        fields = encode_fields(message, source=source, epoch=epoch, now_ns=SYSTEM_CLOCK.wall_ns())
        return _text(await self._link_of(stream).call("XADD", stream, "*", *_flat(fields)))

    async def answer(self, client: str, message: Message, *, source: str, epoch: int = 0) -> None:
        """Append to a client's answer stream, which is short and expires by itself."""
        stream = self._keys.answers(client)
        fields = encode_fields(message, source=source, epoch=epoch, now_ns=SYSTEM_CLOCK.wall_ns())
        add = ("XADD", stream, "MAXLEN", "~", ANSWERS_ENTRIES, "*", *_flat(fields))
        await self._link.pipeline([add, ("PEXPIRE", stream, ANSWERS_EXPIRE_MS)])

    async def dead_letter(self, entry: Entry, *, consumer: str, error: str) -> None:
        """Keep an entry that could not be decoded or handled, with the error and its original fields."""
        original = {f"original:{name.decode(errors='replace')}": value for name, value in entry.fields.items()}
        fields = {
            "type": b"dead_letter",
            "key": entry.stream.encode(),
            "id": entry.entry_id.encode(),
            "source": consumer.encode(),
            "error": error.encode(),
            **original,
        }
        await self._link.call("XADD", self._keys.dead_letter, "*", *_flat(fields))

    # -- reading

    async def read(
        self, cursors: Mapping[str, str], *, count: int = 500, block_ms: int | None = None
    ) -> dict[str, list[Entry]]:
        """Return entries after each cursor, in order; block one slice of at most `block_ms` (None: not at all).

        With a tick server of its own, streams of one server only may be asked for at a time.
        """
        links = {id(self._link_of(stream)): self._link_of(stream) for stream in cursors}
        if len(links) != 1:
            found: dict[str, list[Entry]] = {}
            for link in links.values():
                part = {stream: cursor for stream, cursor in cursors.items() if self._link_of(stream) is link}
                found.update(await self.read(part, count=count, block_ms=block_ms and block_ms // len(links)))
            return found
        link = next(iter(links.values()))
        block = () if block_ms is None else ("BLOCK", max(1, block_ms))
        command = ("XREAD", "COUNT", count, *block, "STREAMS", *cursors.keys(), *cursors.values())
        limit_s = REPLY_LIMIT_S + (block_ms or 0) / 1000
        reply = await link.call(*command, limit_s=limit_s, writes=False)
        return {name.decode(): _entries(name.decode(), rows) for name, rows in reply or []}

    async def read_range(
        self, stream: str, *, first: str = "-", last: str = "+", count: int | None = None
    ) -> list[Entry]:
        """Return entries from `first` to `last`, both included."""
        limit = () if count is None else ("COUNT", count)
        reply = await self._link_of(stream).call("XRANGE", stream, first, last, *limit, limit_s=30.0, writes=False)
        return _entries(stream, reply)

    async def read_last(self, stream: str, count: int) -> list[Entry]:
        """Return the last `count` entries, oldest first."""
        reply = await self._link_of(stream).call("XREVRANGE", stream, "+", "-", "COUNT", count, writes=False)
        return _entries(stream, reply)[::-1]

    async def last_id(self, stream: str) -> str:
        """Return the last entry's id, `0-0` if there is none."""
        reply = await self._link_of(stream).call("XREVRANGE", stream, "+", "-", "COUNT", 1, writes=False)
        return _text(reply[0][0]) if reply else "0-0"

    async def stream_length(self, stream: str) -> int:
        """Return how many entries a stream holds."""
        return int(await self._link_of(stream).call("XLEN", stream, writes=False))

    async def count_after(self, stream: str, cursor: str, *, limit: int = 100_000) -> int:
        """Return how many entries (at most `limit`) lie after a cursor: a reader's lag."""
        reply = await self._link_of(stream).call("XRANGE", stream, f"({cursor}", "+", "COUNT", limit, writes=False)
        return len(reply)

    async def gap_after(self, stream: str, cursor: str) -> GapEvent | None:
        """Return the gap between a cursor and the first retained entry, if entries in between were trimmed."""
        link = self._link_of(stream)
        trimmed = await link.call("GET", self._keys.trimmed(stream), writes=False)
        first = await link.call("XRANGE", stream, "-", "+", "COUNT", 1, writes=False)
        first_id = _text(first[0][0]) if first else ""
        if trimmed is not None:
            last_deleted = _text(trimmed)
            is_gap = _id_key(last_deleted) > _id_key(cursor)
            return GapEvent(stream=stream, after_id=cursor, next_id=first_id or last_deleted) if is_gap else None
        if not first or _id_key(first_id) <= _id_key(cursor):
            return None
        # Streams that are trimmed as they are written (ticks) do not say where: older than the oldest means a gap.
        info = await link.call("XINFO", "STREAM", stream, writes=False)
        facts = {_text(info[i]): info[i + 1] for i in range(0, len(info), 2)}
        has_lost = int(facts["entries-added"]) > int(facts["length"])
        return GapEvent(stream=stream, after_id=cursor, next_id=first_id) if has_lost else None

    async def trim(self, stream: str, *, before: str) -> int:
        """Delete entries with an id below `before`; return how many."""
        return int(await self._link_of(stream).run("trim", [stream, self._keys.trimmed(stream)], [before]))

    async def get_cursor(self, stream_name: str) -> str:
        """Return the committed cursor of a single fenced reader."""
        reply = await self._link.call("GET", self._keys.cursor(stream_name), writes=False)
        return _text(reply) if reply else "0-0"

    # -- snapshots

    async def hash_set(self, key: str, values: Mapping[str, str | bytes], *, expire_s: float | None = None) -> None:
        """Set fields of a hash."""
        if not values:
            return
        commands: list[Sequence[str | bytes | int]] = [("HSET", key, *_flat(values))]
        if expire_s is not None:
            commands.append(("PEXPIRE", key, int(expire_s * 1000)))
        await self._link.pipeline(commands)

    async def hash_get_all(self, key: str) -> dict[str, bytes]:
        """Return a hash, empty when missing."""
        reply = await self._link.call("HGETALL", key, writes=False)
        return {_text(reply[i]): reply[i + 1] for i in range(0, len(reply), 2)}

    async def hash_delete(self, key: str, fields: Sequence[str]) -> None:
        """Delete fields of a hash."""
        if fields:
            await self._link.call("HDEL", key, *fields)

    async def set_text(self, key: str, value: str | bytes, *, expire_s: float | None = None) -> None:
        """Set a string."""
        expiry = () if expire_s is None else ("PX", int(expire_s * 1000))
        await self._link.call("SET", key, value, *expiry)

    async def get_text(self, key: str) -> bytes | None:
        """Return a string, None when missing."""
        reply: bytes | None = await self._link.call("GET", key, writes=False)
        return reply

    async def scan(self, pattern: str) -> list[str]:
        """Return the keys that match a glob pattern, sorted."""
        found: set[str] = set()
        position = "0"
        while True:
            reply = await self._link.call("SCAN", position, "MATCH", pattern, "COUNT", 1000, writes=False)
            position = _text(reply[0])
            found.update(_text(key) for key in reply[1])
            if position == "0":
                return sorted(found)

    # -- leases

    async def lease_view(self, role: str) -> LeaseView:
        """Return the stored lease."""
        found = await self.hash_get_all(self._keys.lease(role))
        text = {name: value.decode() for name, value in found.items()}
        return LeaseView(
            text.get("owner", ""),
            int(text.get("epoch", "0")),
            text.get("incarnation", ""),
            int(text.get("counter", "0")),
        )

    async def lease_acquire(self, role: str, owner: str, seen: LeaseView, *, at_least_epoch: int) -> LeaseToken | None:
        """Replace the lease if it still equals `seen`."""
        args = (owner, seen.owner, seen.epoch, seen.incarnation, seen.counter, at_least_epoch)
        reply = await self._link.run("lease_acquire", [self._keys.lease(role), self._keys.fence(role)], args)
        return LeaseToken(role, owner, int(reply[0]), _text(reply[1])) if reply else None

    async def lease_renew(self, token: LeaseToken) -> LeaseView:
        """Count the lease up; `Fenced` if it is another's."""
        args = (token.owner, token.epoch, token.incarnation)
        counter = await self._link.run("lease_renew", [self._keys.lease(token.role)], args)
        return LeaseView(token.owner, token.epoch, token.incarnation, int(counter))

    async def lease_release(self, token: LeaseToken) -> None:
        """Give the lease up if it is still ours."""
        args = (token.owner, token.epoch, token.incarnation)
        await self._link.run("lease_release", [self._keys.lease(token.role)], args)

    async def raise_fence(self, token: LeaseToken) -> None:
        """From now on only this epoch of the role publishes, on the tick server too."""
        keys = [self._keys.lease(token.role), self._keys.fence(token.role)]
        args = (token.owner, token.epoch, token.incarnation)
        await self._link.run("raise_fence", keys, (*args, "lease"))
        if self._ticks is not self._link:
            await self._ticks.run("raise_fence", keys, (*args, "none"))

    # -- fenced acts

    def _fenced(self, token: LeaseToken) -> tuple[list[str], list[str | bytes | int]]:
        keys = [self._keys.lease(token.role), self._keys.fence(token.role)]
        return keys, [token.owner, token.epoch, token.incarnation]

    @staticmethod
    def _encode(message: Message | None, token: LeaseToken, source: str) -> dict[str, bytes] | None:
        if message is None:
            return None
        return encode_fields(message, source=source, epoch=token.epoch, now_ns=SYSTEM_CLOCK.wall_ns())

    async def publish(self, token: LeaseToken, entries: Sequence[tuple[str, Message]], *, source: str) -> list[str]:
        """Append messages to streams under a lease, all or none, in order.

        Streams of the tick server (bars) are fenced there and go in a second round trip.
        """
        if not entries:
            return []
        own = [entry for entry in entries if self._link_of(entry[0]) is self._link]
        if len(own) != len(entries):
            others = [entry for entry in entries if self._link_of(entry[0]) is not self._link]
            batches = [(stream, self._encode(message, token, source)) for stream, message in others]
            await self._append_to_ticks(token, batches)
        if not own:
            return []
        keys, args = self._fenced(token)
        keys += [stream for stream, _ in own]
        args += pack_entries([self._encode(message, token, source) for _, message in own])
        reply = await self._link.run("publish", keys, args)
        return [_text(entry_id) for entry_id in reply]

    async def publish_ticks(self, token: LeaseToken, batches: Sequence[tuple[int, bytes]], *, source: str) -> None:
        """Append packed batches `(partition, body)` to the tick streams under a lease, in one round trip."""
        epoch = str(token.epoch).encode()
        origin = source.encode()
        entries: list[tuple[str, dict[str, bytes] | None]] = [
            (self._keys.ticks(partition), {"type": _TICKS, "source": origin, "epoch": epoch, "body": body})
            for partition, body in batches
        ]
        await self._append_to_ticks(token, entries)

    async def _append_to_ticks(self, token: LeaseToken, entries: Sequence[tuple[str, dict[str, bytes] | None]]) -> None:
        if not entries:
            return
        keys, args = self._fenced(token)
        keys += [stream for stream, _ in entries]
        args += [TICK_STREAM_ENTRIES, "fence" if self.has_own_tick_server else "lease"]
        for _, fields in entries:
            args += pack_entry(fields)
        await self._ticks.run("publish_ticks", keys, args)

    async def decide(
        self, token: LeaseToken, *, entry_id: str, decision: Decision, command: Command | None, source: str
    ) -> bool:
        """Write the one decision of an intent, its command if approved, and move the cursor of `intents`."""
        keys, args = self._fenced(token)
        names = self._keys
        keys += [names.cursor("intents"), names.decided(decision.intent_id), names.decisions, names.commands]
        args += [entry_id, LEDGER_KEEP_S, command.incarnation if command is not None else ""]
        args += pack_entry(self._encode(decision, token, source)) + pack_entry(self._encode(command, token, source))
        return bool(await self._link.run("decide", keys, args))

    async def pass_cancel(
        self, token: LeaseToken, *, entry_id: str, command: CancelCommand | None, source: str
    ) -> None:
        """Write a cancel command (None: the request was unreadable) and move the cursor of `cancels`."""
        keys, args = self._fenced(token)
        keys += [self._keys.cursor("cancels"), self._keys.cancel_commands]
        args += [entry_id, *pack_entry(self._encode(command, token, source))]
        await self._link.run("pass_cancel", keys, args)

    async def skip_entry(self, token: LeaseToken, stream_name: str, entry_id: str) -> None:
        """Move the cursor of a single fenced reader past an entry that needs no effect."""
        keys, args = self._fenced(token)
        keys += [self._keys.cursor(stream_name), self._keys.dead_letter]
        await self._link.run("pass_cancel", keys, [*args, entry_id, b"0"])

    async def claim(self, token: LeaseToken, request: ClaimRequest, *, source: str) -> list[LedgerRow]:
        """Write the one final result per leg with its order events and move the cursor of `commands`."""
        keys, args = self._fenced(token)
        names = self._keys
        ledger = names.ledger(request.intent_id)
        keys += [names.cursor("commands"), ledger, names.halt, names.order_ids, names.orders]
        args += [request.cursor_entry, LEDGER_KEEP_S, request.legs, request.client_id, int(request.is_reducing)]
        args += [request.made_in, int(request.now_ns > request.not_after_ns), *request.order_ids]
        for result in _CLAIM_ORDER:
            events: Sequence[OrderEvent | None] = (
                request.if_claimed if result is ClaimResult.CLAIMED else request.if_refused.get(result, ())
            )
            padded = [*events, *([None] * request.legs)][: request.legs]
            args += pack_entries([self._encode(event, token, source) for event in padded])
        return [_row(text) for text in await self._link.run("claim", keys, args)]

    async def ledger_rows(self, intent_id: str) -> list[LedgerRow]:
        """Return the stored claim results of an intent, by leg."""
        stored = await self.hash_get_all(self._keys.ledger(intent_id))
        rows = [_row(f"{leg}|{row.decode()}|0".encode()) for leg, row in stored.items()]
        return sorted(rows, key=lambda row: row.leg)

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
        """Close unclaimed legs as `cancelled_first`, with their final events, and move the cursor."""
        keys, args = self._fenced(token)
        names = self._keys
        keys += [names.cursor("cancel-commands"), names.ledger(intent_id), names.orders]
        args += [entry_id, LEDGER_KEEP_S, len(legs)]
        padded: list[OrderEvent | None] = [*events, *([None] * len(legs))][: len(legs)]
        for leg, event in zip(legs, padded, strict=True):
            args += [leg, *pack_entry(self._encode(event, token, source))]
        return [_row(text) for text in await self._link.run("cancel_first", keys, args)]

    async def publish_fills(self, token: LeaseToken, fills: Sequence[Fill | Commission], *, source: str) -> list[bool]:
        """Append executions not yet in the index; True per entry that was new."""
        if not fills:
            return []
        keys, args = self._fenced(token)
        keys.append(self._keys.fills)
        args.append(LEDGER_KEEP_S)
        for fill in fills:
            is_fill = isinstance(fill, Fill)
            stem = fill.exec_stem if isinstance(fill, Fill) else f"commission:{fill.exec_id}"
            keys.append(self._keys.fill_index(fill.account, stem))
            args.append(fill.revision if isinstance(fill, Fill) and is_fill else 1)
            args += pack_entry(self._encode(fill, token, source))
        return [bool(answer) for answer in await self._link.run("publish_fills", keys, args)]

    # -- strategy units

    async def load_unit(self, unit_id: str) -> UnitRecord:
        """Return a unit as last committed."""
        return unit_record(await self.hash_get_all(self._keys.unit(unit_id)))

    async def take_unit(self, token: LeaseToken, unit_id: str, *, seen: UnitRecord) -> bool:
        """Become a unit's owner if its owner is still the one seen; False if another was faster."""
        keys, args = self._fenced(token)
        keys.append(self._keys.unit(unit_id))
        return bool(await self._link.run("take_unit", keys, [*args, seen.owner, seen.epoch]))

    async def commit_unit(self, token: LeaseToken, commit: UnitCommit, *, source: str) -> bool:
        """Save a unit's commit and append its intents; False if this commit number was already saved by us."""
        keys, args = self._fenced(token)
        keys += [self._keys.unit(commit.unit_id), self._keys.intents, self._keys.cancels]
        args += [commit.commit, commit.state, commit.timers, len(commit.cursors)]
        for stream, cursor in commit.cursors.items():
            args += [stream, cursor]
        args += [len(commit.intents), *pack_entries([self._encode(one, token, source) for one in commit.intents])]
        args += [len(commit.cancels), *pack_entries([self._encode(one, token, source) for one in commit.cancels])]
        return bool(await self._link.run("commit_unit", keys, args))


def unit_record(stored: Mapping[str, bytes]) -> UnitRecord:
    """Return a unit's record from its hash."""
    cursors = {
        name.removeprefix("cursor:"): value.decode() for name, value in stored.items() if name.startswith("cursor:")
    }
    return UnitRecord(
        commit=int(stored.get("commit", b"0")),
        state=stored.get("state", b""),
        cursors=cursors,
        timers=stored.get("timers", b""),
        owner=stored.get("owner", b"").decode(),
        epoch=int(stored.get("epoch", b"0")),
    )


_TICKS = TICKS_TYPE.encode()


def _info(text: bytes, name: str) -> str:
    for line in text.decode().splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise BusUnavailable(f"the server's INFO has no {name}")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _flat(fields: Mapping[str, str | bytes] | Mapping[str, bytes]) -> list[str | bytes]:
    flat: list[str | bytes] = []
    for name, value in fields.items():
        flat += [name, value]
    return flat


def _entries(stream: str, rows: Any) -> list[Entry]:
    found = []
    for entry_id, values in rows or []:
        values = values or []
        found.append(Entry(stream, entry_id.decode(), dict(zip(values[::2], values[1::2], strict=True))))
    return found


def _id_key(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _row(text: bytes) -> LedgerRow:
    leg, result, client_id, order_id, epoch, is_new = text.decode().split("|")
    return LedgerRow(int(leg), ClaimResult(result), int(client_id), int(order_id), int(epoch), is_new == "1")

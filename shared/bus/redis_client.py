"""The bus on Redis: appends, readers, snapshots, leases and the fenced scripts of one deployment.

`open_bus` opens it; nothing is connected before the first call, so that a service may start before its Redis.
A read that blocks has a connection of its own, for a slice of time; all other calls share one (`redis_link.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from shared.bus.addresses import Kind, parse_address
from shared.bus.dead_letter import DEAD_LETTER_ENTRIES, dead_letter_fields
from shared.bus.groups import GroupCommands
from shared.bus.keys import Keys
from shared.bus.ports import FIRST, Entry, LeaseToken, LeaseView, entry_order
from shared.bus.redis_link import REPLY_LIMIT_S, BlockingLink, RedisLink
from shared.bus.replies import as_hash, as_text, entries_of, flat, info_value
from shared.bus.scripts import pack_entry
from shared.bus.writer import FencedWriter
from shared.clock import SYSTEM_CLOCK
from shared.messages.base import Message
from shared.messages.codec import encode_fields
from shared.messages.control import GapEvent

ANSWERS_ENTRIES = 1000
ANSWERS_EXPIRE_MS = 600_000
HASH_FIELDS = 1000


def open_bus(url: str, keys: Keys, *, ticks_url: str | None = None, client_name: str = "cq") -> RedisBus:
    """Return a bus; it connects at the first call.

    Args:
        url: order-flow server, single or behind Sentinels (`shared.bus.addresses`).
        keys: names of the deployment.
        ticks_url: a second server, or a Cluster, for `ticks:<p>` and `bars:<p>`; default the same.
        client_name: shown by `CLIENT LIST`.

    Raises:
        ConfigError: a URL is none.
    """
    if ticks_url and parse_address(ticks_url, variable="REDIS_TICKS_URL").kind is Kind.CLUSTER:
        from shared.bus.cluster import ClusterTicksBus  # which is a RedisBus

        return ClusterTicksBus(url, keys, ticks_url=ticks_url, client_name=client_name)
    return RedisBus(url, keys, ticks_url=ticks_url, client_name=client_name)


def function_library() -> str:
    """Return the text of the function library `cq`."""
    return (resources.files("shared.bus") / "lua" / "cq_peek.lua").read_text()


class RedisBus(FencedWriter, GroupCommands):
    """`shared.bus.ports.Bus` on a Redis or Valkey server."""

    def __init__(self, url: str, keys: Keys, *, ticks_url: str | None = None, client_name: str = "cq") -> None:
        self.url = url
        self.client_name = client_name
        link = RedisLink(url, client_name)
        ticks = RedisLink(ticks_url, client_name) if ticks_url and ticks_url != url else link
        super().__init__(keys, link, ticks)

    @property
    def keys(self) -> Keys:
        """Return the names of this deployment."""
        return self._keys

    async def incarnation(self) -> str:
        """Return the server's incarnation."""
        info = await self._link.call("INFO", "server", "replication", writes=False)
        return f"{info_value(info, 'run_id')}:{info_value(info, 'master_replid')}"

    async def server_facts(self) -> dict[str, str]:
        """Return what the order-flow server says of itself."""
        text: bytes = await self._link.call("INFO", "server", "memory", "persistence", "replication", writes=False)
        rows = (line.partition(":") for line in text.decode().splitlines() if not line.startswith("#"))
        return {name: value.strip() for name, _, value in rows if name}

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()
        if self._ticks is not self._link:
            await self._ticks.close()

    async def load_functions(self) -> None:
        """Load the function library `cq` (`FCALL_RO cq_peek 1 <stream> <count>`); needs an administrator's user."""
        text = function_library()
        for link in {id(link): link for link in (self._link, self._ticks)}.values():
            await link.call("FUNCTION", "LOAD", "REPLACE", text)

    # -- appending

    async def append(self, stream: str, message: Message, *, source: str, epoch: int = 0) -> str:
        """Append one message without a lease; return its entry id."""
        fields = encode_fields(message, source=source, epoch=epoch, now_ns=SYSTEM_CLOCK.wall_ns())
        if stream in (self._keys.control, self._keys.cancels):  # pass when the server is out of memory
            return as_text(await self._link.run("append", [stream], pack_entry(fields)))
        return as_text(await self._link_of(stream).call("XADD", stream, "*", *flat(fields)))

    async def answer(self, client: str, message: Message, *, source: str, epoch: int = 0) -> None:
        """Append to a client's answer stream, which is short and expires by itself."""
        stream = self._keys.answers(client)
        fields = encode_fields(message, source=source, epoch=epoch, now_ns=SYSTEM_CLOCK.wall_ns())
        add = ("XADD", stream, "MAXLEN", "~", ANSWERS_ENTRIES, "*", *flat(fields))
        await self._link.pipeline([add, ("PEXPIRE", stream, ANSWERS_EXPIRE_MS)])

    async def dead_letter(self, entry: Entry, *, consumer: str, error: str) -> None:
        """Keep an entry that could not be decoded or handled, with the error and its original fields."""
        fields = dead_letter_fields(entry, consumer=consumer, error=error)
        limit = ("MAXLEN", "~", DEAD_LETTER_ENTRIES)
        await self._link.call("XADD", self._keys.dead_letter, *limit, "*", *flat(fields))

    # -- reading

    async def read(
        self,
        cursors: Mapping[str, str],
        *,
        count: int = 500,
        block_ms: int | None = None,
        beside: Mapping[str, str] | None = None,
    ) -> dict[str, list[Entry]]:
        """Return entries after each cursor, in order; block one slice of at most `block_ms` (None: not at all).

        Streams `beside` are read in the same round trip, right after those of `cursors`, and not waited for.
        Streams of two servers are read one server after the other, each for its part of `block_ms`. A call that is
        cancelled costs its connection, nothing else: the cursors are the caller's.
        """
        if not cursors:
            await SYSTEM_CLOCK.sleep((block_ms or 0) / 1000)
            return await self.read(beside, count=count) if beside else {}
        by_link: dict[int, tuple[RedisLink, dict[str, str]]] = {}
        for stream, cursor in cursors.items():
            link = self._link_of(stream)
            by_link.setdefault(id(link), (link, {}))[1][stream] = cursor
        if len(by_link) != 1:
            found: dict[str, list[Entry]] = {}
            for _, part in by_link.values():
                found.update(await self.read(part, count=count, block_ms=block_ms and block_ms // len(by_link)))
            return {**found, **await self.read(beside, count=count)} if beside else found
        ((link, _),) = by_link.values()
        if beside and any(self._link_of(stream) is not link for stream in beside):
            found = await self.read(cursors, count=count, block_ms=block_ms)
            return {**found, **await self.read(beside, count=count)}
        block = () if block_ms is None else ("BLOCK", max(1, block_ms))
        commands: list[tuple[str | int, ...]] = [
            ("XREAD", "COUNT", count, *block, "STREAMS", *cursors.keys(), *cursors.values())
        ]
        if beside:
            commands.append(("XREAD", "COUNT", count, "STREAMS", *beside.keys(), *beside.values()))
        limit_s = REPLY_LIMIT_S + (block_ms or 0) / 1000
        replies = await link.pipeline(commands, limit_s=limit_s, writes=False, blocks=block_ms is not None)
        return {name.decode(): entries_of(name.decode(), rows) for reply in replies for name, rows in reply or ()}

    async def read_range(
        self, stream: str, *, first: str = "-", last: str = "+", count: int | None = None
    ) -> list[Entry]:
        """Return entries from `first` to `last`, both included."""
        limit = () if count is None else ("COUNT", count)
        reply = await self._link_of(stream).call("XRANGE", stream, first, last, *limit, limit_s=30.0, writes=False)
        return entries_of(stream, reply)

    async def read_last(self, stream: str, count: int) -> list[Entry]:
        """Return the last `count` entries, oldest first."""
        reply = await self._link_of(stream).call("XREVRANGE", stream, "+", "-", "COUNT", count, writes=False)
        return entries_of(stream, reply)[::-1]

    async def last_id(self, stream: str) -> str:
        """Return the last generated id of a stream, `0-0` if it has never had an entry."""
        link = self._link_of(stream)
        if not await link.call("EXISTS", stream, writes=False):
            return FIRST
        info = await link.call("XINFO", "STREAM", stream, writes=False)
        return as_text(as_hash(info)["last-generated-id"])

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
        first_id = as_text(first[0][0]) if first else ""
        if trimmed is not None:
            last_deleted = as_text(trimmed)
            if entry_order(last_deleted) > entry_order(cursor):
                return GapEvent(stream=stream, after_id=cursor, next_id=first_id or last_deleted)
        is_trimmed_when_written = stream.startswith(self._keys.ticks(0).removesuffix("0"))
        if not first or entry_order(first_id) <= entry_order(cursor) or (trimmed and not is_trimmed_when_written):
            return None
        # Streams that are trimmed as they are written (ticks) do not say where: older than the oldest means a gap.
        facts = as_hash(await link.call("XINFO", "STREAM", stream, writes=False))
        has_lost = int(facts["entries-added"]) > int(facts["length"])
        return GapEvent(stream=stream, after_id=cursor, next_id=first_id) if has_lost else None

    async def trim(self, stream: str, *, before: str) -> int:
        """Delete entries with an id below `before`; return how many.

        Plain commands rather than a script: the user that trims may XTRIM a stream it must not write. What will be
        deleted is noted first, so that a crash in between can only make a gap look larger.
        """
        link = self._link_of(stream)
        last = await link.call("XREVRANGE", stream, f"({before}", "-", "COUNT", 1, writes=False)
        if not last:
            return 0
        note = ("SET", self._keys.trimmed(stream), last[0][0])
        replies = await link.pipeline([note, ("XTRIM", stream, "MINID", "=", before)])
        return int(replies[1])

    async def get_cursor(self, stream_name: str) -> str:
        """Return the committed cursor of a single fenced reader."""
        reply = await self._link.call("GET", self._keys.cursor(stream_name), writes=False)
        return as_text(reply) if reply else FIRST

    # -- snapshots

    async def hash_set(self, key: str, values: Mapping[str, str | bytes], *, expire_s: float | None = None) -> None:
        """Set fields of a hash."""
        if not values:
            return
        if expire_s is None and self._keys.is_kept_when_full(key):
            pairs = list(values.items())
            for start in range(0, len(pairs), HASH_FIELDS):  # a script has room for so many arguments of one command
                await self._link.run("set_hash", [key], flat(dict(pairs[start : start + HASH_FIELDS])))
            return
        commands: list[Sequence[str | bytes | int]] = [("HSET", key, *flat(values))]
        if expire_s is not None:
            commands.append(("PEXPIRE", key, int(expire_s * 1000)))
        await self._link.pipeline(commands)

    async def hash_get_all(self, key: str) -> dict[str, bytes]:
        """Return a hash, empty when missing."""
        return as_hash(await self._link.call("HGETALL", key, writes=False))

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
            position = as_text(reply[0])
            found.update(as_text(key) for key in reply[1])
            if position == "0":
                return sorted(found)

    # -- backups

    async def dump_keys(self, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return what keys hold, all of one moment: remaining life in ms (-1: for ever) and content, by key."""
        reply = await self._link.run("backup", [], list(keys)) if keys else []
        pairs = zip(keys, reply[::2], reply[1::2], strict=True)
        return {key: (int(life_ms), content) for key, life_ms, content in pairs if content}

    async def restore_keys(self, held: Mapping[str, tuple[int, bytes]]) -> None:
        """Write back what `dump_keys` returned; needs an administrator's user."""
        for key, (life_ms, content) in held.items():
            await self._link.call("RESTORE", key, max(0, life_ms), content, "REPLACE")

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
        return LeaseToken(role, owner, int(reply[0]), as_text(reply[1])) if reply else None

    async def lease_renew(self, token: LeaseToken) -> LeaseView:
        """Count the lease up; `Fenced` if it is another's."""
        args = (token.owner, token.epoch, token.incarnation)
        counter = await self._link.run("lease_renew", [self._keys.lease(token.role)], args)
        return LeaseView(token.owner, token.epoch, token.incarnation, int(counter))

    def open_renewal(self, token: LeaseToken, *, limit_s: float) -> RedisRenewal:
        """Return a blocking connection of its own that renews this lease; for the elector's thread."""
        return RedisRenewal(self, token, limit_s)

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


class RedisRenewal:
    """Renews one lease on a synchronous connection of its own; a reply later than `limit_s` counts as none."""

    def __init__(self, bus: RedisBus, token: LeaseToken, limit_s: float) -> None:
        self._link = BlockingLink(bus.url, client_name=f"{bus.client_name}-lease", limit_s=limit_s)
        self._keys = [bus.keys.lease(token.role)]
        self._args = (token.owner, token.epoch, token.incarnation)

    def renew(self) -> None:
        """Count the lease up.

        Raises:
            Fenced: the lease is another's, or the incarnation changed.
            BusUnavailable: not known to be renewed.
        """
        self._link.run("lease_renew", self._keys, self._args)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

"""Ticks and bars on a Redis Cluster, each stream on the node of its slot.

Order flow never lives here: its scripts touch many keys at once. Of the promises of one tick server this one keeps the
fence, beside every stream (`fence:<role>:{<stream>}`, in the stream's own slot), and the order within a stream. It
gives up that a batch for several streams is appended whole or not at all.

Every command has one key and goes to one node. A node that says MOVED or ASK has executed nothing, so the command is
sent again where it says, a few times; nothing else is repeated.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from redis.crc import key_slot

from shared.bus.addresses import Kind, Node, RedisAddress, parse_address
from shared.bus.keys import Keys
from shared.bus.ports import Entry, LeaseToken
from shared.bus.redis_client import RedisBus, function_library
from shared.bus.redis_connection import Argument
from shared.bus.redis_link import REPLY_LIMIT_S, RedisLink
from shared.bus.replies import as_text, entries_of
from shared.bus.scripts import pack_entry
from shared.bus.writer import TICK_STREAM_ENTRIES
from shared.errors import BusUnavailable, Refused

REDIRECTIONS = 5
_KEY_AT: Mapping[str, int] = {"EVALSHA": 3, "EVAL": 3, "XINFO": 2, "XGROUP": 2}


class ClusterLink(RedisLink):
    """The nodes of a Cluster behind the interface of one server."""

    def __init__(self, address: RedisAddress, client_name: str) -> None:
        self.address = address.text
        self._given = address
        self._client_name = client_name
        self._nodes: dict[Node, RedisLink] = {}
        self._starts: list[int] = []
        self._owners: list[Node] = []

    def _node(self, node: Node) -> RedisLink:
        if node not in self._nodes:
            self._nodes[node] = RedisLink(self._given.node_url(node), self._client_name)
        return self._nodes[node]

    async def _learn(self) -> None:
        """Ask the first node that answers which node has which slots."""
        known = dict.fromkeys((*self._owners, *self._given.nodes))
        last: BusUnavailable | None = None
        for node in known:
            try:
                rows = await self._node(node).call("CLUSTER", "SLOTS", writes=False)
            except BusUnavailable as e:
                last = e
                continue
            # An empty host means: the one that was asked.
            rows = sorted((int(row[0]), (as_text(row[2][0] or b"") or node[0], int(row[2][1]))) for row in rows)
            self._starts = [start for start, _ in rows]
            self._owners = [owner for _, owner in rows]
            return
        raise BusUnavailable(f"no node of the Cluster at {self.address} answers: {last}")

    async def _link_for(self, key: str | bytes) -> RedisLink:
        if not self._owners:
            await self._learn()
        if not self._owners:
            raise BusUnavailable(f"the Cluster at {self.address} has no node for any slot yet")
        name = key.encode() if isinstance(key, str) else key
        at = bisect_right(self._starts, key_slot(name)) - 1
        return self._node(self._owners[max(at, 0)])

    @staticmethod
    def _key_of(command: Sequence[Argument]) -> str | bytes:
        name = str(command[0]).upper()
        if name in ("XREAD", "XREADGROUP"):
            at = next(n for n, word in enumerate(command) if word == "STREAMS") + 1
        else:
            at = _KEY_AT.get(name, 1)
        key = command[at]
        return key if isinstance(key, str | bytes) else str(key)

    async def call(
        self,
        *command: Argument,
        limit_s: float = REPLY_LIMIT_S,
        writes: bool = True,
        ignore: str = "",
        blocks: bool = False,
    ) -> Any:
        """Send one command to the node of its key, following redirections."""
        link = await self._link_for(self._key_of(command))
        for _ in range(REDIRECTIONS):
            try:
                return await link.call(*command, limit_s=limit_s, writes=writes, ignore=ignore, blocks=blocks)
            except Refused as e:
                word, node = _redirection(e.__cause__)
                if word == "MOVED":
                    await self._learn()
                    link = self._node(node)
                elif word == "ASK":
                    return (await self._node(node).pipeline([("ASKING",), command], limit_s=limit_s, writes=writes))[1]
                else:
                    raise
            except BusUnavailable:
                self._owners = []  # the node may be gone for good: ask before the next command
                raise
        raise BusUnavailable(f"the Cluster at {self.address} sent a command round {REDIRECTIONS} times")

    async def pipeline(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        limit_s: float = REPLY_LIMIT_S,
        writes: bool = True,
        blocks: bool = False,
    ) -> list[Any]:
        """Send commands one after the other, each to its node."""
        return [await self.call(*command, limit_s=limit_s, writes=writes, blocks=blocks) for command in commands]

    async def on_every_node(self, *command: Argument) -> None:
        """Send a command without a key to every node that has slots."""
        await self._learn()
        for node in dict.fromkeys(self._owners):
            await self._node(node).call(*command)

    async def close(self) -> None:
        """Close every connection."""
        for link in self._nodes.values():
            await link.close()


def _redirection(cause: BaseException | None) -> tuple[str, Node]:
    """Return what an error reply redirects to: `MOVED slot host:port` or `ASK slot host:port`."""
    words = str(cause).split()
    if len(words) != 3 or words[0] not in ("MOVED", "ASK"):
        return "", ("", 0)
    host, _, port = words[2].rpartition(":")
    return words[0], (host.strip("[]"), int(port))


class ClusterTicksBus(RedisBus):
    """A bus whose ticks and bars are on a Cluster."""

    _ticks: ClusterLink

    def __init__(self, url: str, keys: Keys, *, ticks_url: str, client_name: str = "cq") -> None:
        super().__init__(url, keys, client_name=client_name)
        address = parse_address(ticks_url, variable="REDIS_TICKS_URL")
        if address.kind is not Kind.CLUSTER:
            raise ValueError(f"{address.text} is no Cluster")
        self._ticks = ClusterLink(address, client_name)

    def _is_on_cluster(self, stream: str) -> bool:
        return self._link_of(stream) is self._ticks

    async def load_functions(self) -> None:
        """Load the function library on the order-flow server and on every node."""
        text = function_library()
        await self._link.call("FUNCTION", "LOAD", "REPLACE", text)
        await self._ticks.on_every_node("FUNCTION", "LOAD", "REPLACE", text)

    async def raise_fence(self, token: LeaseToken) -> None:
        """From now on only this epoch of the role publishes; the order-flow server first, then beside each stream."""
        keys = [self._keys.lease(token.role), self._keys.fence(token.role)]
        args = (token.owner, token.epoch, token.incarnation)
        await self._link.run("raise_fence", keys, (*args, "lease"))
        for partition in range(self._keys.tick_partitions):
            for stream in (self._keys.ticks(partition), self._keys.bars(partition)):
                fence = self._keys.fence_beside(token.role, stream)
                await self._ticks.run("raise_fence", [fence, fence], (*args, "none"))

    async def _append_to_ticks(self, token: LeaseToken, entries: Sequence[tuple[str, dict[str, bytes] | None]]) -> None:
        by_stream: dict[str, list[dict[str, bytes] | None]] = {}
        for stream, fields in entries:
            by_stream.setdefault(stream, []).append(fields)
        await self._together([self._append(token, stream, rows) for stream, rows in by_stream.items()])

    async def _append(self, token: LeaseToken, stream: str, rows: Sequence[dict[str, bytes] | None]) -> None:
        fence = self._keys.fence_beside(token.role, stream)
        args: list[Argument] = [token.owner, token.epoch, token.incarnation, TICK_STREAM_ENTRIES, "fence"]
        for fields in rows:
            args += pack_entry(fields)
        await self._ticks.run("publish_ticks", [fence, fence, *[stream] * len(rows)], args)

    @staticmethod
    async def _together(acts: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Wait for all of them; the first error is raised as itself once all have ended."""
        errors: list[Exception] = []

        async def one(act: Coroutine[Any, Any, None]) -> None:
            try:
                await act
            except Exception as e:  # noqa: BLE001 - raised below; a sibling must not be cancelled half-sent
                errors.append(e)

        async with asyncio.TaskGroup() as group:
            for act in acts:
                group.create_task(one(act))
        if errors:
            raise errors[0]

    async def read(
        self,
        cursors: Mapping[str, str],
        *,
        count: int = 500,
        block_ms: int | None = None,
        beside: Mapping[str, str] | None = None,
    ) -> dict[str, list[Entry]]:
        """Return entries after each cursor; what is there at once, else what first comes on any stream.

        A Cluster takes no command for streams of different slots: they are read side by side.
        """
        on_cluster = {stream: cursor for stream, cursor in cursors.items() if self._is_on_cluster(stream)}
        others = {stream: cursor for stream, cursor in cursors.items() if stream not in on_cluster}
        if not on_cluster and not (beside and any(self._is_on_cluster(stream) for stream in beside)):
            return await super().read(cursors, count=count, block_ms=block_ms, beside=beside)
        if beside:
            found = await self.read(cursors, count=count, block_ms=block_ms)
            return {**found, **await self.read(beside, count=count)}
        found = {}
        await self._together([self._read_one(found, stream, at, count, None) for stream, at in on_cluster.items()])
        if others:
            found.update(await super().read(others, count=count))
        if found or block_ms is None:
            return found
        waits = [self._read_one(found, stream, at, count, block_ms) for stream, at in on_cluster.items()]
        if others:
            waits.append(self._read_others(found, others, count, block_ms))
        await self._first_of(waits, found)
        return found

    @staticmethod
    async def _first_of(waits: Sequence[Coroutine[Any, Any, None]], found: Mapping[str, object]) -> None:
        """Wait until something is found or all have ended; the rest is cancelled, which costs only connections."""
        try:
            async with asyncio.TaskGroup() as group:
                pending = {group.create_task(wait) for wait in waits}
                while pending and not found:
                    _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
        except ExceptionGroup as e:
            raise e.exceptions[0] from e

    async def _read_others(
        self, found: dict[str, list[Entry]], cursors: Mapping[str, str], count: int, block_ms: int
    ) -> None:
        found.update(await super().read(cursors, count=count, block_ms=block_ms))

    async def _read_one(
        self, found: dict[str, list[Entry]], stream: str, cursor: str, count: int, block_ms: int | None
    ) -> None:
        block = () if block_ms is None else ("BLOCK", max(1, block_ms))
        limit_s = REPLY_LIMIT_S + (block_ms or 0) / 1000
        command = ("XREAD", "COUNT", count, *block, "STREAMS", stream, cursor)
        for _, rows in await self._ticks.call(*command, limit_s=limit_s, writes=False, blocks=bool(block)) or []:
            found[stream] = entries_of(stream, rows)

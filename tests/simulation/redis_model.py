"""Model the order-flow Redis: incarnations, an asynchronous replica, lost suffixes, two sides that both believe, OOM.

The data live in the project's own `MemoryServer`, whose semantics the conformance suite holds against a real server.
Every act that changed something is logged, so that a replica of any age can be made by doing it again.

| event | what it does |
|---|---|
| `restart` | the same data, another incarnation (AOF) |
| `fail_over` | a replica that misses the last writes takes over under another incarnation; the old master may live on |
| `wipe` | an empty server |
| `is_full` | writes that may not pass when out of memory are refused |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Entry, entry_order
from shared.errors import BusUnavailable
from tests.simulation.kernel import MS, World

READS = frozenset(
    {
        *("incarnation", "read", "read_range", "read_last", "last_id", "stream_length", "count_after", "gap_after"),
        *("get_cursor", "hash_get_all", "get_text", "scan", "lease_view", "ledger_rows", "load_unit", "group_pending"),
    }
)
"""Methods that change nothing: a lost answer is `BusUnavailable`, never `OutcomeUnknown`."""
WITHOUT_OOM = frozenset(
    {"publish_ticks", "commit_unit", "take_unit", "set_text", "dead_letter", "answer", "load_functions"}
)
"""Writes that a full server refuses (`shared.bus.scripts.WITH_OOM` has the others)."""
WITHOUT_OOM_KEYS = frozenset({"append", "hash_set"})
"""Writes that a full server takes only for `control`, `cancels` and the hashes of `Keys.is_kept_when_full`."""


class ServerClock:
    """The server's wall clock; replaying shows it the time of the original act."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.replayed_ns: int | None = None
        self.offset_ns = 0

    def wall_ns(self) -> int:
        """Return the server's wall time."""
        return self._world.wall_ns() + self.offset_ns if self.replayed_ns is None else self.replayed_ns

    def monotonic_ns(self) -> int:
        """Return the server's monotonic time."""
        return self._world.now

    async def sleep(self, seconds: float) -> None:
        """Not asked of a server."""
        raise NotImplementedError


@dataclass
class SimServer(MemoryServer):
    """A `MemoryServer` that tells who watches it of every entry."""

    node: Node | None = None

    def add(self, stream: str, fields: Mapping[str, bytes]) -> str:
        """Append an entry; tell the checkers and wake readers."""
        entry_id = self.next_id()
        entry = Entry(stream, entry_id, {name.encode(): value for name, value in fields.items()})
        self.streams.setdefault(stream, []).append(entry)
        self.last_ids[stream] = entry_id
        if self.node is not None:
            self.node.added(entry)
        return entry_id


_order = lru_cache(maxsize=20_000)(entry_order)


class NodeBus(MemoryBus):
    """The scripts of one node; `_after` looks from the end, for most readers are nearly there."""

    def _after(self, cursors: Mapping[str, str], count: int) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        streams = self._here().streams
        for stream, cursor in cursors.items():
            entries = streams.get(stream)
            if not entries or entries[-1].entry_id == cursor:
                continue
            after = _order(cursor)
            index = len(entries)
            while index and _order(entries[index - 1].entry_id) > after:
                index -= 1
            if index < len(entries):
                found[stream] = entries[index : index + count]
        return found

    async def add_ticks(self, stream: str, fields: Mapping[str, bytes]) -> str:
        """Append what the market said, whoever leads; feeds are not what is simulated."""
        return self._server.add(stream, fields)


@dataclass
class _Waiter:
    cursors: Mapping[str, str]
    count: int
    answer: Callable[[Any], None]
    beside: Mapping[str, str]
    is_over: bool = False


@dataclass
class Node:
    """One server process."""

    world: World
    keys: Keys
    life: int
    number: int = 1
    """Which data this is: a restart keeps it, a failover or a loss begins another."""
    name: str = ""
    is_up: bool = True
    is_full: bool = False
    slow_ns: int = 0
    observers: list[Callable[[Node, Entry], None]] = field(default_factory=list)
    watchers: list[Callable[[Node, str, tuple[Any, ...], dict[str, Any], Any], None]] = field(default_factory=list)
    """Told of every act that was done, with its arguments and answer."""
    log: list[tuple[int, int, str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    lagging_since: int = 0
    """When its replica was last in touch; 0 while it is."""
    waiters: list[_Waiter] = field(default_factory=list)
    _is_replaying: bool = False
    _woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin empty."""
        self.begin()

    def begin(self) -> None:
        """Hold no data."""
        self.clock = ServerClock(self.world)
        self.server = SimServer(clock=self.clock, life=self.life)
        self.server.node = self
        self.bus = NodeBus(self.server, self.keys)
        self.log = []

    def added(self, entry: Entry) -> None:
        """Take note of a new entry."""
        if self._is_replaying:
            return
        self._woken.append(entry.stream)
        for observer in self.observers:
            observer(self, entry)

    def execute(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do one act of the bus, whole, and return its answer or raise its error."""
        if self.is_full and (name in WITHOUT_OOM or (name in WITHOUT_OOM_KEYS and not self._passes_full(args))):
            raise BusUnavailable("OOM command not allowed when used memory > maxmemory")
        before = self.world.current
        self.world.current = None
        try:
            answer = finish(getattr(self.bus, name)(*args, **kwargs))
        finally:
            self.world.current = before
        if name not in READS and name != "lease_renew":
            self.log.append((self.clock.wall_ns(), self.server.life, name, args, kwargs))
            for watcher in self.watchers:
                watcher(self, name, args, kwargs, answer)
        if self._woken:
            self._wake()
        return answer

    def _passes_full(self, args: tuple[Any, ...]) -> bool:
        return bool(args) and (
            args[0] in (self.keys.control, self.keys.cancels) or self.keys.is_kept_when_full(args[0])
        )

    def _wake(self) -> None:
        woken, self._woken = set(self._woken), []
        waiting, self.waiters = self.waiters, []
        for waiter in waiting:
            if waiter.is_over:
                continue
            if woken.intersection(waiter.cursors):
                waiter.is_over = True
                waiter.answer(finish(self.bus.read(waiter.cursors, count=waiter.count, beside=waiter.beside)))
            else:
                self.waiters.append(waiter)

    def read_blocking(
        self,
        cursors: Mapping[str, str],
        count: int,
        block_ms: int,
        answer: Callable[[Any], None],
        beside: Mapping[str, str],
    ) -> None:
        """Answer a blocking read: at once, when something comes, or after `block_ms`; with what is `beside` by then."""
        if finish(self.bus.read(cursors, count=1)):
            answer(finish(self.bus.read(cursors, count=count, beside=beside)))
            return
        waiter = _Waiter(cursors, count, answer, beside)
        self.waiters.append(waiter)

        def give_up() -> None:
            if not waiter.is_over:
                waiter.is_over = True
                waiter.answer(finish(self.bus.read(beside, count=count)) if self.is_up and beside else {})

        self.world.after(block_ms * MS, give_up)

    def replica(self, life: int, *, missing: int) -> Node:
        """Return another node that did everything but the last `missing` acts."""
        other = Node(self.world, self.keys, life, number=life)
        other.observers, other.watchers = self.observers, self.watchers
        other._is_replaying = True
        kept = self.log[: len(self.log) - missing] if missing else self.log
        for at_ns, then, name, args, kwargs in kept:
            other.clock.replayed_ns, other.server.life = at_ns, then  # tokens of then are checked as then
            try:
                finish(getattr(other.bus, name)(*args, **kwargs))
            except Exception:
                continue  # an act that was refused then is refused again
            other.log.append((at_ns, then, name, args, kwargs))
        other.server.life = life
        other.clock.replayed_ns = None
        other._is_replaying = False
        everything = [entry for stream in other.server.streams.values() for entry in stream]
        for entry in sorted(everything, key=lambda each: entry_order(each.entry_id)):
            other.added(entry)  # who watches sees the new server's whole history
        other._woken.clear()
        return other


def finish(act: Any) -> Any:
    """Run a coroutine that never waits to its end."""
    try:
        act.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("an act of the memory bus waited")


class Cluster:
    """The servers there are, and which of them each process is connected to."""

    def __init__(self, world: World, keys: Keys) -> None:
        self.world = world
        self.keys = keys
        self._lives = 1
        self.master = Node(world, keys, 1, name="redis-1")
        self.nodes = [self.master]
        self.observers = self.master.observers
        self.watchers = self.master.watchers
        self._seen_by: dict[str, Node] = {}
        self.min_replicas_lag_ns = 0
        """Where a replica is configured: how long a master takes writes that no replica acknowledges; 0: for ever."""
        self.losses = 0
        """How often data were lost."""

    def _next_life(self) -> int:
        self._lives += 1
        return self._lives

    def node_of(self, process: str) -> Node:
        """Return the server a process talks to."""
        return self._seen_by.get(process, self.master)

    def restart(self, down_ns: int) -> None:
        """Stop the master and start it again with its data (AOF)."""
        node = self.master
        node.is_up = False
        node.waiters.clear()

        def begin() -> None:
            node.life = self._next_life()
            node.server.life = self.shown_life(node.life)
            node.is_up = True

        self.world.after(down_ns, begin)

    def wipe(self, down_ns: int, *, missing: int) -> None:
        """Stop the master and start it with older data: all but its last `missing` acts, or none at all."""
        node = self.master
        node.is_up = False
        node.waiters.clear()
        self.losses += 1

        def begin() -> None:
            new = node.replica(self._next_life(), missing=min(missing, len(node.log)))
            self._replace(node, new)

        self.world.after(down_ns, begin)

    def shown_life(self, life: int) -> int:
        """Return the incarnation that the scripts see; a mutant keeps it the same."""
        return life

    def _replace(self, old: Node, new: Node) -> None:
        new.server.life = self.shown_life(new.life)
        new.name = f"redis-{new.life}"
        self.nodes.append(new)
        self.master = new
        for name, node in list(self._seen_by.items()):
            if node is old:
                del self._seen_by[name]

    def fail_over(
        self, processes: Sequence[str], *, missing: int, old_lives_ns: int, switch_ns: Callable[[], int]
    ) -> None:
        """Promote a replica that misses the last acts; processes find it one after another while the old one lives."""
        old = self.master
        self.losses += 1 if missing or old_lives_ns else 0
        new = old.replica(self._next_life(), missing=min(missing, len(old.log)))
        self._replace(old, new)
        old.lagging_since = self.world.now
        if not old_lives_ns:
            old.is_up = False
            old.waiters.clear()
            return
        for name in processes:
            self._seen_by[name] = old
            self.world.after(min(switch_ns(), old_lives_ns), partial(self._forget, name))

        def end() -> None:
            old.is_up = False
            old.waiters.clear()
            for name in [each for each, node in self._seen_by.items() if node is old]:
                del self._seen_by[name]

        self.world.after(old_lives_ns, end)

    def _forget(self, process: str) -> None:
        self._seen_by.pop(process, None)

    def takes_writes(self, node: Node) -> bool:
        """Return whether a master still has enough replicas to take writes (`min-replicas-to-write 1`)."""
        if not self.min_replicas_lag_ns or not node.lagging_since:
            return True
        return self.world.now - node.lagging_since < self.min_replicas_lag_ns


def copied(value: Any) -> Any:
    """Return what goes over the wire: later changes by the sender do not reach it."""
    kind = type(value)
    return dict(value) if kind is dict else list(value) if kind is list else value


def copied_all(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments as they go over the wire; most are of a kind that nobody can change."""
    for each in args:
        if type(each) is dict or type(each) is list:
            return tuple([copied(each) for each in args])
    return args

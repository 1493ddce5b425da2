"""The bus as one simulated process sees it: requests and answers that are late, lost, or arrive after a cut.

Requests go over any of a pool's connections, so they may overtake one another, and one that was sent arrives although
its sender has crashed meanwhile. A lost answer of a write is `OutcomeUnknown`, as with the real client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.ports import LeaseToken
from shared.errors import BusUnavailable, OutcomeUnknown
from tests.simulation.kernel import MS, NS, US, Process, World
from tests.simulation.redis_model import READS, Cluster, Node, copied
from tests.simulation.threads import SimThread, running_thread

REPLY_LIMIT_NS = 5 * NS


class Weather:
    """How the network between one process and Redis is now; changed by the faults."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.late = 0.0
        self.late_s = 0.0
        self.is_cut = False
        self.answers_late_ns = 0
        self.writes_late_s = 0.0
        """How long a write may be on its way, at least half of it; reads and renewals are not late by it."""

    def calm(self) -> None:
        """Be a good network again."""
        self.loss = self.late = 0.0
        self.answers_late_ns = 0
        self.writes_late_s = 0.0
        self.is_cut = False

    def delay_ns(self, world: World) -> int:
        """Return how long one message takes."""
        usual = 100 * US + int(400 * US * world.rng.random())
        return usual + world.between(0.0, self.late_s) if self.late and world.chance(self.late) else usual


class SimBus:
    """`shared.bus.ports.Bus` over the simulated network."""

    url = "memory:"

    def __init__(self, process: Process, cluster: Cluster, weather: Weather) -> None:
        self.client_name = process.name
        self._process = process
        self._cluster = cluster
        self._weather = weather
        self._world = process.world

    @property
    def keys(self) -> Keys:
        """Return the names of the deployment."""
        return self._cluster.keys

    async def close(self) -> None:
        """Do nothing."""

    async def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Send one act and wait for its answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send(name, args, kwargs, lambda ok, value: _settle(future, ok, value))
        return await future

    def _send(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Callable[[bool, Any], None],
        limit_ns: int = REPLY_LIMIT_NS,
    ) -> None:  # fmt: skip
        """Put a request on its way; `answer` is called in the process, once."""
        world, weather, process = self._world, self._weather, self._process
        args = tuple(copied(each) for each in args)
        block_ms = kwargs.pop("block_ms", None) if name == "read" else None
        kwargs = {key: copied(value) for key, value in kwargs.items()}
        node = self._cluster.node_of(process.name)
        is_read = name in READS
        is_over = False

        def finish(ok: bool, value: Any) -> None:
            nonlocal is_over
            if is_over:
                return
            is_over = True
            if process.is_alive:
                process.loop.call_soon(answer, ok, value)

        def fail(text: str) -> None:
            finish(False, BusUnavailable(text) if is_read else OutcomeUnknown(text))

        if weather.is_cut or not node.is_up:
            world.after(weather.delay_ns(world) + (20 * MS if weather.is_cut else 0), lambda: finish(
                False, BusUnavailable("Redis cannot be reached")))  # fmt: skip
            return
        if weather.loss and world.chance(weather.loss):
            world.after(limit_ns, lambda: fail("Redis did not answer"))
            return
        sent_ns = world.now
        way_ns = weather.delay_ns(world) + node.slow_ns
        if weather.writes_late_s and not is_read:
            way_ns += world.between(weather.writes_late_s / 2, weather.writes_late_s)
        world.after(way_ns, lambda: self._arrive(
            node, name, args, kwargs, block_ms, finish, fail, sent_ns, limit_ns))  # fmt: skip

    def _arrive(
        self, node: Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], block_ms: int | None,
        finish: Callable[[bool, Any], None], fail: Callable[[str], None], sent_ns: int, limit_ns: int,
    ) -> None:  # fmt: skip
        world, weather = self._world, self._weather
        if not node.is_up:
            world.after(weather.delay_ns(world), lambda: fail("the connection to Redis was lost"))
            return

        def reply(ok: bool, value: Any) -> None:
            if weather.loss and world.chance(weather.loss):
                world.at(max(world.now, sent_ns + limit_ns), lambda: fail("Redis did not answer"))
                return
            delay_ns = weather.delay_ns(world) + weather.answers_late_ns
            if world.now + delay_ns - sent_ns > limit_ns and block_ms is None:
                world.at(max(world.now, sent_ns + limit_ns), lambda: fail("Redis did not answer in time"))
                return
            world.after(delay_ns, lambda: finish(ok, value))

        if name not in READS and not self._cluster.takes_writes(node):
            reply(False, BusUnavailable("NOREPLICAS not enough good replicas to write"))
            return
        if block_ms is not None:
            cursors, count = args[0], kwargs.get("count", 500)
            node.read_blocking(cursors, count, max(1, block_ms), lambda found: reply(True, found))
            return
        try:
            value = node.execute(name, args, kwargs)
        except Exception as e:
            reply(False, e)
            return
        reply(True, value)

    def open_renewal(self, token: LeaseToken, *, limit_s: float) -> SimRenewal:
        """Return what renews a lease from a thread of its own."""
        return SimRenewal(self, token, int(limit_s * NS))


def _settle(future: asyncio.Future[Any], ok: bool, value: Any) -> None:
    if future.done():
        return
    if ok:
        future.set_result(value)
    else:
        future.set_exception(value)


def _method(name: str) -> Callable[..., Any]:
    async def act(self: SimBus, *args: Any, **kwargs: Any) -> Any:
        return await self.call(name, args, kwargs)

    act.__name__ = name
    return act


_OWN = {"keys", "close", "open_renewal", "renew_now"}
for _name in dir(MemoryBus):
    if not _name.startswith("_") and _name not in _OWN and asyncio.iscoroutinefunction(getattr(MemoryBus, _name)):
        setattr(SimBus, _name, _method(_name))


class SimRenewal:
    """Renews one lease over the simulated network, blocking its thread."""

    def __init__(self, bus: SimBus, token: LeaseToken, limit_ns: int) -> None:
        self._bus = bus
        self._token = token
        self._limit_ns = limit_ns

    def renew(self) -> None:
        """Count the lease up."""
        world = self._bus._world
        thread: SimThread = running_thread(world)
        outcome: list[tuple[bool, Any]] = []

        def answered(ok: bool, value: Any) -> None:
            outcome.append((ok, value))
            thread.resume()

        send_renewal(self._bus, self._token, self._limit_ns, answered)
        while not outcome:
            thread.block()
        ok, value = outcome[0]
        if not ok:
            raise BusUnavailable(str(value)) if isinstance(value, OutcomeUnknown) else value

    def close(self) -> None:
        """Do nothing."""


def send_renewal(bus: SimBus, token: LeaseToken, limit_ns: int, answer: Callable[[bool, Any], Any]) -> None:
    """Send a renewal on the thread's own connection: a main loop that hangs does not keep its answer back."""
    world, weather, process = bus._world, bus._weather, bus._process
    node = bus._cluster.node_of(process.name)
    is_over = False

    def finish(ok: bool, value: Any) -> None:
        nonlocal is_over
        if not is_over and process.is_alive:
            is_over = True
            answer(ok, value)

    def arrive() -> None:
        if not node.is_up or not bus._cluster.takes_writes(node):
            world.after(weather.delay_ns(world), lambda: finish(False, BusUnavailable("Redis is away")))
            return
        try:
            value: Any = node.execute("lease_renew", (token,), {})
            ok = True
        except Exception as e:
            ok, value = False, e
        if not (weather.loss and world.chance(weather.loss)):
            world.after(weather.delay_ns(world) + weather.answers_late_ns, lambda: finish(ok, value))

    world.after(limit_ns, lambda: finish(False, BusUnavailable("no answer to a renewal")))
    if not (weather.is_cut or (weather.loss and world.chance(weather.loss))):
        world.after(weather.delay_ns(world) + node.slow_ns, arrive)

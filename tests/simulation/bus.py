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
from tests.simulation.redis_model import READS, Cluster, copied, copied_all
from tests.simulation.threads import Steps, running_thread

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
        call = _Call(self, name, args, kwargs)
        call.send()
        return await call.future

    def open_renewal(self, token: LeaseToken, *, limit_s: float) -> SimRenewal:
        """Return what renews a lease from a thread of its own."""
        return SimRenewal(self, token, int(limit_s * NS))


class _Call:
    """One act on its way to the server and back; its future is settled once, in the process, if that lives."""

    __slots__ = (
        "_args", "_block_ms", "_cluster", "_is_read", "_kwargs", "_limit_ns", "_name", "_node", "_process",
        "_sent_ns", "_weather", "_world", "future",
    )  # fmt: skip

    def __init__(self, bus: SimBus, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._process, self._cluster, self._weather = bus._process, bus._cluster, bus._weather
        world = self._world = bus._world
        self._name = name
        self._args = copied_all(args)
        self._block_ms = kwargs.pop("block_ms", None) if name == "read" else None
        self._kwargs = {key: copied(value) for key, value in kwargs.items()} if kwargs else kwargs
        self._node = self._cluster.node_of(bus.client_name)
        self._is_read = name in READS
        self._limit_ns = REPLY_LIMIT_NS
        self._sent_ns = world.now
        self.future: asyncio.Future[Any] = asyncio.Future(loop=self._process.loop)

    def _finish(self, ok: bool, value: Any) -> None:
        """Settle the future: who waits for it runs when its process can."""
        future = self.future
        if future.done() or not self._process.is_alive:
            return
        if ok:
            future.set_result(value)
        else:
            future.set_exception(value)

    def _fail(self, text: str) -> None:
        self._finish(False, BusUnavailable(text) if self._is_read else OutcomeUnknown(text))

    def send(self) -> None:
        """Put it on its way."""
        world, weather, node = self._world, self._weather, self._node
        if weather.is_cut or not node.is_up:
            world.after(weather.delay_ns(world) + (20 * MS if weather.is_cut else 0), lambda: self._finish(
                False, BusUnavailable("Redis cannot be reached")))  # fmt: skip
            return
        if weather.loss and world.chance(weather.loss):
            world.after(self._limit_ns, lambda: self._fail("Redis did not answer"))
            return
        way_ns = weather.delay_ns(world) + node.slow_ns
        if weather.writes_late_s and not self._is_read:
            way_ns += world.between(weather.writes_late_s / 2, weather.writes_late_s)
        world.after(way_ns, self._arrive)

    def _arrive(self) -> None:
        world, node = self._world, self._node
        if not node.is_up:
            world.after(self._weather.delay_ns(world), lambda: self._fail("the connection to Redis was lost"))
            return
        if self._block_ms is not None:
            count, beside = self._kwargs.get("count", 500), self._kwargs.get("beside") or {}
            node.read_blocking(self._args[0], count, max(1, self._block_ms), self.answer, beside)
            return
        if not self._is_read and not self._cluster.takes_writes(node):
            self._reply(False, BusUnavailable("NOREPLICAS not enough good replicas to write"))
            return
        try:
            value = node.execute(self._name, self._args, self._kwargs)
        except Exception as e:
            self._reply(False, e)
            return
        self._reply(True, value)

    def answer(self, value: Any) -> None:
        """Take what the server found."""
        self._reply(True, value)

    def _reply(self, ok: bool, value: Any) -> None:
        world, weather = self._world, self._weather
        late_at = max(world.now, self._sent_ns + self._limit_ns)
        if weather.loss and world.chance(weather.loss):
            world.at(late_at, lambda: self._fail("Redis did not answer"))
            return
        delay_ns = weather.delay_ns(world) + weather.answers_late_ns
        if self._block_ms is None and world.now + delay_ns > self._sent_ns + self._limit_ns:
            world.at(late_at, lambda: self._fail("Redis did not answer in time"))
            return
        world.after(delay_ns, lambda: self._finish(ok, value))


def _method(name: str) -> Callable[..., Any]:
    async def act(self: SimBus, *args: Any, **kwargs: Any) -> Any:
        call = _Call(self, name, args, kwargs)
        call.send()
        return await call.future

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

    def renew_steps(self) -> Steps:
        """Count the lease up."""
        world = self._bus._world
        thread = running_thread(world)
        outcome: list[tuple[bool, Any]] = []

        def answered(ok: bool, value: Any) -> None:
            outcome.append((ok, value))
            thread.resume()

        send_renewal(self._bus, self._token, self._limit_ns, answered)
        while not outcome:
            yield
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

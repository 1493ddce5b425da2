"""Carry out a schedule: each fault at its time, each end of a fault in a task of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp

from copilot_quant.desk import Desk
from shared.bus.keys import Role
from shared.errors import CqError
from shared.messages.control import ControlAction
from tests.chaos.schedule import BROKER_COMMANDS, Fault
from tests.chaos.servers import Server
from tests.chaos.system import GATEWAYS, ChaosSystem

AOF_EVERY_S = 0.25


@dataclass
class Done:
    """A fault as it was carried out: wall times in seconds, on whom, and what else there is to say."""

    fault: Fault
    began: float
    target: str = ""
    ended: float = 0.0
    note: str = ""
    is_error: bool = False
    """Whether it could not be carried out; `note` says why."""


class Trouble:
    """Whoever makes it."""

    def __init__(self, system: ChaosSystem, desk: Desk) -> None:
        self._system = system
        self._desk = desk
        self._leaders = {Role.GATEWAY: "gateway-1", Role.RISK: "risk"}
        self._ends: set[asyncio.Task[None]] = set()
        self._redis = asyncio.Lock()
        self._paused: dict[str, int] = {}
        self.done: list[Done] = []
        self.is_over = False

    async def run(self, faults: list[Fault], started: float) -> None:
        """Carry out every fault at its time, wall seconds after `started`, and wait for all to end."""
        watching = asyncio.create_task(self._watch())
        try:
            for fault in faults:
                await asyncio.sleep(max(0.0, started + fault.at_s - time.time()))
                self._begin(fault)
            if self._ends:
                await asyncio.wait(self._ends, timeout=60.0)
        finally:
            watching.cancel()
            await self.end_all()

    def _begin(self, fault: Fault) -> None:
        done = Done(fault, time.time())
        self.done.append(done)
        task = asyncio.create_task(self._carry_out(fault, done), name=fault.name)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _carry_out(self, fault: Fault, done: Done) -> None:
        try:
            if fault.name in BROKER_COMMANDS:
                await self._broker(fault.name, dict(fault.parameters))
            else:
                await self._act(fault.name)(done, **fault.parameters)
        except (CqError, OSError, aiohttp.ClientError, AssertionError) as e:
            done.note, done.is_error = f"{type(e).__name__}: {e}", True
        done.ended = time.time()

    def _act(self, name: str) -> Callable[..., Awaitable[None]]:
        found: Callable[..., Awaitable[None]] = getattr(self, f"_{name}")
        return found

    async def _watch(self) -> None:
        """Remember who leads, for the moments when nobody can be asked; and how long the append-only files are."""
        while True:
            for server in self._system.servers.pair:
                server.note_size()
            for role in self._leaders:
                try:
                    view = await self._desk.bus.lease_view(role)
                except CqError:
                    continue
                if view.owner:
                    self._leaders[role] = view.owner
            await asyncio.sleep(AOF_EVERY_S)

    # -- processes

    def _leader(self, role: str = Role.GATEWAY) -> str:
        return self._leaders[role]

    def _standby(self) -> str:
        names = [f"gateway-{number}" for number in range(1, GATEWAYS + 1)]
        names.remove(self._leader())
        return names[int(time.time()) % len(names)]

    async def _signal(self, done: Done, name: str, number: signal.Signals) -> int:
        done.target = name
        return await asyncio.to_thread(self._system.signal, name, number)

    async def _kill_leader(self, done: Done) -> None:
        await self._signal(done, self._leader(), signal.SIGKILL)

    async def _kill_standby(self, done: Done) -> None:
        await self._signal(done, self._standby(), signal.SIGKILL)

    async def _kill_risk(self, done: Done) -> None:
        await self._signal(done, self._leader(Role.RISK), signal.SIGKILL)

    async def _kill_strategy(self, done: Done) -> None:
        await self._signal(done, "strategy-1", signal.SIGKILL)

    async def _kill_marketdata(self, done: Done) -> None:
        await self._signal(done, "marketdata", signal.SIGKILL)

    async def _kill_guard(self, done: Done) -> None:
        await self._signal(done, "guard", signal.SIGKILL)

    async def _kill_guard_without_disk(self, done: Done) -> None:
        done.target = "guard"
        supervisor = self._system.supervisor
        await asyncio.to_thread(self._system.signal, "guard", signal.SIGKILL)
        await asyncio.to_thread(supervisor.stop_process, "guard")
        self._system.forget_guard()
        await asyncio.to_thread(supervisor.start_process, "guard")

    async def _pause(self, done: Done, name: str, seconds: float) -> None:
        pid = await self._signal(done, name, signal.SIGSTOP)
        self._paused[name] = pid
        await asyncio.sleep(seconds)
        self._continue(name)

    def _continue(self, name: str) -> None:
        pid = self._paused.pop(name, 0)
        if pid:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # it was killed while it slept

    async def _pause_leader(self, done: Done, seconds: float) -> None:
        await self._pause(done, self._leader(), seconds)

    async def _pause_standby(self, done: Done, seconds: float) -> None:
        await self._pause(done, self._standby(), seconds)

    async def _pause_risk(self, done: Done, seconds: float) -> None:
        await self._pause(done, self._leader(Role.RISK), seconds)

    async def _pause_guard(self, done: Done, seconds: float) -> None:
        await self._pause(done, "guard", seconds)

    async def _handover(self, done: Done) -> None:
        done.target = self._leader()
        await self._desk.control(ControlAction.HANDOVER, who="chaos", reason="drill")

    # -- Redis

    async def _thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)

    async def _redis_kill(self, done: Done, down_s: float) -> None:
        async with self._redis:
            server = await self._thread(self._system.servers.master)
            done.target = server.folder.name
            await self._restarted(server, down_s)

    async def _restarted(self, server: Server, down_s: float) -> None:
        server.kill()
        await asyncio.sleep(down_s)
        server.forget_sizes()
        await self._thread(server.start)

    async def _kill_leader_and_redis(self, done: Done, down_s: float) -> None:
        async with self._redis:
            server = await self._thread(self._system.servers.master)
            leader = self._leader()
            await self._signal(done, leader, signal.SIGKILL)
            done.target = f"{leader} and {server.folder.name}"
            await self._restarted(server, down_s)

    async def _replica_kill(self, done: Done, down_s: float) -> None:
        async with self._redis:
            server = await self._replica()
            done.target = server.folder.name
            await self._restarted(server, down_s)

    async def _replica(self) -> Server:
        servers = self._system.servers
        return servers.other(await self._thread(servers.master))

    async def _redis_pause(self, done: Done, seconds: float) -> None:
        server = await self._thread(self._system.servers.master)
        done.target = server.folder.name
        server.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        server.send(signal.SIGCONT)

    async def _redis_split(self, done: Done, seconds: float) -> None:
        """Let the Sentinels promote the replica while the master hangs; then the old one goes on, as a master."""
        async with self._redis:
            await self._redis_pause(done, seconds)

    async def _redis_promote(self, done: Done) -> None:
        """Promote the replica while the old master lives and takes writes until it is told."""
        async with self._redis:
            done.note = await self._thread(self._system.servers.promote)

    async def _redis_lose_end(self, done: Done, lost_s: float, down_s: float) -> None:
        """Cut the replica off, let the master take writes that it never gets, kill the master."""
        async with self._redis:
            servers = self._system.servers
            master = await self._thread(servers.master)
            replica = servers.other(master)
            done.target = master.folder.name

            def cut_off() -> None:
                with replica.client() as client:
                    client.replicaof("127.0.0.1", "1")

            await self._thread(cut_off)
            await asyncio.sleep(lost_s)
            await self._restarted(master, down_s)

    async def _redis_roll_back(self, done: Done, age_s: float) -> None:
        """Bring Redis back with older data, as from a snapshot."""
        async with self._redis:
            servers = self._system.servers
            master = await self._thread(servers.master)
            replica = servers.other(master)
            done.target = master.folder.name
            replica.kill()
            master.kill()
            done.note = f"{master.roll_back(age_s)} bytes are gone"
            await self._thread(master.start)
            replica.forget_sizes()
            await self._thread(replica.start)

    # -- the network

    def _background(self, work: Coroutine[Any, Any, None]) -> Awaitable[None]:
        return asyncio.create_task(work)

    async def _cut_leader_from_redis(self, done: Done, act: str, seconds: float) -> None:
        await self._cut_from_redis(done, self._leader(), act, seconds)

    async def _cut_standby_from_redis(self, done: Done, act: str, seconds: float) -> None:
        await self._cut_from_redis(done, self._standby(), act, seconds)

    async def _cut_from_redis(self, done: Done, name: str, act: str, seconds: float) -> None:
        done.target = name
        await asyncio.gather(*(link.cut(act, seconds) for link in self._system.redis_links[name]))

    async def _slow_leader_to_redis(self, done: Done, seconds: float, delay_s: float) -> None:
        done.target = self._leader()
        await asyncio.gather(*(link.slow(delay_s, seconds) for link in self._system.redis_links[done.target]))

    async def _cut_leader_from_guard(self, done: Done, act: str, seconds: float) -> None:
        done.target = self._leader()
        await self._system.guard_links[done.target].cut(act, seconds)

    async def _cut_guard_from_broker(self, done: Done, act: str, seconds: float) -> None:
        done.target = "guard"
        await self._system.broker_link.cut(act, seconds)

    # -- the broker

    async def _broker(self, name: str, parameters: dict[str, Any]) -> None:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
            http.post(f"{self._system.simulator_http}/commands/{name}", json=parameters) as reply,
        ):
            if reply.status != 200:
                raise OSError(f"the simulator refused {name}: {await reply.text()}")

    async def end_all(self) -> None:
        """End every fault that lasts, so that everything can settle."""
        for name in list(self._paused):
            self._continue(name)
        try:
            await self._broker("clear", {})
        except (OSError, aiohttp.ClientError):
            pass  # it ends what it can
        for server in self._system.servers.pair:
            if server.process is None:
                await self._thread(server.start)

"""Do damage, as often as the options say, until the rage is over; then mend everything."""

from __future__ import annotations

from collections.abc import Callable

from shared.clock import parse_iso_utc
from shared.ids import MANUAL
from shared.messages.control import ControlAction
from shared.messages.orders import Side
from tests.simulation.intrusions import Intrusions
from tests.simulation.kernel import MS, NS
from tests.simulation.options import PART_HALT
from tests.simulation.people import HAND, People
from tests.simulation.strategies import NAME
from tests.simulation.system import CON_IDS, System
from tests.simulation.wire import Cut

MIDNIGHT_WALL_NS = parse_iso_utc("2026-11-26T05:00:00Z")
"""Midnight in New York, the broker's zone."""
_PAUSED = (f"strategy:{MANUAL}", f"strategy:{HAND}")
"""What may be paused too: the workers' strategy heeds a pause by itself, and takes no quotes meanwhile."""


class Nemesis(Intrusions):
    """The source of everything that goes wrong in a run."""

    def __init__(self, system: System, people: People) -> None:
        self._system = system
        self._people = people
        self._world = system.world
        self._is_over = False
        self.planted = lambda _server, _stream, _entry_id: None
        self.given_back = lambda: None
        self.done: list[tuple[int, str]] = []
        strategies = (MANUAL, HAND, *([NAME] if system.options.workers else []))
        self._parts = (
            *(f"strategy:{name}" for name in strategies), *(f"contract:{con_id}" for con_id in CON_IDS)
        )  # fmt: skip
        self._halted: dict[str, None] = {}
        self._kept: tuple[str, ...] = ()
        """The part that stays halted to the end."""
        # With a midnight the run lies around one; else it is noon.
        at_ns = self._world.between(4.0, 14.0) if "midnight" in system.options.rates else 12 * 3600 * NS
        sign = -1 if "midnight" in system.options.rates else 1
        self._world.epoch_wall_ns = MIDNIGHT_WALL_NS + sign * at_ns - self._world.now

    def begin(self) -> None:
        """Plan the first fault of each kind."""
        if "midnight" in self._system.options.rates:
            self._world.at(MIDNIGHT_WALL_NS - self._world.epoch_wall_ns, self._midnight)
        for kind, rate in self._system.options.rates.items():
            self._plan(kind, rate)

    def _plan(self, kind: str, rate: float) -> None:
        def strike() -> None:
            if self._is_over:
                return
            getattr(self, kind)()
            self._plan(kind, rate)

        self._world.after(int(self._world.rng.expovariate(rate) * NS), strike)

    def _note(self, text: str) -> None:
        self.done.append((self._world.now, text))
        if self._system.trace is not None:
            self._system.trace.append(f"{(self._world.now / NS - 1000):9.4f} FAULT  {text}")

    def _any(self) -> str:
        names = [name for name in self._system.processes if name not in ("guard", "people")]
        # Leaders matter most.
        leading = [name for name in names if self._leads(name)]
        pool = leading if leading and self._world.chance(0.6) else names
        return self._world.rng.choice(pool)

    def _leads(self, name: str) -> bool:
        gateway, risk = self._system.gateways.get(name), self._system.risks.get(name)
        return (gateway is not None and gateway.trading is not None) or (risk is not None and risk.token is not None)

    # -- processes

    def crash(self) -> None:
        """Kill a process; it is started again."""
        name = self._any()
        self._note(f"crash {name}")
        self._system.processes[name].crash()
        self._world.after(self._world.between(0.1, 5.0), lambda: self._system.start(name))

    def worker_crash(self) -> None:
        """Kill a strategy worker whose requests are slow, so that it dies between two of them."""
        names = [name for name in self._system.processes if name.startswith("w")]
        if not names:
            return
        name = self._world.rng.choice(names)
        self._note(f"worker_crash {name}")
        weather, process = self._system.weather[name], self._system.processes[name]
        weather.late, weather.late_s = 1.0, 0.5

        def begin_again() -> None:
            weather.calm()
            self._system.start(name)

        self._world.after(self._world.between(0.5, 3.0), process.crash)
        self._world.after(4 * NS, begin_again)

    def pause(self) -> None:
        """Stop a process for less or more than a lease."""
        name, duration = self._any(), self._world.between(0.01, 6.0)
        self._note(f"pause {name} {duration / NS:.2f}s")
        self._system.processes[name].pause(duration)

    def hang(self) -> None:
        """Block an event loop; the renewal's thread goes on."""
        name, duration = self._any(), self._world.between(0.01, 6.0)
        self._note(f"hang {name} {duration / NS:.2f}s")
        self._system.processes[name].hang(duration)

    def wall_jump(self) -> None:
        """Step a wall clock."""
        name = self._any()
        step = int((self._world.rng.random() * 2 - 1) * self._world.rng.choice((0.1, 2.0, 30.0)) * NS)
        self._note(f"wall_jump {name} {step / NS:.2f}s")
        self._system.processes[name].wall_offset_ns += step

    # -- networks

    def _weather(self, change: Callable[[str], None], text: str) -> None:
        name, duration = self._any(), self._world.between(0.05, 6.0)
        self._note(f"{text} {name} {duration / NS:.2f}s")
        change(name)
        self._world.after(duration, self._system.weather[name].calm)

    def bus_cut(self) -> None:
        """Cut a process from Redis."""
        self._weather(lambda name: setattr(self._system.weather[name], "is_cut", True), "bus_cut")

    def bus_loss(self) -> None:
        """Lose requests and answers between a process and Redis."""
        self._weather(
            lambda name: setattr(self._system.weather[name], "loss", self._world.rng.choice((0.05, 0.3, 0.7))),
            "bus_loss",
        )

    def bus_late(self) -> None:
        """Let requests and answers take long."""

        def change(name: str) -> None:
            weather = self._system.weather[name]
            weather.late, weather.late_s = self._world.rng.choice((0.1, 0.6)), self._world.rng.choice((0.3, 3.0, 8.0))

        self._weather(change, "bus_late")

    def bus_fading(self) -> None:
        """Let answers take up to half a lease, then cut the process off: its last renewal looks newer than it is."""
        name = self._any()
        self._note(f"bus_fading {name}")
        weather = self._system.weather[name]
        half_ns = int(self._system.options.lease_ttl_s / 2 * NS)
        weather.answers_late_ns = int(half_ns * (0.3 + 0.68 * self._world.rng.random()))

        def cut() -> None:
            if self._is_over:
                return  # healed before it came to that
            weather.is_cut = True
            self._world.after(self._world.between(1.0, 4.0), weather.calm)

        self._world.after(self._world.between(1.0, 3.0), cut)

    def handover_late(self) -> None:
        """Kill the leading gateway while its last writes are still on their way, and let its successor's be late too.

        Only writes are: who reads late has nothing to claim, and a late renewal would end the leadership beforehand.
        """
        system = self._system
        leaders = [name for name, gateway in system.gateways.items() if gateway.trading is not None]
        if not leaders:
            return
        self._note(f"handover_late {leaders[0]}")
        for name in system.gateways:
            leases = 2.5 if name == leaders[0] else 0.5
            system.weather[name].writes_late_s = leases * system.options.lease_ttl_s

        def end() -> None:
            for name in system.gateways:
                system.weather[name].calm()

        self._world.after(self._world.between(0.1, 1.0), system.processes[leaders[0]].crash)
        self._world.after(5 * NS, end)
        self._world.after(6 * NS, lambda: system.start(leaders[0]))

    def _cut_wire(self, how: Cut) -> None:
        wires = [wire for wire in self._system.wires if wire.is_open]
        if wires:
            wire = self._world.rng.choice(wires)
            name = wire.near.process.name if wire.near.process is not None else "?"
            self._note(f"wire {how} {name}")
            wire.cut(how)

    def wire_reset(self) -> None:
        """Reset a connection to the broker."""
        self._cut_wire(Cut.RESET)

    def wire_late(self) -> None:
        """Cut one so that what was written arrives later."""
        self._cut_wire(Cut.LATE)

    def wire_half_open(self) -> None:
        """Leave one half open."""
        self._cut_wire(Cut.HALF_OPEN)

    # -- the broker

    def cut_off(self) -> None:
        """Take IB's servers from TWS (1100)."""
        duration = self._world.between(0.1, 6.0)
        self._note(f"cut_off {duration / NS:.2f}s")
        self._system.broker.cut_off(duration, data_lost=self._world.chance(0.5))

    def broker_restart(self) -> None:
        """Restart TWS; ids may roll back."""
        duration = self._world.between(0.2, 4.0)
        self._note(f"broker_restart {duration / NS:.2f}s")
        self._system.broker.restart(duration, roll_back=self._world.rng.choice((0, 0, 3)))

    def broker_silent(self) -> None:
        """Let TWS answer nothing for a while on open sockets."""
        broker = self._system.broker
        broker.is_silent_until = max(broker.is_silent_until, self._world.now + self._world.between(0.2, 6.0))
        self._note("broker_silent")

    def stuck_id(self) -> None:
        """Keep a client id occupied though nobody uses it."""
        client_id = self._world.rng.choice(self._system.options.trading_ids)
        self._system.broker.stuck[client_id] = self._world.now + self._world.between(0.5, 20.0)
        self._note(f"stuck_id {client_id}")

    def midnight(self) -> None:
        """Nothing: midnight comes when the wall clock says so (`begin`)."""

    def _midnight(self) -> None:
        self._note("midnight")
        self._system.broker.midnight()

    def by_hand(self) -> None:
        """Let a person trade in TWS."""
        rng = self._world.rng
        self._note("by_hand")
        self._system.broker.by_hand(rng.choice(CON_IDS), rng.choice((Side.BUY, Side.SELL)), rng.randrange(1, 6))

    # -- Redis

    def redis_restart(self) -> None:
        """Restart Redis with its data."""
        self._note("redis_restart")
        self._system.cluster.restart(self._world.between(0.05, 3.0))

    def redis_older(self) -> None:
        """Restart Redis without its last writes."""
        missing = self._world.rng.choice((1, 5, 50))
        self._note(f"redis_older {missing}")
        if self._system.cluster.master.is_up:
            self._system.cluster.wipe(self._world.between(0.05, 2.0), missing=missing)

    def redis_empty(self) -> None:
        """Restart Redis without any data."""
        self._note("redis_empty")
        if self._system.cluster.master.is_up:
            self._system.cluster.wipe(self._world.between(0.05, 2.0), missing=10**9)

    def redis_failover(self) -> None:
        """Promote a replica that misses the last writes; the old master is gone."""
        self._fail_over(0)

    def redis_split(self) -> None:
        """Promote a replica while the old master lives on with some of its clients."""
        self._fail_over(self._world.between(0.3, 5.0))

    def _fail_over(self, old_lives_ns: int) -> None:
        cluster = self._system.cluster
        if not cluster.master.is_up:
            return
        missing = self._world.rng.choice((0, 1, 3, 20))
        self._note(f"redis_failover missing={missing} old_lives={old_lives_ns / NS:.2f}s")
        cluster.fail_over(
            list(self._system.processes), missing=missing, old_lives_ns=old_lives_ns,
            switch_ns=lambda: self._world.between(0.01, 6.0),
        )  # fmt: skip

    def redis_clock(self) -> None:
        """Step the server's wall clock."""
        step = int((self._world.rng.random() * 2 - 1) * self._world.rng.choice((0.5, 5.0)) * NS)
        self._note(f"redis_clock {step / NS:.2f}s")
        self._system.cluster.master.clock.offset_ns += step

    def redis_full(self) -> None:
        """Let Redis be out of memory."""
        node = self._system.cluster.master
        duration = self._world.between(0.2, 5.0)
        self._note(f"redis_full {duration / NS:.2f}s")
        node.is_full = True
        self._world.after(duration, lambda: setattr(node, "is_full", False))

    def redis_slow(self) -> None:
        """Let Redis be slow."""
        node = self._system.cluster.master
        node.slow_ns = self._world.rng.choice((20 * MS, 200 * MS, 900 * MS))
        duration = self._world.between(0.2, 4.0)
        self._note(f"redis_slow {node.slow_ns / MS:.0f}ms for {duration / NS:.2f}s")
        self._world.after(duration, lambda: setattr(node, "slow_ns", 0))

    # -- the guard and the operator

    def guard_crash(self) -> None:
        """Kill the guard; it comes back with its disk."""
        if self._system.guard is not None:
            self._note("guard_crash")
            self._system.guard.process.crash()
            self._world.after(self._world.between(0.1, 3.0), lambda: self._system.start("guard"))

    def guard_pause(self) -> None:
        """Stop the guard for a while."""
        if self._system.guard is not None:
            self._note("guard_pause")
            self._system.guard.process.pause(self._world.between(0.01, 4.0))

    def halt(self) -> None:
        """Halt, and resume later."""
        if self._people.wanted_controls:
            return
        self._note("halt")
        self._people.control(ControlAction.HALT)
        self._world.after(self._world.between(1.0, 6.0), self._resume)

    def part_halt(self) -> None:
        """Halt or pause a strategy or a contract, and resume it later."""
        if self._people.wanted_controls:
            return
        rng = self._world.rng
        scope = rng.choice(self._parts)
        is_pause = scope in _PAUSED and rng.random() < 0.3
        self._note(f"{'pause' if is_pause else 'halt'} {scope}")
        self._people.control(ControlAction.PAUSE_STRATEGY if is_pause else ControlAction.HALT, scope)
        if not is_pause:
            self._halted[scope] = None
        resume = ControlAction.RESUME_STRATEGY if is_pause else ControlAction.RESUME
        self._world.after(self._world.between(1.0, 6.0), lambda: self._resume_part(resume, scope))

    def _resume_part(self, act: ControlAction, scope: str) -> None:
        if scope not in self._kept:
            self._people.control(act, scope)

    def _end_part_halts(self) -> None:
        """Resume every part; in half of the runs one stays halted, so that its orders must have gone in the end."""
        if self._halted and self._world.rng.random() < 0.5:
            self._kept = (self._world.rng.choice(list(self._halted)),)
            self._note(f"stays halted: {self._kept[0]}")
            self._people.control(ControlAction.HALT, self._kept[0])
        for scope in self._parts:
            self._resume_part(ControlAction.RESUME, scope)
            if scope in _PAUSED:
                self._people.control(ControlAction.RESUME_STRATEGY, scope)

    # -- the end

    def heal(self) -> None:
        """Stop doing damage and mend what is broken."""
        self._is_over = True
        system, world = self._system, self._world
        self._note("heal")
        for weather in system.weather.values():
            weather.calm()
        for process in system.processes.values():
            process.paused_until = min(process.paused_until, world.now)
            process.hung_until = min(process.hung_until, world.now)
            process._wake()
        for node in system.cluster.nodes:
            node.is_full, node.slow_ns = False, 0
        system.broker.is_silent_until = 0
        system.broker.read()
        system.broker.stuck.clear()
        for wire in system.wires:
            wire.heal()
        self._end_intrusions()
        if PART_HALT in system.options.rates:
            self._end_part_halts()
        if {"halt", "poison"} & set(system.options.rates):
            self._people.control(ControlAction.RESUME)
        world.after(6 * NS, self._start_all)

    def _start_all(self) -> None:
        for name in list(self._system.processes):
            self._system.start(name)

"""Put the real services together inside a `World`: gateways, risk and its standby, strategy workers, guard, people.

The services' own shells and cores run unchanged: what a process gets of the outside (clock, randomness, threads, the
broker library, the bus, the guard's HTTP) is replaced at the seam where production code takes it, and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import structlog

import services.gateway.shell.apart as gateway_apart
import services.gateway.shell.commands as gateway_commands
import services.gateway.shell.halt as gateway_halt
import services.gateway.shell.leadership as gateway_leadership
import services.gateway.shell.trading as gateway_trading
import services.gateway.shell.watch as gateway_watch
import services.guard.core.gate as guard_gate
import services.risk.shell.feed as risk_feed
import services.risk.shell.intents as risk_intents
import services.strategy.shell.membership as strategy_membership
import services.strategy.shell.worker as strategy_worker
import shared.clock
import shared.leases.elector as elector_module
import shared.messages.codec as codec
from services.gateway.core.tws_codes import CodeTable
from services.gateway.settings import GatewaySettings
from services.gateway.shell.guard import GuardControl
from services.gateway.shell.leadership import Gateway
from services.risk.core.limits_file import parse_limits
from services.risk.shell.feed import Feed
from services.risk.shell.intents import CancelReader, IntentReader
from services.risk.shell.leadership import Leadership
from shared.bus.keys import Keys, Role
from shared.clock import SYSTEM_CLOCK
from shared.errors import CqError, InvariantBroken
from shared.health import Health, beat
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from shared.messages.market import ContractInfo
from shared.runtime import until_available
from tests.simulation.broker_model import Broker
from tests.simulation.broker_records import BrokerFaults, seen_request
from tests.simulation.bus import SimBus, Weather
from tests.simulation.disk import Disk, SimHaltFile
from tests.simulation.guard_model import GuardModel
from tests.simulation.kernel import NS, Process, World
from tests.simulation.options import Options
from tests.simulation.redis_model import Cluster
from tests.simulation.session import SimSession
from tests.simulation.strategies import work
from tests.simulation.threads import SimEvent, SimThread
from tests.simulation.wire import Wire

ACCOUNT = "DUSIM0001"
DEPLOYMENT = "sim"
DEPLOYMENT_ID = f"sim:{DEPLOYMENT}:{ACCOUNT}"
CON_IDS = (1001, 1002)
POSITION_MAX = 45
LIMITS = "\n".join(
    [
        "[limits]",
        f"position_quantity_max = {POSITION_MAX}",
        *(
            f'{name} = "unlimited"'
            for name in (
                "order_quantity_max", "order_notional_max", "price_collar_percent", "position_notional_max",
                "strategy_position_quantity_max", "strategy_position_notional_max", "exposure_gross_max",
                "buying_power_share", "strategy_rate_per_s", "strategy_rate_burst", "account_rate_per_s",
                "account_rate_burst", "messages_per_s_max", "open_orders_max", "open_orders_side_max",
                "daily_loss_max", "data_age_max_s",
            )
        ),
    ]
)  # fmt: skip


def info_of(con_id: int) -> ContractInfo:
    """Return a contract's definition."""
    name = f"C{con_id}"
    return ContractInfo(con_id=con_id, name=name, symbol=name, sec_type="STK", exchange="SMART", currency="USD",
                        min_tick=Decimal("0.01"))  # fmt: skip


@lru_cache(maxsize=64)
def _settings(values: tuple[tuple[str, Any], ...]) -> GatewaySettings:
    """Return settings, read from nothing but `values`; the same ones are asked for again and again."""
    return GatewaySettings(**dict(values))


class SimGuardControl(GuardControl):
    """The guard's control over the simulated network."""

    def __init__(self, system: System, process: Process) -> None:
        super().__init__("http://guard" if system.guard is not None else "")
        self._system = system
        self._process = process

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, object] | None:
        _ = method
        if not self._url:
            return None
        future: asyncio.Future[dict[str, object] | None] = asyncio.get_running_loop().create_future()
        world, guard = self._system.world, self._system.guard

        def answer(value: dict[str, object] | None) -> None:
            if not future.done():
                future.set_result(value)

        def back(value: dict[str, object] | None) -> None:
            if self._process.is_alive:
                self._process.loop.call_soon(answer, value)

        def there() -> None:
            if guard is None or not guard.process.is_alive:
                back(None)
                return
            guard.process.loop.call_soon(
                lambda: world.after(world.between(0.0003, 0.002), lambda value=guard.control(path, body): back(value))  # type: ignore[misc]
            )

        world.after(world.between(0.0003, 0.002), there)
        world.after(2 * NS, lambda: back(None))
        return await future


class System:
    """Every process of a deployment and the models around them."""

    def __init__(self, world: World, options: Options) -> None:
        self.world = world
        self.options = options
        self.keys = Keys(DEPLOYMENT, tick_partitions=1)
        self.cluster = Cluster(world, self.keys)
        self.cluster.min_replicas_lag_ns = int(options.min_replicas_lag_s * NS)
        self.broker = Broker(world, ACCOUNT, BrokerFaults(**options.broker))
        self.weather: dict[str, Weather] = {}
        self.processes: dict[str, Process] = {}
        self.wires: list[Wire] = []
        self.disk = Disk()
        self.guard: GuardModel | None = None
        self.gateways: dict[str, Gateway] = {}
        self.risks: dict[str, Leadership] = {}
        self.electors: list[tuple[Process, Elector]] = []
        self.guard_watchers: list[Callable[[GuardModel], None]] = []
        self.exits: list[tuple[int, str, BaseException]] = []
        self.crashes: list[tuple[str, BaseException]] = []
        self.trace: list[str] = []
        self._starters: dict[str, Callable[[], None]] = {}

    # -- dialing

    def dial(self, process: Process) -> Wire | None:
        """Connect a process to the broker, through the guard where there is one."""
        if self.options.has_guard:
            wire = self.guard.accept(process) if self.guard is not None else None
        elif self.broker.is_up:
            wire = Wire(self.world, process, None)
            self.broker.connect(wire.far)
        else:
            wire = None
        if wire is not None:
            self.wires = [each for each in self.wires if each.is_open]
            self.wires.append(wire)
        return wire

    info_of = staticmethod(info_of)

    # -- processes

    def _process(self, name: str) -> Process:
        options, world = self.options, self.world
        drift = (world.rng.random() * 2 - 1) * options.drift
        offset = (world.rng.random() * 2 - 1) * options.wall_offset_s
        process = world.process(name, drift=drift, wall_offset_s=offset)
        self.processes[name] = process
        self.weather.setdefault(name, Weather())
        return process

    def bus_of(self, process: Process) -> Any:
        """Return a process's bus; its methods are made from those of the memory bus."""
        return SimBus(process, self.cluster, self.weather[process.name])

    def start(self, name: str) -> None:
        """Start a process, or start it again."""
        self._starters[name]()

    def declare(self, name: str, starter: Callable[[Process], Coroutine[Any, Any, Any]]) -> None:
        """Note how a process starts, and start it."""

        def begin() -> None:
            if name in self.processes and self.processes[name].is_alive:
                return
            process = self._process(name)
            process.enter(lambda: process.start(self._guarded(process, starter(process))))

        self._starters[name] = begin
        begin()

    async def _guarded(self, process: Process, main: Coroutine[Any, Any, Any]) -> None:
        """Run a service as `runtime.run` does: it ends by an error of ours and is started again, or has a bug."""
        try:
            await main
        except BaseException as e:
            if isinstance(e, asyncio.CancelledError | GeneratorExit):
                raise
            first: BaseException = e
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            if isinstance(first, CqError) and not isinstance(first, InvariantBroken):
                self.exits.append((self.world.now, process.name, first))
            else:
                self.crashes.append((process.name, first))
            process.crash()
            self.world.after(self.world.between(0.3, 1.5), lambda: self.start(process.name))

    def start_all(self) -> None:
        """Start everything that the options ask for."""
        options = self.options
        if options.has_guard:
            self._starters["guard"] = self._start_guard
            self._start_guard()
        for number in range(1, options.gateways + 1):
            self.declare(f"g{number}", lambda process, number=number: self._gateway(process, number))  # type: ignore[misc]
        for number in range(1, options.risks + 1):
            self.declare(f"r{number}", self._risk)
        names = [info_of(con_id).name for con_id in CON_IDS]
        for number in range(1, options.workers + 1):
            self.declare(
                f"w{number}",
                lambda process: work(
                    self.bus_of(process), process.name, lease_ttl_s=options.lease_ttl_s, deployment_id=DEPLOYMENT_ID,
                    account=ACCOUNT, names=names,
                ),
            )  # fmt: skip

    def _start_guard(self) -> None:
        if self.guard is not None and self.guard.process.is_alive:
            return
        self.guard = GuardModel(
            self.world, self.broker, self.disk, self._process("guard"), frozenset(self.options.trading_ids)
        )
        for watch in self.guard_watchers:
            watch(self.guard)

    async def _gateway(self, process: Process, number: int) -> None:
        options = self.options
        values: dict[str, Any] = {
            "CQ_MODE": "sim", "CQ_DEPLOYMENT": DEPLOYMENT, "CQ_INSTANCE": process.name, "IB_SIM_ACCOUNT": ACCOUNT,
            "IB_SIM_CLIENT_ID": number, "CQ_LEASE_TTL_S": options.lease_ttl_s, "GATEWAY_LINK_GRACE_S": 4.0,
            "GATEWAY_GUARD": "guard:4104" if options.has_guard else "", "GATEWAY_OTHERS_S": 3.0,
            "GATEWAY_TRADING_CLIENT_IDS": ",".join(map(str, options.trading_ids)),
            "GATEWAY_PROBE_S": 1.0, "GATEWAY_SILENCE_LIMIT_S": 3.0, "GATEWAY_ANSWER_LIMIT_S": 3.0,
            "GATEWAY_CONNECT_LIMIT_S": 2.0, "GATEWAY_ECHO_LIMIT_S": 1.5, "GATEWAY_QUARANTINE_S": options.quarantine_s,
            "GATEWAY_ID_IN_USE_LIMIT_S": 4.0, "GATEWAY_STANDBY": "hot" if number in options.hot else "warm",
        }  # fmt: skip
        settings = _settings(tuple(values.items()))
        bus = self.bus_of(process)
        gateway = Gateway(settings, bus, CodeTable({}), halt_file=SimHaltFile(self.disk), clock=SYSTEM_CLOCK)
        gateway.guard = SimGuardControl(self, process)
        self.gateways[process.name] = gateway
        self.electors.append((process, gateway.elector))
        health = Health(ready={"broker": gateway.not_ready}, facts=gateway.facts)
        async with asyncio.TaskGroup() as group:
            group.create_task(gateway.run())
            group.create_task(gateway.watch.run())
            group.create_task(gateway.run_guard())
            group.create_task(beat(bus, "gateway", process.name, health, http_port=0))

    async def _risk(self, process: Process) -> None:
        bus, name = self.bus_of(process), process.name
        limits = parse_limits(LIMITS)
        elector = Elector(bus, Role.RISK, name, LeaseTiming.of_ttl(self.options.lease_ttl_s))
        self.electors.append((process, elector))
        feed = Feed(bus, ACCOUNT, SYSTEM_CLOCK, instance=name, is_leading=elector.has_lease)
        intents = IntentReader(bus, SYSTEM_CLOCK, feed, limits, instance=name, has_lease=elector.has_lease)
        cancels = CancelReader(bus, SYSTEM_CLOCK, instance=name, has_lease=elector.has_lease)
        leadership = Leadership(bus, SYSTEM_CLOCK, elector, feed, intents, cancels)
        self.risks[name] = leadership

        async def lead() -> None:
            await until_available(leadership.warm_up, what="bus")
            await leadership.run()

        async with asyncio.TaskGroup() as group:
            group.create_task(feed.run())
            group.create_task(feed.run_ticks())
            group.create_task(feed.run_snapshots())
            group.create_task(lead())


class _Randomness:
    """Stands in for the module `secrets` in `shared.clock`."""

    def __init__(self, rng: random.Random) -> None:
        self.randbelow = rng.randrange
        self.choice = rng.choice


class _Threading:
    """Stands in for the module `threading` in the elector."""

    def __init__(self, world: World) -> None:
        self._world = world

    def Event(self) -> SimEvent:  # noqa: N802 - the name it stands in for
        """Return an event."""
        return SimEvent(self._world)

    def Thread(self, target: Any, args: Any, name: str, daemon: bool) -> SimThread:  # noqa: N802
        """Return a thread of the process that runs now."""
        _ = daemon
        assert self._world.current is not None
        return SimThread(target, args, name, process=self._world.current)


class _Log:
    """Takes log events; keeps them where a trace is wanted."""

    def __init__(self, world: World, lines: list[str] | None) -> None:
        self._world = world
        self._lines = lines

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        if self._lines is not None:
            world = self._world
            who = world.current.name if world.current is not None else "-"
            told = " ".join(f"{key}={value}" for key, value in event.items() if key not in ("event", "level", "epoch"))
            self._lines.append(f"{(world.now / NS - 1000):9.4f} {who:6} {event.get('event')} {told}"[:400])
        raise structlog.DropEvent


@contextlib.contextmanager
def inside(world: World, system: System, seed: int | str, *, trace: list[str] | None) -> Iterator[None]:
    """Give the services this world's time, dice, threads and broker for as long as the context lasts."""
    old_config = structlog.get_config()
    old_state = random.getstate()
    stack = contextlib.ExitStack()

    def put(owner: Any, name: str, value: Any) -> None:
        before = getattr(owner, name)
        stack.callback(setattr, owner, name, before)
        setattr(owner, name, value)

    def session(client_id: int, listener: Any, *, options: str = "", time_zone: str = "") -> SimSession:
        assert world.current is not None
        return SimSession(client_id, listener, dialer=system, process=world.current, options=options,
                          time_zone=time_zone)  # fmt: skip

    def monotonic_ns(_clock: Any) -> int:
        return world.current.monotonic_ns() if world.current is not None else world.now

    def wall_ns(_clock: Any) -> int:
        return world.current.wall_ns() if world.current is not None else world.wall_ns()

    put(shared.clock.SystemClock, "monotonic_ns", monotonic_ns)
    put(shared.clock.SystemClock, "wall_ns", wall_ns)
    put(shared.clock, "secrets", _Randomness(random.Random(f"secrets:{seed}")))
    put(elector_module, "threading", _Threading(world))
    put(gateway_trading, "IbSession", session)
    put(gateway_watch, "IbSession", session)
    put(gateway_apart, "IbSession", session)
    # Fewer empty polls: a blocking read is answered as soon as something comes. Entries and frames are decoded once for
    # all who read them: what is decoded is frozen.
    put(risk_feed, "BLOCK_MS", 1000)
    put(risk_intents, "BLOCK_MS", 1000)
    put(risk_intents, "FOLLOW_MS", 200)
    put(risk_feed, "TICK_SLICE_S", 2.0)
    put(risk_feed, "SNAPSHOT_PERIOD_S", 1.0)
    put(strategy_worker, "BLOCK_MS", 200)
    put(elector_module, "QUESTION_S", 0.2)
    put(strategy_membership, "OBSERVE_PER_LEASE", 4)
    put(gateway_leadership, "FOLLOW_S", 1.0)
    put(gateway_commands, "BLOCK_MS", 1000)
    put(gateway_halt, "BLOCK_MS", 500)
    put(gateway_trading, "TURN_S", 0.4)
    put(gateway_watch, "TURN_S", 0.4)
    put(codec, "decode_body", lru_cache(maxsize=4096)(codec.decode_body))
    put(guard_gate, "decode_request", seen_request)
    random.seed(f"module:{seed}")
    level = 20 if trace is not None else 50
    structlog.configure(
        processors=[_Log(world, trace)], wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )  # fmt: skip
    try:
        with stack:
            yield
    finally:
        random.setstate(old_state)
        structlog.configure(**old_config)

"""Put the simulator together: files, engine, port, control."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack

from services.simulator.core.engine import Engine
from services.simulator.settings import SimulatorSettings
from services.simulator.shell.calendar import exchange_hours
from services.simulator.shell.control import Control
from services.simulator.shell.files import read_recordings, read_scenario
from services.simulator.shell.sockets import Exchange
from services.simulator.shell.store import Store
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import BadInput, ConfigError
from shared.health import Health
from shared.logs import get_logger
from shared.runtime import App


async def open_exchange(
    settings: SimulatorSettings, resources: AsyncExitStack, clock: Clock = SYSTEM_CLOCK
) -> tuple[Exchange, Control]:
    """Open an exchange whose ports listen already; tests use it inside one process.

    Raises:
        ConfigError: a file, a directory or a port cannot be used.
    """
    try:
        recordings = read_recordings(settings.replay)
        now_ns = clock.wall_ns()  # reading a day takes seconds, and a replay begins when the exchange opens
        engine = Engine(
            settings.exchange_config(),
            now_ns,
            recordings=recordings,
            speed=settings.speed,
            loop=settings.loop,
            keeps_state=bool(settings.state_dir),
            writes_ticks=True,
            hours=exchange_hours(now_ns) if settings.follow_calendar else None,
        )
    except BadInput as e:
        raise ConfigError(f"SIM_REPLAY: {e}") from e
    try:
        scenario = read_scenario(settings.scenario, engine.commands.check) if settings.scenario else None
    except BadInput as e:
        raise ConfigError(f"SIM_SCENARIO: {e}") from e
    store = Store(settings.state_dir)
    for kind, key, value in store.stored():
        engine.restore(kind, key, value)
    for line in store.ledger_lines():
        engine.floor.ledger.restore(line)
    if scenario is not None:
        engine.play(scenario)
    # What is open now stays: a collection that walks over it would hold up the market for tens of milliseconds.
    gc.collect()
    gc.freeze()
    exchange = Exchange(engine, store, clock, host=settings.host, port=settings.port)
    resources.callback(exchange.stop)
    await exchange.start()
    control = Control(exchange, host=settings.control_host, port=settings.control_port)
    resources.push_async_callback(control.stop)
    await control.start()
    return exchange, control


async def build(settings: SimulatorSettings, resources: AsyncExitStack) -> App:
    """Return the simulator, ready to serve.

    Raises:
        ConfigError: a file, a directory or a port cannot be used.
    """
    exchange, control = await open_exchange(settings, resources)
    get_logger().info(
        "exchange.opened", host=settings.host, port=exchange.port, control_port=control.port,
        accounts=list(settings.accounts), seed=settings.seed, replay=list(settings.replay), speed=settings.speed,
    )  # fmt: skip
    health = Health(facts=lambda: {"port": exchange.port, "control_port": control.port})
    return App(service="simulator", loops={"exchange": exchange.serve}, health=health)

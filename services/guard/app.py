"""Put the guard together: its state on disk, the gate, the relay, the control port."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.guard.core.gate import Gate
from services.guard.settings import GuardSettings
from services.guard.shell.control import Control
from services.guard.shell.epoch import StateDir
from services.guard.shell.probe import BrokerProbe
from services.guard.shell.relay import Relay
from shared.clock import SYSTEM_CLOCK, Clock
from shared.health import Health
from shared.logs import get_logger
from shared.runtime import App
from shared.settings import Mode


async def open_guard(
    settings: GuardSettings, resources: AsyncExitStack, clock: Clock = SYSTEM_CLOCK
) -> tuple[Relay, Control, BrokerProbe]:
    """Open a guard whose ports listen already; tests use it inside one process.

    Raises:
        ConfigError: the state directory or a port cannot be used.
    """
    is_sim = settings.mode is Mode.SIM
    store = StateDir(settings.state_dir)
    resources.callback(store.close)
    highest = store.load_claim()
    gate = Gate(settings.trading_ids, highest, store.load_halt(is_sim=is_sim), stored=highest)
    relay = Relay(gate, store, (settings.upstream_host, settings.broker_port), clock)
    probe = BrokerProbe(settings.upstream_host, settings.broker_port, settings.health_client_id, clock)
    control = Control(relay, store, probe, clock, token=settings.token.get_secret_value(), needs_token=not is_sim)
    await control.start(
        settings.control_host,
        settings.control_port,
        halt_needs_token=settings.control_host not in ("127.0.0.1", "::1", "localhost"),
    )
    resources.push_async_callback(control.stop)
    await relay.start(settings.listen_host, settings.listen_port)
    resources.push_async_callback(relay.stop)
    return relay, control, probe


async def build(settings: GuardSettings, resources: AsyncExitStack) -> App:
    """Return the guard, ready to serve.

    Raises:
        ConfigError: the state directory or a port cannot be used.
    """
    relay, control, probe = await open_guard(settings, resources)
    gate = relay.gate
    get_logger().info(
        "guard.opened", port=relay.port, control_port=control.port, upstream_port=settings.broker_port,
        epoch=gate.highest.epoch if gate.highest else 0, holding=gate.halt.is_holding,
    )  # fmt: skip
    health = Health(
        ready={"broker": lambda: probe.failure},
        facts=lambda: {"epoch": gate.highest.epoch if gate.highest else 0, "holding": gate.halt.is_holding},
    )
    return App(
        service="guard",
        loops={"relay": relay.serve, "probe": lambda: probe.watch(settings.probe_s)},
        health=health,
    )

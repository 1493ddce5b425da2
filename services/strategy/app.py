"""Put a strategy worker together."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from services.strategy.core.saved import Limits, Watched
from services.strategy.settings import StrategySettings
from services.strategy.shell.contracts import ContractBook
from services.strategy.shell.histories import HistoryBook
from services.strategy.shell.isolated import Isolated, end_with_parent
from services.strategy.shell.loader import load_strategies
from services.strategy.shell.mark import Mark
from services.strategy.shell.membership import Membership
from services.strategy.shell.reloading import Reloading
from services.strategy.shell.units import UnitMaker
from services.strategy.shell.watchdog import Watchdog
from services.strategy.shell.worker import Worker
from shared.bus.keys import Role
from shared.bus.ports import Bus
from shared.bus.redis_client import open_bus
from shared.clock import SYSTEM_CLOCK
from shared.errors import OutcomeUnknown, TransientError
from shared.health import Health
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from shared.logs import get_logger
from shared.runtime import App, Loop
from shared.settings import Mode

IDENTITY_POLL_S = 0.2


class LateWorker:
    """A worker that begins once the deployment has its identity, which the first gateway to lead writes."""

    def __init__(self, bus: Bus, settings: StrategySettings, watched: Watched) -> None:
        self._bus = bus
        self._settings = settings
        self._watched = watched
        self._loaded = load_strategies(Path(settings.strategies_file))
        self._source = f"strategy:{settings.instance}"
        self.membership = Membership(
            bus, settings.instance, settings.lease_ttl_s, SYSTEM_CLOCK, self._loaded.units, only=settings.only_unit
        )
        client = f"strategy.{settings.instance}"
        self.contracts = ContractBook(bus, client=client, source=self._source, clock=SYSTEM_CLOCK)
        self.histories = HistoryBook(bus, client=f"{client}.history", source=self._source, clock=SYSTEM_CLOCK)
        self.reloading = Reloading(Path(settings.strategies_file), self.membership, SYSTEM_CLOCK)
        self._worker: Worker | None = None
        self._stopping = asyncio.Event()
        for name, mistake in self._loaded.mistakes.items():
            get_logger().error("strategy.refused", strategy=name, mistake=mistake)

    async def run(self) -> None:
        """Wait for the identity, then work until drained."""
        identity = await self._identity()
        if identity is None:
            return
        settings = self._settings
        limits = Limits(settings.commit_every_s, settings.resend_s, settings.max_errors)
        maker = UnitMaker(
            self._bus,
            deployment_id=identity["id"],
            account=identity["account"],
            limits=limits,
            watched=self._watched,
        )
        timing = LeaseTiming.of_ttl(settings.lease_ttl_s)
        role = Role.strategy(settings.instance)
        elector = Elector(
            self._bus, role, settings.instance, timing, may_hang=lambda: self._watched.is_debugged
        )  # fmt: skip
        isolated = None if settings.only_unit else Isolated(settings.instance, SYSTEM_CLOCK)
        self._worker = Worker(
            self._bus,
            elector,
            self.membership,
            self.contracts,
            maker,
            self._loaded,
            self.histories,
            self.reloading,
            isolated,
            source=self._source,
            clock=SYSTEM_CLOCK,
        )
        await self._worker.run()

    async def _identity(self) -> dict[str, str] | None:
        is_said = False
        while not self._stopping.is_set():
            try:
                stored = await self._bus.hash_get_all(self._bus.keys.identity)
            except (TransientError, OutcomeUnknown):
                stored = {}
            if stored.get("id") and stored.get("account"):
                return {name: value.decode() for name, value in stored.items()}
            if not is_said:
                get_logger().info("identity.awaited")
                is_said = True
            await SYSTEM_CLOCK.sleep(IDENTITY_POLL_S)
        return None

    async def drain(self) -> None:
        """Give the units up."""
        self._stopping.set()
        if self._worker is not None:
            await self._worker.drain()

    def why_not_ready(self) -> str | None:
        """Return why no unit can run here."""
        if self._worker is None:
            return "waits for the deployment's identity, which the first gateway to lead writes"
        return self._worker.why_not_ready()

    def facts(self) -> dict[str, object]:
        """Return what the heartbeat shows."""
        return {} if self._worker is None else self._worker.facts()


async def build(settings: StrategySettings, resources: AsyncExitStack, mark: Mark | None = None) -> App:
    """Open the bus, read the strategies file, and return the worker ready to serve; its sentinel reads `mark`.

    Raises:
        ConfigError: the strategies file is missing or no TOML.
    """
    ticks_url = settings.redis_ticks_url.get_secret_value() if settings.redis_ticks_url else None
    bus = open_bus(
        settings.redis_url.get_secret_value(),
        settings.keys,
        ticks_url=ticks_url,
        client_name=f"strategy-{settings.instance}".replace(" ", "-"),
    )
    resources.push_async_callback(bus.close)
    watched = Watched(clock=SYSTEM_CLOCK.monotonic_ns, mark=mark)
    worker = LateWorker(bus, settings, watched)
    is_sim = settings.mode is Mode.SIM
    resources.enter_context(Watchdog(watched, settings.handler_limit_s, mark=mark, spares_debuggers=is_sim))
    loops: dict[str, Loop] = {
        "worker": worker.run,
        "workers": worker.membership.run,
        "contracts": worker.contracts.run,
        "history": worker.histories.run,
        "reloading": worker.reloading.run,
    }
    if settings.only_unit:
        loops["parent"] = partial(end_with_parent, SYSTEM_CLOCK)
    return App(
        service="strategy",
        loops=loops,
        health=Health(ready={"worker": worker.why_not_ready}, facts=worker.facts),
        bus=bus,
        drain=worker.drain,
    )

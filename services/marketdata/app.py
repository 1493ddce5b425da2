"""Put marketdata together: an election, and while leading the feed, the demand and the history desk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from services.marketdata.settings import MarketdataSettings
from services.marketdata.shell.demand import Demand
from services.marketdata.shell.feed import Feed
from services.marketdata.shell.history import History
from services.marketdata.shell.history_desk import HistoryDesk
from services.marketdata.shell.questions import Questions
from services.marketdata.shell.recorder import Recorder
from services.marketdata.shell.recording import Recording
from services.marketdata.shell.reference import Reference
from shared.bus.keys import Role
from shared.bus.ports import LeaseToken
from shared.bus.redis_client import RedisBus, open_bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import CqError, Fenced, OutcomeUnknown, TransientError
from shared.health import Health
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from shared.logs import get_logger
from shared.runtime import App, bind_epoch


class Marketdata:
    """One process of the role: waits for the lease, works, and starts over when it is lost."""

    def __init__(self, bus: RedisBus, settings: MarketdataSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bus = bus
        self._clock = clock
        self._elector = Elector(
            bus, Role.MARKETDATA, settings.instance, LeaseTiming.of_ttl(settings.lease_ttl_s), clock=clock
        )
        self.recording: Recording | None = None
        if settings.record_dir is not None:
            self.recording = Recording(bus, Recorder(settings.record_dir), clock)
        reference = Reference(bus, settings.day_hours)
        questions = Questions(bus, f"marketdata-{settings.instance}", clock)
        self.feed = Feed(bus, settings, reference, clock)
        self.demand = Demand(bus, settings, self.feed, reference, questions, clock)
        history = History(Questions(bus, f"marketdata-history-{settings.instance}", clock), settings.cache_dir, clock)
        note = self.recording.note_history if self.recording is not None else None
        self.history = HistoryDesk(bus, history, f"marketdata:{settings.instance}", clock, note)
        self._epoch = 0
        self._rate = (0, clock.monotonic_ns(), 0.0)

    async def lead_for_ever(self) -> None:
        """Lead whenever the lease can be had."""
        log = get_logger()
        while True:
            token = await self._elector.win()
            try:
                await self._lead(token)
            except Fenced as e:
                await self._elector.resign(str(e))
            except (TransientError, OutcomeUnknown) as e:
                log.warning("leadership.interrupted", error=str(e))
                await self._elector.resign(str(e))
            self._epoch = 0

    async def _lead(self, token: LeaseToken) -> None:
        self._epoch = token.epoch
        bind_epoch(token.epoch)
        await self._bus.raise_fence(token)
        has_lease = self._elector.has_lease
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.feed.run(token, has_lease), name="feed")
                group.create_task(self.demand.run(token, has_lease), name="demand")
                group.create_task(self.history.run(token, has_lease), name="history")
                if self.recording is not None:
                    group.create_task(self.recording.run(token, has_lease), name="recording")
        except BaseExceptionGroup as errors:
            # one loop failed and the others were cancelled: what matters is why
            ours = errors.subgroup(CqError)
            if ours is None or len(ours.exceptions) < len(errors.exceptions):
                raise
            first: BaseException = ours
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from errors

    async def drain(self) -> None:
        """Give the lease to a standby at once."""
        await self._elector.resign("stopping")

    def not_ready(self) -> str | None:
        """Return why no bars are made now by this process; a standby is ready to take over."""
        if self._epoch and not self.feed.is_caught_up:
            return "reading the tick streams up to now"
        return None

    def facts(self) -> Mapping[str, object]:
        """Return what the heartbeat shows."""
        ticks, since_ns, _ = self._rate
        now_ns = self._clock.monotonic_ns()
        if now_ns > since_ns:
            rate = (self.feed.ticks_read - ticks) * NS_PER_S / (now_ns - since_ns)
            self._rate = (self.feed.ticks_read, now_ns, rate)
        return {
            "role": "leader" if self._elector.has_lease() else "standby",
            "epoch": self._epoch,
            "ticks": self.feed.ticks_read,
            "ticks_per_s": round(self._rate[2], 1),
            "bars": self.feed.bars_published,
            "lag_ms": self.feed.lag_ms,
            "contracts": len(self.demand.wants.con_ids),
            "silent": self.demand.silent,
        }


async def build(settings: MarketdataSettings, resources: AsyncExitStack) -> App:
    """Return the service, ready to serve."""
    ticks_url = settings.redis_ticks_url.get_secret_value() if settings.redis_ticks_url is not None else None
    bus = open_bus(
        settings.redis_url.get_secret_value(), settings.keys, ticks_url=ticks_url, client_name="cq-marketdata"
    )
    resources.push_async_callback(bus.close)
    service = Marketdata(bus, settings)
    health = Health(ready={"bars": service.not_ready}, facts=service.facts)
    return App("marketdata", {"lead": service.lead_for_ever}, health, bus, service.drain)

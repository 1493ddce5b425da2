"""Put the risk service together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from services.risk.core.limits import RULES_VERSION, Limits
from services.risk.settings import RiskSettings
from services.risk.shell.arming import Arming
from services.risk.shell.deciding import Deciding
from services.risk.shell.exits import ExitDesk
from services.risk.shell.feed import Feed
from services.risk.shell.flatten import FlattenDesk
from services.risk.shell.intents import CancelReader, IntentReader
from services.risk.shell.leadership import Leadership
from services.risk.shell.limits import LimitsKeeper
from services.risk.shell.plugins import load_rules
from services.risk.shell.snapshots import Snapshots
from services.risk.shell.watch import BreakerWatch
from shared.bus.keys import Role
from shared.bus.redis_client import open_bus
from shared.clock import SYSTEM_CLOCK
from shared.health import Health
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from shared.logs import get_logger
from shared.runtime import App, until_available


async def build(settings: RiskSettings, resources: AsyncExitStack) -> App:
    """Return the risk service, ready to serve; it waits for a Redis that is not there yet."""
    limits = settings.read_limits()
    log = get_logger()
    for mistake in limits.mistakes:
        log.error("limits.broken", mistake=mistake)
    rules = load_rules()
    newer = [rule.code for rule in rules.rules if rule.since > limits.rules_version]
    log.info(
        "limits.loaded",
        profile=limits.profile,
        file=str(settings.limits_file or ""),
        rules=len(rules.rules),
        stage=limits.stage,
    )
    if newer:
        log.warning("limits.outdated", only_warning=newer, hint=f"check them, then write rules = {RULES_VERSION}")
    ticks = settings.redis_ticks_url.get_secret_value() if settings.redis_ticks_url is not None else None
    bus = open_bus(settings.redis_url.get_secret_value(), settings.keys, ticks_url=ticks, client_name="risk")
    resources.push_async_callback(bus.close)
    elector = Elector(bus, Role.RISK, settings.instance, LeaseTiming.of_ttl(settings.lease_ttl_s))
    day = limits.base.trading_day
    feed = Feed(bus, settings.account, SYSTEM_CLOCK, instance=settings.instance, is_leading=elector.has_lease, day=day)
    arming = Arming(settings, SYSTEM_CLOCK, feed)
    arming.take(arming.look())
    intents = IntentReader(
        bus, SYSTEM_CLOCK, feed, limits, instance=settings.instance, has_lease=elector.has_lease, rules=rules
    )
    cancels = CancelReader(bus, SYSTEM_CLOCK, instance=settings.instance, has_lease=elector.has_lease)
    leadership = Leadership(bus, SYSTEM_CLOCK, elector, feed, intents, cancels)

    snapshots = Snapshots(bus, SYSTEM_CLOCK, feed, is_deciding=lambda: leadership.is_deciding)

    deciding = Deciding(
        bus, SYSTEM_CLOCK, feed, lambda: intents.limits, settings.instance, lambda: leadership.is_deciding
    )
    watch, flatten, exits = BreakerWatch(deciding, snapshots.write), FlattenDesk(deciding), ExitDesk(deciding)

    def use(changed: Limits) -> None:
        intents.limits = changed

    keeper = LimitsKeeper(
        bus,
        SYSTEM_CLOCK,
        limits,
        file_text=settings.limits_text(),
        environment=settings.guide_limits,
        ceiling=settings.read_ceiling(),
        has_lease=elector.has_lease,
        use=use,
    )

    async def drain() -> None:
        await snapshots.write()
        await leadership.drain()

    async def lead() -> None:
        await until_available(leadership.warm_up, what="bus")
        await leadership.run()

    def facts() -> Mapping[str, object]:
        token = leadership.token
        return {
            "role": "leader" if token is not None else "standby",
            "epoch": token.epoch if token is not None else 0,
            "deciding": leadership.is_deciding,
            "profile": intents.limits.profile,
            "stage": str(intents.limits.stage),
            "limits_mistakes": list(intents.limits.mistakes),
            "unprepared": list(feed.book.readiness.unprepared),
            "breakers": {name: trip.text for name, trip in feed.book.breakers.trips.items()},
            "halts": feed.book.breakers.scopes,
            "open_orders": feed.book.open_orders,
            "not_ready": feed.book.readiness.complaint(feed.book.incarnation) or "",
        }

    def usable_limits() -> str | None:
        return "; ".join(intents.limits.mistakes) or None

    def restored() -> str | None:
        if leadership.token is not None and not leadership.is_deciding:
            return "the book is being read"
        return None

    health = Health(ready={"limits": usable_limits, "book": restored}, facts=facts)
    return App(
        service="risk",
        loops={
            "feed": feed.run,
            "ticks": feed.run_ticks,
            "snapshots": feed.run_snapshots,
            "leadership": lead,
            "arming": arming.run,
            "book": snapshots.run,
            "breakers": watch.run,
            "flatten": flatten.run,
            "exits": exits.run,
            "limits": keeper.run,
        },
        health=health,
        bus=bus,
        drain=drain,
    )

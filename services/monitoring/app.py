"""Put monitoring together: collector, notifier, audit, page."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.monitoring.core.alerts import Limits
from services.monitoring.core.views import StatusView
from services.monitoring.settings import MonitoringSettings
from services.monitoring.shell.audit import AuditWriter
from services.monitoring.shell.audit_store import AuditStore
from services.monitoring.shell.collector import Collector
from services.monitoring.shell.controls import Controls
from services.monitoring.shell.notify import AppriseNotifier
from services.monitoring.shell.web import Page, page_server
from shared.bus.redis_client import open_bus
from shared.bus.retention import keep_bounded
from shared.clock import SYSTEM_CLOCK
from shared.health import Health
from shared.logs import get_logger
from shared.runtime import App, Loop


async def build(settings: MonitoringSettings, resources: AsyncExitStack) -> App:
    """Return the service, its page already listening.

    Raises:
        ConfigError: the page's port or the audit's directory cannot be used, or an alert address is not understood.
    """
    clock = SYSTEM_CLOCK
    ticks_url = settings.redis_ticks_url.get_secret_value() if settings.redis_ticks_url is not None else None
    bus = open_bus(
        settings.redis_url.get_secret_value(), settings.keys, ticks_url=ticks_url, client_name="cq-monitoring"
    )
    resources.push_async_callback(bus.close)
    view = StatusView(settings.mode.value, settings.deployment)
    source = f"monitoring:{settings.instance}"
    loops: dict[str, Loop] = {"retention": lambda: keep_bounded(bus, clock)}
    notifier: AppriseNotifier | None = None
    if settings.alert_urls is not None:
        notifier = AppriseNotifier(
            settings.alert_urls.get_secret_value(), f"Copilot Quant {settings.deployment}", clock
        )
        loops["notify"] = notifier.run
    limits = Limits(lag_entries=settings.lag_entries)
    collector = Collector(bus, view, limits, source=source, clock=clock, notifier=notifier)
    health = Health(ready={"bus": collector.not_ready})
    if settings.audit_dir is not None:
        store = AuditStore(settings.audit_dir / settings.deployment)
        resources.callback(store.close)
        audit = AuditWriter(bus, store, clock)
        loops["audit"] = audit.run
        health.ready["audit"] = lambda: audit.trouble or None
    token = settings.web_token.get_secret_value() if settings.web_token is not None else ""
    page = Page(
        view,
        health,
        clock=clock,
        controls=Controls(bus, source=source, clock=clock, resume_word=view.resume_word),
        token=token,
        allowed_hosts=tuple(settings.allowed_hosts),
        trouble=collector.not_ready,
    )
    collector.on_change = page.push
    server = page_server(page, host=settings.page_host, port=settings.page_port)
    await server.start()
    resources.push_async_callback(server.stop)
    health.facts = lambda: {"page_port": server.port, "alerts": len(view.alerts)}
    get_logger().info("page.opened", host=settings.page_host, port=server.port)
    return App("monitoring", {"follow": collector.follow, "look": collector.look_for_ever, **loops}, health, bus)

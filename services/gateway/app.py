"""Put the gateway together: bus, codes, the data session, leadership."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.gateway.core.tws_codes import CodeTable, read_codes
from services.gateway.settings import GatewaySettings
from services.gateway.shell.halt_file import HaltFile
from services.gateway.shell.ib_library import choose_library
from services.gateway.shell.leadership import Gateway
from shared.bus.redis_client import open_bus
from shared.health import Health
from shared.runtime import App


async def build(settings: GatewaySettings, resources: AsyncExitStack) -> App:
    """Return the gateway, ready to serve.

    Raises:
        ConfigError: settings contradict each other, the codes file is wrong, the broker library is missing, or the
            state directory cannot be used.
    """
    settings.check()
    choose_library(settings.library)
    halt_file = HaltFile(settings.state_dir, settings.deployment)
    codes = CodeTable(read_codes(settings.codes_text(), source=settings.codes_file))
    ticks_url = settings.redis_ticks_url.get_secret_value() if settings.redis_ticks_url is not None else None
    bus = open_bus(
        settings.redis_url.get_secret_value(), settings.keys, ticks_url=ticks_url,
        client_name=f"gateway-{settings.instance}",
    )  # fmt: skip
    resources.push_async_callback(bus.close)
    gateway = Gateway(settings, bus, codes, halt_file=halt_file)
    resources.push_async_callback(gateway.guard.close)
    health = Health(ready={"broker": gateway.not_ready}, facts=gateway.facts)
    return App(
        service="gateway",
        loops={
            "leadership": gateway.run,
            "data_session": gateway.watch.run,
            "guard": gateway.run_guard,
            "window_clock": gateway.windows.run,
        },
        health=health,
        bus=bus,
        drain=gateway.stop,
    )

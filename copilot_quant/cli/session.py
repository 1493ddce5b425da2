"""Open a desk for a command: settings from the running local system, the environment or `.env`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from copilot_quant.desk import Desk, open_desk
from copilot_quant.local.run_file import RunningSystem, read_run_file
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import ConfigError, TimedOut
from shared.settings import BrokerSettings, Mode, load_settings

T = TypeVar("T")


def running_system() -> RunningSystem | None:
    """Return the local system running in this directory, unless the environment names the Redis of another one.

    Once `operator_settings` was called the environment names this system's own Redis, which changes nothing here.
    """
    system, named = read_run_file(Path.cwd()), os.environ.get("REDIS_URL")
    return system if system is not None and named in (None, "", system.env.get("REDIS_URL")) else None


def operator_settings() -> BrokerSettings:
    """Return the settings of an operator's command.

    Raises:
        ConfigError: something in the environment or `.env` is wrong.
    """
    system = running_system()
    if system is not None:
        os.environ.update({"CQ_ENV_FILE": "", **system.env})
    try:
        return load_settings(BrokerSettings)
    except ConfigError as e:
        if system is None and "REDIS_URL" not in os.environ and not Path(".env").is_file():
            hint = "no system runs in this directory, and there is no .env: `cq demo` starts one without an account"
            raise ConfigError([hint, *e.mistakes]) from e
        raise


def broker_behind(settings: BrokerSettings) -> str:
    """Return where TWS or IB Gateway itself is, `host:port`: commands are led to the guard before it."""
    system = running_system()
    return system.broker if system is not None and system.broker else f"{settings.broker_host}:{settings.broker_port}"


def with_desk(act: Callable[[Desk, BrokerSettings], Awaitable[T]]) -> T:
    """Run `act` with an open desk and return what it returns."""
    settings = operator_settings()

    async def run() -> T:
        async with open_desk(settings, client_name="cq") as desk:
            return await act(desk, settings)

    return asyncio.run(run())


async def until(look: Callable[[], Awaitable[T | None]], limit_s: float, otherwise: str, *, every_s: float = 0.1) -> T:
    """Return the first true answer of `look`.

    Raises:
        TimedOut: there is none within `limit_s`; the sentence is `otherwise`.
    """
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
    while not (found := await look()):
        if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            raise TimedOut(otherwise)
        await SYSTEM_CLOCK.sleep(every_s)
    return found


def is_live(settings: BrokerSettings) -> bool:
    """Return whether real money is at stake."""
    return settings.mode is Mode.LIVE

"""The one shape of every main: settings → logs → build → serve, with a graceful stop.

```python
async def main(settings: RiskSettings) -> None:
    async with AsyncExitStack() as resources:
        await runtime.serve(await build(settings, resources), settings)

if __name__ == "__main__":
    runtime.run("risk", RiskSettings, main)
```

Shutdown order on SIGTERM or SIGINT:
1. the stop event is set and `service.stopping` is logged;
2. `drain` finishes what was begun, within `CQ_DRAIN_S`;
3. the loops are cancelled, last started first;
4. the health server closes, then the resources of the exit stack, in reverse order of opening.

A loop that raises stops the whole service: half a service is worse than none, and the supervisor restarts it.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import tenacity
import uvloop

from shared.bus.ports import Bus
from shared.clock import SYSTEM_CLOCK
from shared.errors import ConfigError, CqError, ExitCode, InvariantBroken, TransientError
from shared.health import Health, beat
from shared.health_server import HealthServer
from shared.logs import configure_logs, get_logger
from shared.settings import CommonSettings, load_settings

S = TypeVar("S", bound=CommonSettings)
T = TypeVar("T")
Loop = Callable[[], Awaitable[None]]


@dataclass
class App:
    """A service put together, ready to serve.

    `loops` run until cancelled, each under its name. `drain` is called once when the service is told to stop.
    Without a `bus` no heartbeat is written (guard, simulator).
    """

    service: str
    loops: Mapping[str, Loop]
    health: Health = field(default_factory=Health)
    bus: Bus | None = None
    drain: Loop | None = None


async def serve(app: App, settings: CommonSettings) -> None:
    """Run the loops of an app until SIGTERM or SIGINT, then stop it in the order of the module docstring."""
    log = get_logger()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = HealthServer(app.health, host=settings.http_host, port=settings.http_port)
    await server.start()
    gc.freeze()  # what is loaded by now stays: a full collection that walks over it holds up orders for tens of ms
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_named(loop_()), name=name) for name, loop_ in app.loops.items()]
            if app.bus is not None:
                beating = beat(app.bus, app.service, settings.instance, app.health, http_port=server.port)
                tasks.append(group.create_task(beating, name="heartbeat"))
            tasks.append(group.create_task(_wait_and_stop(app, stop, tasks, settings.drain_s), name="stop"))
            log.info("service.started", http_port=server.port, loops=list(app.loops))
    finally:
        await server.stop()
        log.info("service.stopped")


async def _named(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _wait_and_stop(app: App, stop: asyncio.Event, tasks: list[asyncio.Task[None]], drain_s: float) -> None:
    await stop.wait()
    log = get_logger()
    log.info("service.stopping")
    if app.drain is not None:
        try:
            async with asyncio.timeout(drain_s):
                await app.drain()
        except TimeoutError:
            log.warning("service.drain_cut", drain_s=drain_s)
    for task in reversed(tasks):
        if task is not asyncio.current_task():
            task.cancel()


def run(service: str, settings_class: type[S], main: Callable[[S], Awaitable[None]]) -> None:
    """Read settings, set up logs, run `main`, and leave with a stable exit code (`shared.errors.ExitCode`)."""
    try:
        settings = load_settings(settings_class)
        _ = settings.keys
    except ConfigError as e:
        for mistake in e.mistakes:
            sys.stderr.write(f"{service}: {mistake}\n")
        sys.exit(ExitCode.CONFIG)
    configure_logs(
        service, settings.instance, mode=settings.mode, level=settings.log_level, log_format=settings.log_format
    )
    log = get_logger()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_as_coroutine(main, settings))
    except KeyboardInterrupt:
        sys.exit(ExitCode.OK)
    except BaseExceptionGroup as group:
        first = _first_of(group)
        log.error("service.failed", error=str(first), kind=type(first).__name__, exc_info=first)  # noqa: TRY400 - a group
        sys.exit(first.exit_code if isinstance(first, CqError) else ExitCode.INTERNAL)
    except ConfigError as e:
        for mistake in e.mistakes:
            log.error("service.refused_start", mistake=mistake)  # noqa: TRY400 - no trace for a setting
            sys.stderr.write(f"{service}: {mistake}\n")  # for a person, like a wrong setting above
        sys.exit(ExitCode.CONFIG)
    except CqError as e:
        is_bug = isinstance(e, InvariantBroken)
        log.error("service.failed", error=str(e), kind=type(e).__name__, exc_info=is_bug)  # noqa: TRY400 - only bugs
        sys.exit(e.exit_code)
    except Exception as e:
        log.exception("service.failed", error=str(e), kind=type(e).__name__)
        sys.exit(ExitCode.INTERNAL)


async def _as_coroutine(main: Callable[[S], Awaitable[None]], settings: S) -> None:
    await main(settings)


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


async def side_by_side(loops: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
    """Run loops until one of them fails, then end the others.

    No loop may fail inside the task group: a group whose task is cancelled while a part of it fails reports the failure
    and loses the cancel (Python 3.11). Whoever then goes on, as a leader that lost its lease does, is never ended.

    Raises:
        ExceptionGroup: what failed.
        CancelledError: the caller is cancelled, whatever failed meanwhile.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_failure_of(loop()), name=name) for name, loop in loops.items()]
        running = set(tasks)
        while running:
            over, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if any(task.cancelled() or task.result() is not None for task in over):
                break
        for task in tasks:
            task.cancel()
    failures = [failure for task in tasks if not task.cancelled() and (failure := task.result()) is not None]
    if failures:
        raise ExceptionGroup("loops failed", failures)


async def _failure_of(loop: Awaitable[None]) -> Exception | None:
    try:
        await loop
    except Exception as e:  # noqa: BLE001 - told by the group's owner
        return e
    return None


def bind_epoch(epoch: int) -> None:
    """Bind the epoch to every further log event of this process."""
    structlog.contextvars.bind_contextvars(epoch=epoch)


async def until_available(act: Callable[[], Awaitable[T]], *, what: str, longest_s: float = 5.0) -> T:
    """Repeat `act` until it does not raise TransientError, with exponential back-off and jitter; never gives up.

    Only for acts that may be repeated: connecting, reading, idempotent writes.
    """
    log = get_logger()

    def noted(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number in (1, 2, 4, 8) or state.attempt_number % 16 == 0:
            log.warning("dependency.away", what=what, attempt=state.attempt_number, error=str(error))

    async for attempt in tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=longest_s),
        before_sleep=noted,
        sleep=SYSTEM_CLOCK.sleep,
        reraise=True,
    ):
        with attempt:
            return await act()
    raise InvariantBroken("an endless retry ended")

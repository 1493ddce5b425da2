"""Give the guide's classes a desk: on the Redis that is named, the system that runs here, or one started for them.

1. One `Access` per mode and process; its desk lives on the background loop.
2. A system started here runs until this process ends, however it ends, or until `stop_started()`; others are left.
3. A new paper deployment starts halted until a person resumes it. Where a script makes the deployment itself (there is
   no `.cq/<deployment>` yet), that start counts as the person's resume: on paper, once, audited in `control`. One that
   was there before and lost its Redis stays halted, as does any other halt, and live is never resumed here.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from copilot_quant.background import BACKGROUND
from copilot_quant.connecting import Connecting
from copilot_quant.desk import Desk, open_desk
from copilot_quant.front_settings import (
    CURE,
    broker_settings,
    check_may_order,
    mode_of,
    running_system,
    settings_of_system,
)
from copilot_quant.local.options import options_of
from copilot_quant.local.system import LocalSystem
from copilot_quant.preflight_facts import check_preflight
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BrokerUnavailable, BusUnavailable, CqError, TimedOut
from shared.messages.control import ControlAction, HaltStage
from shared.settings import BrokerSettings, Mode

T = TypeVar("T")
log = logging.getLogger("copilot_quant.access")
START_LIMIT_S = 90.0
PORT_LIMIT_S = 5.0
READY_LIMIT_S = 60.0
LINK_EVENTS = ("link.changed", "data_link.refused", "data_link.lost")
NOTHING_EVER = "0-0"
_NEEDED = frozenset({"gateway", "risk", "marketdata"})


class Access:
    """A desk for callers outside its loop.

    Args:
        settings: mode and account.
        desk: opened on the background loop.
        system: the system started for it, None where one ran already.
    """

    def __init__(self, settings: BrokerSettings, desk: Desk, system: LocalSystem | None = None) -> None:
        self.settings = settings
        self.desk = desk
        self.system = system

    def run(self, work: Coroutine[Any, Any, T], *, limit_s: float) -> T:
        """Run something of the desk and return what it returns.

        Raises:
            TimedOut: it took longer than `limit_s`.
        """
        return BACKGROUND.run(work, limit_s=limit_s)


class Joined(Connecting):
    """What joins a system with `connect` and lets go of it with `disconnect`; also as a `with` block."""

    def __init__(self) -> None:
        self._access: Access | None = None

    def is_connected(self) -> bool:
        """Say whether `connect` worked and `disconnect` was not called since."""
        return self._access is not None

    @property
    def access(self) -> Access:
        """Return what `connect` opened.

        Raises:
            BrokerUnavailable: it did not, or was not called.
        """
        if self._access is None:
            raise self.not_connected()
        return self._access


class _Opened:
    """Every access of this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._by_mode: dict[Mode, tuple[Access, AsyncExitStack]] = {}

    def open(self, *, paper_trading: bool, is_ordering: bool) -> Access:
        mode = mode_of(paper_trading=paper_trading)
        if is_ordering:
            check_may_order(mode)
        with self._guard:
            known = self._by_mode.get(mode)
            if known is not None:
                if self._is_alive(known[0]):
                    return known[0]
                self._close(mode)
            access, resources = BACKGROUND.run(_open(mode), limit_s=START_LIMIT_S + READY_LIMIT_S)
            self._by_mode[mode] = access, resources
            return access

    @staticmethod
    def _is_alive(access: Access) -> bool:
        if access.system is not None:
            return access.system.supervisor.is_running
        try:
            access.run(access.desk.identity(), limit_s=5.0)
        except CqError:
            return False  # the system it was opened on is gone; another may run by now
        return True

    def _close(self, mode: Mode) -> None:
        access, resources = self._by_mode.pop(mode)
        try:
            BACKGROUND.run(resources.aclose(), limit_s=5.0)
        except CqError as e:
            log.warning("the desk did not close: %s", e)
        if access.system is not None:
            access.system.stop()

    def stop(self) -> None:
        with self._guard:
            for mode in list(self._by_mode):
                self._close(mode)


_OPENED = _Opened()


def open_access(*, paper_trading: bool, is_ordering: bool = False) -> Access:
    """Return the access of a mode, opened if need be; with no system running one is started, which takes a while.

    Raises:
        ConfigError: settings are wrong.
        ModeMismatch: a system of another mode runs here, or live orders without `CQ_MODE=live`.
        CqError: the system did not come up; the sentence says which part, and where its log is.
    """
    return _OPENED.open(paper_trading=paper_trading, is_ordering=is_ordering)


def stop_started() -> None:
    """Close every desk of this process and stop the systems it started; the next `connect` starts anew."""
    _OPENED.stop()


def _at_exit() -> None:
    """Let nothing of ours complain that its system ends; the loop itself ends after this (`background`)."""
    BACKGROUND.cancel_spawned()
    stop_started()


atexit.register(_at_exit)


async def _open(mode: Mode) -> tuple[Access, AsyncExitStack]:
    """Find or start the system of a mode and open a desk on it."""
    system, is_new = None, False
    running = running_system(mode)
    if running is not None:
        settings = settings_of_system(running)
    else:
        settings = broker_settings(mode)
        if "redis_url" not in settings.model_fields_set:
            check_may_order(mode)  # nobody's feed starts a live system by the way
            check_preflight(settings, Path.cwd())
            await _check_broker(settings)
            options = options_of(settings, Path.cwd(), gateways=1, workers=0)
            is_new = options.data_dir is not None and not options.data_dir.exists()
            system = LocalSystem(options, Path.cwd())
            settings = BrokerSettings(_env_file=None, **dict(system.operator_env()))  # type: ignore[arg-type]
    resources = AsyncExitStack()
    since_ns = 0
    try:
        if system is not None:
            since_ns = SYSTEM_CLOCK.wall_ns()
            log.warning(
                "no system runs here: starting one for this process (as `cq up`), %s account, broker %s:%s",
                mode,
                system.options.broker_host,
                system.options.broker_port or system.plan.broker_port,
            )
            await asyncio.to_thread(_start, system)
        desk = await resources.enter_async_context(open_desk(settings, client_name="cq-front"))
        await _until_ready(desk, since_ns)
        if system is not None:
            if is_new:
                await _resume_first_start(desk, mode)
            elif (await desk.halt_status()).get("stage") != HaltStage.NONE:
                log.warning("it is halted: orders are refused until `cq resume --reason …`")
            log.warning("it is ready; status page %s, logs %s/logs", system.status_page, system.run_dir)
    except BaseException as e:
        await resources.aclose()
        if system is not None:
            words = _last_words(system) if isinstance(e, TimedOut) else ""
            await asyncio.to_thread(system.stop)
            if words:
                raise TimedOut(f"{e} {words}") from e
        raise
    return Access(settings, desk, system), resources


async def _check_broker(settings: BrokerSettings) -> None:
    """Start no system in front of a TWS that is not there: its caller would wait a minute for the same answer.

    Raises:
        BrokerUnavailable: nothing takes connections at the address of the settings.
    """
    if settings.mode is Mode.SIM:
        return  # the system brings its own
    host, port = settings.broker_host, settings.broker_port
    try:
        async with asyncio.timeout(PORT_LIMIT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as e:
        raise BrokerUnavailable(f"cannot connect to {host}:{port}, nothing answers there: {CURE}") from e
    writer.close()


def _start(system: LocalSystem) -> None:
    """Start it from a thread: parts of the start block."""
    asyncio.run(system.start(lambda line: log.info("%s", line)))


def _last_words(system: LocalSystem) -> str:
    """Return why the gateway does not lead, as its log has it: it knows best."""
    reasons = [reason for line in system.supervisor.log_tail("gateway-1", 20) if (reason := _reason(line))]
    return f"The gateway says: {reasons[-1]}" if reasons else ""


def _reason(line: str) -> str:
    """Return the reason in a line of a log that is about the link; lines of other kinds have none."""
    try:
        content = json.loads(line)
    except ValueError:
        return ""
    is_about_link = isinstance(content, dict) and str(content.get("event", "")) in LINK_EVENTS
    reason = str(content.get("reason", "")) if is_about_link else ""
    return "" if reason == "not connected yet" else reason


async def _until_ready(desk: Desk, since_ns: int) -> None:
    """Wait until a gateway leads with a READY link, risk and marketdata are ready, and account values are there.

    Only processes count that began at `since_ns` or later: the last beats of a system that ended a moment ago may still
    be in its Redis when the next one loads it.

    Raises:
        TimedOut: they are not; the sentence says what is missing.
        BusUnavailable: the Redis that was named does not answer.
    """
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(READY_LIMIT_S * NS_PER_S)
    failures = 0
    while True:
        missing = "Redis"
        try:
            missing = await _missing(desk, since_ns)
        except BusUnavailable:
            failures += 1
            if failures > 20:
                raise
        if not missing:
            return
        if SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            raise TimedOut(f"not ready after {READY_LIMIT_S:g} s: waiting for {missing}. `cq doctor` says more.")
        await SYSTEM_CLOCK.sleep(0.1)


async def _missing(desk: Desk, since_ns: int) -> str:
    rows = [row for row in await desk.heartbeats() if row["started_ns"] >= since_ns]
    leader = next((row for row in rows if row["service"] == "gateway" and row.get("role") == "leader"), None)
    if leader is None or leader.get("link") != "READY":
        return "a gateway that leads, connected to the broker"
    absent = sorted(_NEEDED - {row["service"] for row in rows if row.get("ready")})
    if absent:
        return ", ".join(absent)
    return "" if await desk.account_values() else "the account's values"


async def _resume_first_start(desk: Desk, mode: Mode) -> None:
    """Lift the halt of a paper deployment in which nobody ever resumed or ordered anything."""
    status = await desk.halt_status()
    if mode is not Mode.PAPER or status.get("stage") == HaltStage.NONE:
        return
    last_ids = [await desk.bus.last_id(stream) for stream in (desk.keys.control, desk.keys.intents)]
    if status.get("who") not in ("gateway", "guard") or set(last_ids) != {NOTHING_EVER}:
        log.warning("it is halted (%s): orders are refused until `cq resume --reason …`", status.get("reason", ""))
        return
    await desk.control(ControlAction.RESUME, who="copilot_quant", reason="first start by a script, paper account")
    await desk.wait_halt_stage(frozenset({HaltStage.NONE.value}))
    log.warning("this paper deployment is new and was halted: resumed, orders pass (`cq halt` stops them)")

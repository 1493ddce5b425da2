"""Gather what the checklist before real money is judged by: files, the machine, the broker's port, the running system.

Nothing here orders, changes or waits longer than a few seconds.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

from copilot_quant.desk import Desk
from copilot_quant.local.run_file import RunningSystem
from copilot_quant.preflight import Facts, SystemFacts
from services.monitoring.core.protection import is_protected
from services.monitoring.settings import MonitoringSettings
from services.risk.core.limits import Limits, Stage
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import staged
from services.risk.settings import RiskSettings
from shared.clock import SYSTEM_CLOCK, parse_iso_utc
from shared.errors import BadInput, ConfigError
from shared.messages import decode_fields
from shared.messages.base import Message
from shared.messages.control import BrokerStatus, Control, ControlAction, PacingViolation
from shared.messages.market import DataStatus
from shared.messages.orders import Decision
from shared.preflight import DAY_NS, Entry, missing, read_result, result_file
from shared.settings import BrokerSettings, Mode, load_settings

RECORDS = 5000
PACING_CODES = frozenset({100, 420})
SECRET = re.compile(
    r"""^\s*\w*(?:password|passwd|secret|token|api_key)\w*\s*=\s*["'][^"'{$]{4,}["']""", re.IGNORECASE | re.MULTILINE
)
PROBE_S = 2.0
MACHINES = frozenset({"copilot_quant", "guard", "gateway", "risk", "monitoring"})
"""Names under which a start that no person made is audited."""


def facts_of(
    settings: BrokerSettings,
    directory: Path,
    answers: Mapping[str, Entry],
    system: SystemFacts | None,
    *,
    running: RunningSystem | None,
    can_halt: bool,
) -> Facts:
    """Return what files, settings and the machine show; `running` is the system of this directory."""
    host, port = broker_address(settings, running)
    paper = result_file(directory, "paper")
    return Facts(
        mode=settings.mode.value,
        stage=load_settings(RiskSettings).live_stage.value,
        now_ns=SYSTEM_CLOCK.wall_ns(),
        first_start_ns=first_start_ns(directory / ".cq" / "paper"),
        leaks=tuple(leaks(directory)),
        api_is_open=api_is_open(host, port),
        has_alerts=load_settings(MonitoringSettings).alert_urls is not None,
        can_halt=can_halt,
        system=system,
        paper=read_result(paper) if settings.mode is Mode.LIVE else None,
        answers=answers,
    )


def first_start_ns(data_dir: Path) -> int:
    """Return when a deployment first started, 0 where it never did here."""
    try:
        return parse_iso_utc((data_dir / "first-start").read_text().strip())
    except (OSError, ValueError):
        return 0


def leaks(directory: Path) -> list[str]:
    """Return what gives credentials away: a readable or versioned .env, and words in the strategies' code."""
    found = []
    env = directory / ".env"
    if env.is_file():
        if env.stat().st_mode & 0o077:
            found.append(".env can be read by other users of this machine: `chmod 600 .env`")
        if _is_versioned(env):
            found.append(".env is under version control: `git rm --cached .env`, and change what was in it")
    for folder in ("strategies", "examples"):
        found += [
            f"{file.relative_to(directory)} has a password or token in it"
            for file in sorted((directory / folder).rglob("*.py"))
            if SECRET.search(file.read_text(encoding="utf-8", errors="replace"))
        ]
    return found


def _is_versioned(path: Path) -> bool:
    try:
        done = subprocess.run(
            ["git", "ls-files", "--error-unmatch", path.name],
            cwd=path.parent, capture_output=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def broker_address(settings: BrokerSettings, running: RunningSystem | None) -> tuple[str, int]:
    """Return where TWS or IB Gateway itself is: beside a running system the settings lead to its guard."""
    host, _, port = (running.broker if running is not None else "").rpartition(":")
    return (host, int(port)) if host else (settings.broker_host, settings.broker_port)


def api_is_open(host: str, port: int) -> bool | None:
    """Say whether an API on this machine also answers at the machine's outer address; None if it cannot be seen."""
    try:
        if not ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:
            return None  # elsewhere: from here only its answer to us is seen
        with socket.create_connection((host, port), PROBE_S):
            pass  # it is there at all
    except OSError:
        return None
    outer = _outer_address()
    return _greets(outer, port) if outer else None


def _outer_address() -> str:
    """Return an address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = str(probe.getsockname()[0])
        except OSError:
            return ""
    return "" if ipaddress.ip_address(address).is_loopback else address


def _greets(address: str, port: int) -> bool:
    """Say whether something answers the API's hello there."""
    versions = b"v157..176"
    try:
        with socket.create_connection((address, port), PROBE_S) as connection:
            connection.settimeout(PROBE_S)
            connection.sendall(b"API\0" + struct.pack(">I", len(versions)) + versions)
            return bool(connection.recv(64))
    except OSError:
        return False


async def system_facts(desk: Desk, settings: RiskSettings) -> SystemFacts:
    """Return what a running system shows.

    Raises:
        BusUnavailable: none runs that answers.
    """
    beats = await desk.heartbeats()
    positions = await desk.positions()
    held = [report for report in positions if report.position]
    orders = await desk.open_orders()
    naked = [report.contract for report in held if not is_protected(report, orders)]
    facts = SystemFacts(
        ready=frozenset(str(row["service"]) for row in beats if row.get("ready")),
        not_ready=tuple(f"{row['instance']}: {'; '.join(row['failed'].values())}" for row in beats if row["failed"]),
        dead_letters=await desk.bus.stream_length(desk.keys.dead_letter),
        unexplained=tuple(report.contract for report in positions if report.unexplained),
        unprotected=tuple(naked),
        positions=len(held),
    )
    limits = await _limits_in_force(desk, settings)
    if limits is not None:
        facts = replace(facts, limits=in_words(limits), is_tiny=is_tiny(limits))
    return await _with_records(desk, facts)


async def _limits_in_force(desk: Desk, settings: RiskSettings) -> Limits | None:
    shown = (await desk.bus.hash_get_all(desk.keys.limits)).get("text")
    if shown is None:
        return None
    return staged(parse_limits(shown.decode(), source="in force", environment=settings.guide_limits), settings.stage)


def in_words(limits: Limits) -> str:
    """Return the limits that matter most."""
    base = limits.base
    return (
        f"profile {limits.profile}: an order at most {base.order_notional_max}, "
        f"a position {base.position_quantity_max}, all {base.exposure_gross_max}, "
        f"a day's loss {base.daily_loss_max} ({base.daily_loss_rung})"
    )


def is_tiny(limits: Limits) -> bool:
    """Say whether the stage limited would change nothing of the limits."""
    tiny = staged(limits, Stage.LIMITED)
    return (tiny.base, tiny.contracts, tiny.strategies) == (limits.base, limits.contracts, limits.strategies)


async def _with_records(desk: Desk, facts: SystemFacts) -> SystemFacts:
    """Add what the streams still have: halts and resumes by people, refusals, pacing complaints."""
    halted = resumed = refusals = 0
    codes: set[int] = set()
    for stream in (desk.keys.control, desk.keys.decisions, desk.keys.broker_status):
        for entry in await desk.bus.read_last(stream, RECORDS):
            try:
                message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
            except BadInput:
                continue  # its reader dead-letters it
            if isinstance(message, Control) and message.who not in MACHINES:
                if message.action is ControlAction.HALT:
                    halted = max(halted, message.ts_init_ns)
                elif message.action is ControlAction.RESUME:
                    resumed = max(resumed, message.ts_init_ns)
            elif isinstance(message, Decision):
                refusals += not message.approved
            elif _is_pacing_complaint(message) and SYSTEM_CLOCK.wall_ns() - message.ts_init_ns < DAY_NS:
                codes.add(message.code)
    return replace(facts, halted_ns=halted, resumed_ns=resumed, refusals=refusals, pacing_errors=tuple(sorted(codes)))


def _is_pacing_complaint(message: Message) -> TypeGuard[PacingViolation | BrokerStatus | DataStatus]:
    """Say whether the broker complained: of a request, by ending a session (100), of a subscription (420)."""
    if isinstance(message, PacingViolation):
        return True
    return isinstance(message, BrokerStatus | DataStatus) and message.code in PACING_CODES


def check_preflight(settings: BrokerSettings, directory: Path) -> None:
    """Let no live deployment open positions before the checklist was gone through; observing and closing need none.

    Raises:
        ConfigError: something of it is missing, or too long ago; each item is named.
    """
    if settings.mode is not Mode.LIVE or load_settings(RiskSettings).live_stage is Stage.OBSERVE:
        return
    result = read_result(result_file(directory, settings.deployment))
    left = missing(result, mode=settings.mode.value, account=settings.account, now_ns=SYSTEM_CLOCK.wall_ns())
    if left:
        raise ConfigError(
            ["LIVE_STAGE: live opens positions only after `cq preflight --live`; set it to observe until then, and see",
             *left]
        )  # fmt: skip


async def guard_answers(system: RunningSystem | None) -> bool:
    """Say whether the guard's own port takes connections."""
    if system is None or not system.guard_http:
        return False
    host, _, port = system.guard_http.rpartition("//")[2].partition(":")
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError, TimeoutError):
        return False
    writer.close()
    return True

"""`cq connect`, `cq doctor`: what is there, what is missing, and what to click or set."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer
from rich.text import Text

from copilot_quant.cli.output import JsonOption, print_json, print_table
from copilot_quant.cli.session import operator_settings
from copilot_quant.desk import open_desk
from copilot_quant.doctor import examine_bus, examine_data, examine_flow
from copilot_quant.doctor_broker import examine_broker
from copilot_quant.findings import Finding
from shared.bus.addresses import parse_address
from shared.errors import BusUnavailable, ExitCode
from shared.settings import BrokerSettings

MARKS = {"ok": Text("ok", "green"), "warn": Text("look", "yellow"), "bad": Text("wrong", "red")}


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("connect")(connect)
    app.command("doctor")(doctor)


def _show(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json([{"name": one.name, "state": one.state, "text": one.text, "cure": one.cure} for one in findings])
    else:
        rows = [[MARKS[one.state], one.name, one.text, one.cure] for one in findings]
        print_table("", ["", "what", "found", "what to do"], rows, empty="")
    if any(finding.state == "bad" for finding in findings):
        sys.exit(ExitCode.UNAVAILABLE)


def connect(
    host: Annotated[str, typer.Option("--host", help="Another host than the settings name.")] = "",
    port: Annotated[int, typer.Option("--port", help="Another port than the settings name.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Look at a TWS or IB Gateway read-only: does it answer, which accounts, what is missing. Sends no order."""
    settings = operator_settings()
    target_host, target_port = host or settings.broker_host, port or settings.broker_port
    findings = asyncio.run(examine_broker(target_host, target_port, settings))
    _show(findings, as_json=as_json)


def doctor(as_json: JsonOption = False) -> None:
    """Examine Redis, the services, the broker's session and the data of every contract; name cause and cure."""
    settings = operator_settings()
    _show(asyncio.run(_examine(settings)), as_json=as_json)


async def _examine(settings: BrokerSettings) -> list[Finding]:
    address = parse_address(settings.redis_url.get_secret_value())
    findings: list[Finding] = []
    async with open_desk(settings, client_name="cq-doctor") as desk:
        try:
            findings += await examine_bus(desk, address.kind)
            findings += await examine_data(desk)
            findings += await examine_flow(desk)
        except BusUnavailable as e:
            cure = "start it, or set REDIS_URL; `cq demo` brings a Redis of its own"
            findings.append(Finding("Redis", "bad", str(e), cure))
    return findings + await examine_broker(settings.broker_host, settings.broker_port, settings)

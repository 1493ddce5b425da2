"""`cq halt`, `cq resume`: stop and restart trading."""

from __future__ import annotations

import getpass
from decimal import Decimal
from typing import Annotated

import aiohttp
import typer

from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import is_live, running_system, with_desk
from copilot_quant.desk import Desk
from shared.errors import BusUnavailable, Refused, TimedOut
from shared.messages.control import ControlAction, HaltStage
from shared.settings import BrokerSettings

ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("halt")(halt)
    app.command("resume")(resume)


def halt(
    reason: ReasonOption = "by hand",
    everything: Annotated[
        bool, typer.Option("--everything", help="Also cancel protective orders and orders that are not ours.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop trading: no order that adds exposure passes any more; risky working orders are cancelled; stops stay.

    Confirmed means `holding`: nothing more can go out. With Redis down, the guard is told directly.
    """

    async def act(desk: Desk, _: BrokerSettings) -> dict[str, str]:
        try:
            await desk.control(ControlAction.HALT, who=getpass.getuser(), reason=reason, everything=everything)
            return await desk.wait_halt_stage(frozenset({HaltStage.HOLDING.value, HaltStage.CLEAN.value}))
        except BusUnavailable:
            return await _halt_at_guard(reason)

    status = with_desk(act)
    if as_json:
        print_json(status)
    else:
        console.print(f"HALTED ({status.get('stage')}): {reason}", style="bold red")


async def _halt_at_guard(reason: str) -> dict[str, str]:
    system = running_system()
    if system is None or not system.guard_http:
        raise BusUnavailable("Redis is away and no guard is known here: halt at the guard's machine, or in TWS itself")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.post(f"{system.guard_http}/halt", json={"reason": reason, "who": getpass.getuser()}) as reply,
        ):
            if reply.status != 200:
                raise Refused("GUARD_REFUSED", f"the guard answered {reply.status}: {await reply.text()}")
    except (aiohttp.ClientError, TimeoutError) as e:
        raise TimedOut(f"Redis is away and the guard at {system.guard_http} does not answer: {e}") from e
    return {"stage": HaltStage.HOLDING.value, "by": "guard"}


def resume(
    reason: ReasonOption,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask (live asks for the account).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Trade again after a halt; a reason is asked for, in live the account too."""

    async def act(desk: Desk, settings: BrokerSettings) -> dict[str, str]:
        if is_live(settings) and not yes:
            text = (
                f"LIVE account {settings.account}, {await _exposure(desk)}: type the account to trade real money again"
            )
            typed = typer.prompt(text)
            if typed.strip() != settings.account:
                raise Refused("GATEWAY_NOT_CONFIRMED", "the account typed is another one: still halted")
        await desk.control(ControlAction.RESUME, who=getpass.getuser(), reason=reason)
        return await desk.wait_halt_stage(frozenset({HaltStage.NONE.value}))

    status = with_desk(act)
    if as_json:
        print_json(status)
    else:
        console.print(f"trading again: {reason}", style="bold green")


async def _exposure(desk: Desk) -> str:
    """Say what is at stake: the positions' values by currency, at the broker's own prices."""
    values: dict[str, Decimal] = {}
    reports = await desk.positions()
    for report in reports:
        worth = abs(report.position) * (report.market_price or report.average_cost)
        values[report.currency] = values.get(report.currency, Decimal(0)) + worth
    amounts = " + ".join(f"{amount:,.2f} {currency}" for currency, amount in sorted(values.items()))
    working = len(await desk.open_orders())
    return f"{len(reports)} positions worth about {amounts or 'nothing'}, {working} working orders"

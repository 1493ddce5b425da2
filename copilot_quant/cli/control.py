"""`cq halt`, `cq resume`: stop and restart trading; `cq accept`: take a position for granted."""

from __future__ import annotations

import getpass
from decimal import Decimal
from typing import Annotated

import aiohttp
import typer

from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import is_live, running_system, with_desk
from copilot_quant.desk import Desk
from shared.clock import SYSTEM_CLOCK
from shared.errors import BusUnavailable, Refused, TimedOut
from shared.messages.control import ControlAction, HaltStage
from shared.settings import BrokerSettings

ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("halt")(halt)
    app.command("resume")(resume)
    app.command("accept")(accept)


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
            typed = typer.prompt(f"LIVE: type the account ({settings.account}) to resume trading with real money")
            if typed.strip() != settings.account:
                raise Refused("GATEWAY_NOT_CONFIRMED", "the account typed is another one: still halted")
        await desk.control(ControlAction.RESUME, who=getpass.getuser(), reason=reason)
        return await desk.wait_halt_stage(frozenset({HaltStage.NONE.value}))

    status = with_desk(act)
    if as_json:
        print_json(status)
    else:
        console.print(f"trading again: {reason}", style="bold green")


def accept(
    contract: Annotated[str, typer.Argument(help="The contract, as `cq positions` names it.")],
    reason: ReasonOption,
    as_json: JsonOption = False,
) -> None:
    """Accept a position that no execution explains: the difference becomes `unassigned`, and its cause is kept.

    Look first (`cq positions`, TWS): an assignment, a split, a transfer, a trade of another program.
    """

    async def act(desk: Desk, _: BrokerSettings) -> dict[str, str]:
        info = await desk.resolve(contract)
        before = await _unexplained(desk, info.con_id)
        if not before:
            raise Refused("GATEWAY_NOTHING_UNEXPLAINED", f"the books of {info.name} add up: there is nothing to accept")
        scope = f"contract:{info.con_id}"
        await desk.control(ControlAction.ACCEPT_POSITION, who=getpass.getuser(), reason=reason, scope=scope)
        for _attempt in range(100):
            if not await _unexplained(desk, info.con_id):
                return {"contract": info.name, "accepted": str(before), "reason": reason}
            await SYSTEM_CLOCK.sleep(0.1)
        raise TimedOut("no leading gateway has taken it within 10 s: look at cq positions")

    done = with_desk(act)
    if as_json:
        print_json(done)
    else:
        console.print(f"{done['contract']}: {done['accepted']} is unassigned now: {reason}")


async def _unexplained(desk: Desk, con_id: int) -> Decimal:
    return next((report.unexplained for report in await desk.positions() if report.con_id == con_id), Decimal(0))

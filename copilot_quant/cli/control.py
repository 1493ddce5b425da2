"""`cq halt` (`cq kill`), `cq resume`: stop and restart all trading, a strategy or a contract; `cq gateway handover`."""

from __future__ import annotations

import getpass
import sys
from decimal import Decimal
from typing import Annotated

import aiohttp
import typer

from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import is_live, running_system, with_desk
from copilot_quant.desk import Desk
from shared.bus.keys import Role
from shared.clock import NS_PER_MS, NS_PER_S, SYSTEM_CLOCK
from shared.errors import BusUnavailable, Refused, TimedOut
from shared.ids import MANUAL, UNASSIGNED
from shared.messages.control import ControlAction, HaltStage, LinkState
from shared.settings import BrokerSettings

gateway_app = typer.Typer(help="The gateways: who leads, and handing over.", no_args_is_help=True)
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")]
StrategyOption = Annotated[str, typer.Option("--strategy", help="Only what this strategy does.")]
ContractOption = Annotated[str, typer.Option("--contract", help="Only this contract, e.g. AAPL.")]
_HANDOVER_LIMIT_NS = 15 * NS_PER_S
FLATTEN_LIMIT_NS = 30 * NS_PER_S
SCOPE_LIMIT_NS = 10 * NS_PER_S


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("halt")(halt)
    app.command("kill", help="The same as cq halt.")(halt)
    app.command("resume")(resume)
    app.add_typer(gateway_app, name="gateway")


def halt(
    reason: ReasonOption = "by hand",
    everything: Annotated[
        bool, typer.Option("--everything", help="Also cancel protective orders and orders that are not ours.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Then close what strategies own, within the slippage of the limits.")
    ] = False,
    strategy: StrategyOption = "",
    contract: ContractOption = "",
    as_json: JsonOption = False,
) -> None:
    """Stop trading: no order that adds exposure passes any more; risky working orders are cancelled; stops stay.

    Confirmed means `holding`: nothing more can go out. With Redis down, the guard is told directly. --flatten needs
    risk: it replaces each stop together with its close; what people traded by hand and what nobody owns stays.
    --strategy or --contract halt only that, confirmed by the gateway: what adds exposure is refused there from then on.
    With Redis down the guard is told of a contract by its id, e.g. '#265598'; it knows no names and no strategies.
    --everything holds first, then lists what still works, then has the broker cancel all of it.
    """
    if strategy or contract:
        if everything or flatten:
            raise typer.BadParameter("--everything and --flatten are for the whole account")
        _of_scope(ControlAction.HALT, strategy, contract, reason, as_json=as_json)
        return

    async def act(desk: Desk, _: BrokerSettings) -> dict[str, str]:
        try:
            status = await _held(desk, reason)
            if everything:
                await _list_what_dies(desk, as_json=as_json)
                status = await _held(desk, reason, everything=True)
            if flatten:
                await desk.control(ControlAction.FLATTEN, who=getpass.getuser(), reason=reason)
                status |= await _flattened(desk)
            return status
        except BusUnavailable:
            if flatten:
                console.print("Redis is away: nothing can be closed now, only held", style="bold red")
            return await _halt_at_guard(reason)

    status = with_desk(act)
    if as_json:
        print_json(status)
    else:
        console.print(f"HALTED ({status.get('stage')}): {reason}", style="bold red")
        if flatten and "left" in status:
            console.print(f"closed; left of strategies: {status['left'] or 'nothing'}")


async def _held(desk: Desk, reason: str, *, everything: bool = False) -> dict[str, str]:
    await desk.control(ControlAction.HALT, who=getpass.getuser(), reason=reason, everything=everything)
    return await desk.wait_halt_stage(frozenset({HaltStage.HOLDING.value, HaltStage.CLEAN.value}))


async def _list_what_dies(desk: Desk, *, as_json: bool) -> None:
    """Name every working order, also stops and what is not ours: where JSON is asked for, on standard error."""
    orders = [order for order in await desk.open_orders() if not order.state.is_final]
    for order in orders:
        price = order.limit_price if order.limit_price is not None else order.stop_price
        what = [order.side, order.remaining or order.quantity, order.contract or f"#{order.con_id}", order.order_type]
        terms = " ".join(str(one) for one in (*what, price) if one is not None)
        typer.echo(f"cancelling: {terms} ({'not ours' if order.is_external else order.strategy})", err=as_json)
    if not orders:
        typer.echo("no order works", err=as_json)


async def _flattened(desk: Desk) -> dict[str, str]:
    """Wait until strategies own nothing any more, and return what is left when it takes too long."""
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + FLATTEN_LIMIT_NS
    while True:
        left = [
            f"{quantity} #{con_id} of {strategy}"
            for (strategy, con_id), quantity in (await desk.owned_positions()).items()
            if strategy not in (MANUAL, UNASSIGNED)
        ]
        if not left or SYSTEM_CLOCK.monotonic_ns() > deadline_ns:
            return {"left": ", ".join(left)}
        await SYSTEM_CLOCK.sleep(0.1)


async def _halt_at_guard(reason: str, con_id: int = 0) -> dict[str, str]:
    """Have the guard hold everything, or one contract."""
    path, body = "/halt", {"reason": reason, "who": getpass.getuser()}
    if con_id:
        path, body = "/halt/contract", {**body, "con_id": str(con_id)}
    system = running_system()
    if system is None or not system.guard_http:
        raise BusUnavailable("Redis is away and no guard is known here: halt at the guard's machine, or in TWS itself")
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.post(f"{system.guard_http}{path}", json=body) as reply,
        ):
            if reply.status != 200:
                raise Refused("GUARD_REFUSED", f"the guard answered {reply.status}: {await reply.text()}")
    except (aiohttp.ClientError, TimeoutError) as e:
        raise TimedOut(f"Redis is away and the guard at {system.guard_http} does not answer: {e}") from e
    return {"stage": HaltStage.HOLDING.value, "by": "guard"}


def resume(
    reason: ReasonOption,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the typed confirmation.")] = False,
    strategy: StrategyOption = "",
    contract: ContractOption = "",
    as_json: JsonOption = False,
) -> None:
    """Trade again after a halt, with a reason and a typed word: live the account, else the deployment's name.

    Where nobody sits at a terminal only live asks; --yes stands for the word.
    """
    if not reason.strip():
        raise typer.BadParameter("say why it may trade again: --reason")
    if strategy or contract:
        _of_scope(ControlAction.RESUME, strategy, contract, reason, as_json=as_json, yes=yes)
        return

    async def act(desk: Desk, settings: BrokerSettings) -> dict[str, str]:
        if not yes:
            await _ask_for_word(desk, settings, as_json=as_json)
        await desk.control(ControlAction.RESUME, who=getpass.getuser(), reason=reason)
        return await desk.wait_halt_stage(frozenset({HaltStage.NONE.value}))

    status = with_desk(act)
    if as_json:
        print_json(status)
    else:
        console.print(f"trading again: {reason}", style="bold green")


async def _ask_for_word(desk: Desk, settings: BrokerSettings, *, as_json: bool) -> None:
    """Have a person type what is about to trade again; without a terminal only live asks. JSON is alone on stdout."""
    if is_live(settings):
        word, kind = settings.account, "account"
        text = f"LIVE account {word}, {await _exposure(desk)}: type the account to trade real money again"
    elif sys.stdin.isatty():
        word, kind = settings.deployment, "name"
        text = (
            f"{settings.mode.upper()} account {settings.account}, {await _exposure(desk)}: type {word} to trade again"
        )
    else:
        return
    if typer.prompt(text, err=as_json).strip() != word:
        raise Refused("GATEWAY_NOT_CONFIRMED", f"the {kind} typed is another one: still halted")


def _of_scope(
    action: ControlAction, strategy: str, contract: str, reason: str, *, as_json: bool, yes: bool = True
) -> None:
    """Halt or resume one strategy or one contract.

    A halt is confirmed by the leading gateway (for a contract, once the guard holds it too), a resume by it and by the
    risk that decides.
    """
    if strategy and contract:
        raise typer.BadParameter("--strategy or --contract: one of them")

    async def act(desk: Desk, settings: BrokerSettings) -> str:
        if not yes:
            await _ask_for_word(desk, settings, as_json=as_json)
        try:
            return await _set_scope(desk, action, strategy, contract, reason)
        except BusUnavailable:
            if action is not ControlAction.HALT:
                raise
            return await _halt_one_at_guard(contract, reason)

    scope = with_desk(act)
    if as_json:
        print_json({"scope": scope, "halted": action is ControlAction.HALT})
    elif action is ControlAction.HALT:
        console.print(f"HALTED {scope}: {reason}", style="bold red")
    else:
        console.print(f"{scope} trades again: {reason}", style="bold green")


async def _set_scope(desk: Desk, action: ControlAction, strategy: str, contract: str, reason: str) -> str:
    scope = f"strategy:{strategy}" if strategy else f"contract:{(await desk.resolve(contract)).con_id}"
    await desk.control(action, who=getpass.getuser(), reason=reason, scope=scope)
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + SCOPE_LIMIT_NS
    while SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
        latch = (await desk.halt_status()).get(f"halt:{scope}", "")
        if action is ControlAction.HALT and latch.startswith(HaltStage.HOLDING):
            return scope
        if action is ControlAction.RESUME and not latch and not await _halted_in_risk(desk, scope):
            return scope
        await SYSTEM_CLOCK.sleep(0.05)
    raise TimedOut("no gateway confirmed it: `cq status` shows whether one leads; `cq halt` stops everything")


async def _halt_one_at_guard(contract: str, reason: str) -> str:
    """Have the guard hold one contract while Redis is away, and say what that leaves to do."""
    number = contract.removeprefix("#")
    if not (contract.startswith("#") and number.isascii() and number.isdigit() and int(number) > 0):
        raise BusUnavailable(
            "Redis is away, and the guard knows only contracts, by their id: --contract '#265598', or halt everything"
        )
    await _halt_at_guard(reason, int(number))
    typer.echo("held by the guard alone: halt it again once Redis is back, so that risk and the gateway know", err=True)
    return f"contract:{int(number)}"


async def _halted_in_risk(desk: Desk, scope: str) -> bool:
    deciding = [row for row in await desk.heartbeats() if row["service"] == "risk" and row.get("deciding")]
    return any(scope in row.get("halts", []) for row in deciding)


@gateway_app.command("handover")
def handover(reason: ReasonOption = "by hand", as_json: JsonOption = False) -> None:
    """Let the standby lead: the leader finishes what was begun and resigns at once; nobody waits for its lease."""

    async def act(desk: Desk, _: BrokerSettings) -> dict[str, object]:
        gateways = [row for row in await desk.heartbeats() if row["service"] == "gateway"]
        leader = next((row for row in gateways if row.get("role") == "leader"), None)
        if leader is None:
            raise Refused("GATEWAY_NO_LEADER", "no gateway leads: there is nothing to hand over")
        if not any(row.get("role") == "standby" and row.get("data_link") == LinkState.READY.value for row in gateways):
            raise Refused("GATEWAY_NO_STANDBY", "no other gateway is connected: handing over would stop trading")
        began_ns = SYSTEM_CLOCK.monotonic_ns()
        await desk.control(ControlAction.HANDOVER, who=getpass.getuser(), reason=reason)
        while SYSTEM_CLOCK.monotonic_ns() - began_ns < _HANDOVER_LIMIT_NS:
            view = await desk.bus.lease_view(Role.GATEWAY)
            if view.owner and view.epoch > int(leader.get("epoch") or 0):
                took_ms = (SYSTEM_CLOCK.monotonic_ns() - began_ns) // NS_PER_MS
                return {"from": leader["instance"], "to": view.owner, "epoch": view.epoch, "took_ms": took_ms}
            await SYSTEM_CLOCK.sleep(0.02)
        raise TimedOut("nobody else leads after 15 s: look at cq status")

    done = with_desk(act)
    if as_json:
        print_json(done)
    else:
        console.print(f"{done['to']} leads now, after {done['took_ms']} ms; before it was {done['from']}")


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

"""`cq close`: end positions by hand: cancel the exits that would be left, then close, in orders that risk allows."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer

from copilot_quant.cli.limits import in_force
from copilot_quant.cli.output import JsonOption, console
from copilot_quant.cli.session import until, with_desk
from copilot_quant.cli.trading import YesOption, show_result
from copilot_quant.desk import Desk, OrderResult, OrderTicket
from services.risk.settings import RiskSettings
from shared.errors import BadInput, Refused
from shared.ids import MANUAL
from shared.messages.account import PositionReport
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderEvent, Side
from shared.settings import BrokerSettings, load_settings

CANCEL_LIMIT_S = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("close")(close)


def close(
    contract: Annotated[str | None, typer.Argument(help="The contract whose position is closed.")] = None,
    all_positions: Annotated[bool, typer.Option("--all", help="Close every position.")] = False,
    strategy: Annotated[str, typer.Option("--strategy", help="Only what this strategy's fills built.")] = "",
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Close positions at market; an order that only reduces is never blocked by a limit.

    Stops and targets of the position are cancelled first, each only together with its close: left behind, they would
    open a position on the other side. What is larger than one order may be is closed in several.
    """
    if (contract is None) == (not all_positions and not strategy):
        raise BadInput("name one contract, or say --strategy NAME or --all")

    async def act(desk: Desk, settings: BrokerSettings) -> list[OrderResult]:
        wanted = await _positions_to_close(desk, contract, strategy)
        if not yes and wanted:
            names = ", ".join(f"{amount} {info.name}" for info, amount in wanted)
            typer.confirm(f"{settings.mode} account {settings.account}: close {names}?", abort=True)
        results: list[OrderResult] = []
        for info, amount in wanted:
            results += await _close(desk, info, amount, strategy)
            if results and results[-1].is_refused:
                break
        return results

    results = with_desk(act)
    if not results and not as_json:
        console.print("nothing to close", style="dim")
    for result in results:
        show_result(result, as_json=as_json)


async def _close(desk: Desk, info: ContractInfo, amount: Decimal, strategy: str) -> list[OrderResult]:
    side = Side.SELL if amount > 0 else Side.BUY
    await desk.watch(info.con_id)  # a price first: without one nothing is cancelled
    await _cancel_exits(desk, info, side, strategy)
    results = []
    for quantity in await _parts(desk, info, strategy or MANUAL, abs(amount)):
        ticket = OrderTicket(side=side, quantity=quantity, strategy=strategy or MANUAL, reason="cq close")
        results.append(await desk.place(info, ticket))
        if results[-1].is_refused or results[-1].state == "unanswered":
            break
    return results


async def _cancel_exits(desk: Desk, info: ContractInfo, side: Side, strategy: str) -> None:
    exits = await _exits(desk, info, side, strategy)
    for event in exits:
        await desk.cancel(event.intent_id, leg=event.leg, reason="cq close")

    async def are_gone() -> bool:
        return not await _exits(desk, info, side, strategy)

    otherwise = f"{info.name}: its exits are still working, so closing could open the other side: try again"
    await until(are_gone, CANCEL_LIMIT_S, otherwise, every_s=0.05)


async def _exits(desk: Desk, info: ContractInfo, side: Side, strategy: str) -> list[OrderEvent]:
    """Return the working orders of ours on the closing side; children of a parent that waits are none yet."""
    working = [one for one in await desk.open_orders() if one.intent_id and one.con_id == info.con_id]
    waiting = {one.intent_id for one in working if one.leg == 0 and not one.filled}
    return [
        one
        for one in working
        if one.side is side
        and (not strategy or one.strategy == strategy)
        and not (one.parent_leg is not None and one.intent_id in waiting)
    ]


async def _parts(desk: Desk, info: ContractInfo, strategy: str, amount: Decimal) -> list[Decimal]:
    """Return the quantities of the orders that close an amount, none above `order_quantity_max`."""
    try:
        limits, _ = await in_force(desk, load_settings(RiskSettings))
    except Refused:
        return [amount]  # risk shows no limits: it will answer
    largest = limits.for_order(strategy, info.con_id, info).order_quantity_max
    if largest is None or largest <= 0:
        return [amount]
    largest -= largest % info.size_increment if info.size_increment > 0 else 0
    parts = []
    while amount > 0 and largest > 0:
        parts.append(min(amount, largest))
        amount -= parts[-1]
    return parts


async def _positions_to_close(desk: Desk, contract: str | None, strategy: str) -> list[tuple[ContractInfo, Decimal]]:
    if strategy:
        owned = await desk.strategy_positions(strategy)
        return [(await desk.resolve(f"#{con_id}"), amount) for con_id, amount in owned.items() if amount]
    reports: list[PositionReport] = await desk.positions()
    if contract is not None:
        info = await desk.resolve(contract)
        reports = [report for report in reports if report.con_id == info.con_id]
        if not reports:
            raise BadInput(f"there is no position in {info.name}")
    return [(await desk.resolve(f"#{report.con_id}"), report.position) for report in reports]

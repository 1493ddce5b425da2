"""`cq close`: end positions by hand: cancel the exits that would be left, then close, in orders that risk allows."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer

from copilot_quant.cli.limits import in_force
from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import until, with_desk
from copilot_quant.cli.trading import YesOption, raise_if_refused, result_row, show_result
from copilot_quant.desk import Desk, OrderResult, OrderTicket
from services.risk.settings import RiskSettings
from shared.errors import BadInput, Refused
from shared.ids import MANUAL, UNASSIGNED
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

    Each owner's part is closed under its name, so that no strategy goes on with a position that is gone. Stops and
    targets are cancelled first: left behind, they would open a position on the other side. What is larger than one
    order may be is closed in several.
    """
    if (contract is None) == (not all_positions and not strategy):
        raise BadInput("name one contract, or say --strategy NAME or --all")

    async def act(desk: Desk, settings: BrokerSettings) -> list[OrderResult]:
        wanted = await _positions_to_close(desk, contract, strategy)
        if not yes and wanted:
            names = ", ".join(f"{sum(share.values())} {info.name}" for info, share in wanted)
            typer.confirm(f"{settings.mode} account {settings.account}: close {names}?", abort=True)
        results: list[OrderResult] = []
        for info, held in wanted:
            results += await _close(desk, info, held, strategy)
            if results and (results[-1].is_refused or results[-1].state == "unanswered"):
                break
        return results

    results = with_desk(act)
    if as_json:
        print_json([result_row(result) for result in results])
    elif not results:
        console.print("nothing to close", style="dim")
    for result in results:
        if not as_json:
            show_result(result)
        raise_if_refused(result)


async def _close(desk: Desk, info: ContractInfo, held: dict[str, Decimal], strategy: str) -> list[OrderResult]:
    side = Side.SELL if sum(held.values()) > 0 else Side.BUY
    await desk.watch(info.con_id)  # a price first: without one nothing is cancelled
    await _cancel_exits(desk, info, side, strategy)
    results = []
    for owner, amount in held.items():
        for quantity in await _parts(desk, info, owner, abs(amount)):
            ticket = OrderTicket(side=side, quantity=quantity, strategy=owner, reason="cq close")
            results.append(await desk.place(info, ticket))
            if results[-1].is_refused or results[-1].state == "unanswered":
                return results
    return results


def by_owner(report: PositionReport) -> dict[str, Decimal]:
    """Return what of a position each owner closes: no more than the account holds, the rest by hand.

    An owner's part is closed under its own name, or the strategy would go on with a position that is gone. Who holds
    the other side keeps it: an order for that would not reduce.
    """
    left, parts = report.position, {}
    for share in report.shares:
        if share.strategy != UNASSIGNED and share.quantity * left > 0:
            part = min(abs(share.quantity), abs(left)).copy_sign(left)
            parts[share.strategy] = part
            left -= part
    if left:
        parts[MANUAL] = parts.get(MANUAL, Decimal(0)) + left
    return parts


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


async def _positions_to_close(
    desk: Desk, contract: str | None, strategy: str
) -> list[tuple[ContractInfo, dict[str, Decimal]]]:
    if strategy:
        owned = await desk.strategy_positions(strategy)
        return [(await desk.resolve(f"#{con_id}"), {strategy: amount}) for con_id, amount in owned.items() if amount]
    reports: list[PositionReport] = await desk.positions()
    if contract is not None:
        info = await desk.resolve(contract)
        reports = [report for report in reports if report.con_id == info.con_id]
        if not any(report.position for report in reports):
            raise BadInput(f"there is no position in {info.name}")
    return [(await desk.resolve(f"#{report.con_id}"), by_owner(report)) for report in reports if report.position]

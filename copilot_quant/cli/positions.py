"""`cq positions show|adopt|assign`: whose the account's holdings are, and moving them between owners."""

from __future__ import annotations

import getpass
import re
from decimal import Decimal
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, console, print_json, print_rows
from copilot_quant.cli.session import until, with_desk
from copilot_quant.desk import Desk
from shared.errors import BadInput, Refused
from shared.ids import UNASSIGNED
from shared.messages.account import PositionReport
from shared.messages.control import ControlAction, PositionMove
from shared.messages.market import ContractInfo
from shared.money import decimal_of
from shared.settings import BrokerSettings

positions_app = typer.Typer(help="Whose the account's holdings are.", invoke_without_command=True)
ContractArgument = Annotated[str, typer.Argument(help="The contract, as `cq positions` names it.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")]
QuantityOption = Annotated[
    str | None, typer.Option("--quantity", "-q", help="Signed as the owner holds it, e.g. -10; default: all of it.")
]
PriceOption = Annotated[
    str | None, typer.Option("--price", help="What both owners book it at per share; default: the average cost.")
]
_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LIMIT_S = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(positions_app, name="positions")


@positions_app.callback()
def positions(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the broker's positions (as `cq positions show`), or move them between owners."""
    if context.invoked_subcommand is None:
        show(as_json)


@positions_app.command("show")
def show(as_json: JsonOption = False) -> None:
    """List the broker's positions: whose they are, what nobody can account for, average cost and P&L."""

    async def act(desk: Desk, _: BrokerSettings) -> list[dict[str, object]]:
        reports, names = await desk.position_reports(), await desk.names()
        return [
            _row(report, names.of(report))
            for report in reports
            if report.position or report.unexplained or report.shares
        ]

    rows = with_desk(act)
    columns = ["contract", "position", "held_by", "average_cost", "market_price", "unrealized_pnl", "realized_pnl"]
    if any(row["unexplained"] for row in rows):
        columns.insert(3, "unexplained")
    print_rows(rows, as_json=as_json, title="positions", columns=[*columns, "currency"], empty="no positions")


def _row(report: PositionReport, name: str) -> dict[str, object]:
    return {
        "contract": name,
        "position": report.position,
        "held_by": ", ".join(f"{share.strategy} {share.quantity:f}" for share in report.shares),
        "unexplained": report.unexplained,
        "average_cost": report.average_cost,
        "market_price": report.market_price,
        "unrealized_pnl": report.unrealized_pnl,
        "realized_pnl": report.realized_pnl,
        "currency": report.currency,
        "con_id": report.con_id,
    }


@positions_app.command("adopt")
def adopt(
    contract: ContractArgument,
    strategy: Annotated[str, typer.Option("--to", help="The strategy that goes on with it.")],
    reason: ReasonOption,
    quantity: QuantityOption = None,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give what nobody owns to a strategy: a holding of the first start, or what was traded by hand.

    A strategy whose position was closed by hand takes the opposite quantity and is flat again: it trades on.
    """
    _move(contract, UNASSIGNED, strategy, quantity, price, reason, as_json=as_json)


@positions_app.command("assign")
def assign(
    contract: ContractArgument,
    giver: Annotated[str, typer.Option("--from", help="Who holds it: a strategy, manual, unassigned.")],
    taker: Annotated[str, typer.Option("--to", help="Who gets it.")],
    reason: ReasonOption,
    quantity: QuantityOption = None,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a quantity from one owner to another; the account's position stays, risk and both strategies see it."""
    _move(contract, giver, taker, quantity, price, reason, as_json=as_json)


def _number(text: str | None, name: str) -> Decimal | None:
    try:
        return None if text is None else decimal_of(text)
    except ValueError as e:
        raise BadInput(f"{name}: {e}") from e


def _move(
    contract: str, giver: str, taker: str, quantity: str | None, price: str | None, reason: str, *, as_json: bool
) -> None:
    wanted, at = _number(quantity, "--quantity"), _number(price, "--price")
    for owner in (giver, taker):
        if not _OWNER.fullmatch(owner):
            raise BadInput(f"{owner!r} is no name of an owner: a strategy's name, manual or unassigned")
    if giver == taker:
        raise BadInput(f"{giver} is both giver and taker")

    async def act(desk: Desk, _: BrokerSettings) -> dict[str, str]:
        info = await desk.resolve(contract)
        report = await _report(desk, info)
        held = _share(report, giver)
        amount = held if wanted is None else wanted
        if held * amount <= 0 or abs(amount) > abs(held):
            raise Refused(
                "GATEWAY_NOT_HELD", f"{giver} holds {held:f} {info.name}, so that {amount:f} of it cannot be moved"
            )
        cost = report.average_cost / info.multiplier * info.price_magnifier if info.multiplier else Decimal(0)
        move = PositionMove(taken_from=giver, given_to=taker, quantity=amount, price=cost if at is None else at)
        before = _share(report, taker)
        await desk.control(
            ControlAction.ASSIGN_POSITION, who=getpass.getuser(), reason=reason, scope=f"contract:{info.con_id}",
            text=move.model_dump_json(),
        )  # fmt: skip
        await _until_moved(desk, info, taker, before)
        return {"contract": info.name, "quantity": f"{amount:f}", "from": giver, "to": taker, "reason": reason}

    done = with_desk(act)
    if as_json:
        print_json(done)
    else:
        console.print(f"{done['contract']}: {done['quantity']} went from {giver} to {taker}: {reason}")


async def _report(desk: Desk, info: ContractInfo) -> PositionReport:
    found = next((report for report in await desk.position_reports() if report.con_id == info.con_id), None)
    if found is None:
        raise Refused("GATEWAY_NOT_HELD", f"nobody holds {info.name}: cq positions lists what there is")
    return found


def _share(report: PositionReport, owner: str) -> Decimal:
    return sum((share.quantity for share in report.shares if share.strategy == owner), Decimal(0))


async def _until_moved(desk: Desk, info: ContractInfo, taker: str, before: Decimal) -> None:
    async def has_moved() -> bool:
        return _share(await _report(desk, info), taker) != before

    await until(has_moved, _LIMIT_S, f"no leading gateway has moved it within {_LIMIT_S:g} s: look at cq positions")

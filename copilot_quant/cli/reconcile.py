"""`cq reconcile show|accept`: what of the broker's positions no execution explains, and taking it for granted."""

from __future__ import annotations

import getpass
from decimal import Decimal
from typing import Annotated

import typer

from copilot_quant.cli.journal import COLUMNS, journal_rows
from copilot_quant.cli.output import JsonOption, console, print_json, print_rows
from copilot_quant.cli.session import until, with_desk
from copilot_quant.desk import Desk
from shared.clock import iso_utc
from shared.errors import BadInput, Refused
from shared.messages import decode_fields
from shared.messages.account import BookMove, Unexplained
from shared.messages.control import ControlAction
from shared.settings import BrokerSettings

reconcile_app = typer.Typer(help="What of the broker's positions no execution explains.", no_args_is_help=True)
_LOOK_BACK = 5000
_LIMIT_S = 10.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(reconcile_app, name="reconcile")
    app.command("accept")(accept)


@reconcile_app.command("show")
def show(as_json: JsonOption = False) -> None:
    """List differences that stand, those that ended lately with how they did, and the account's journal."""

    async def act(desk: Desk, _: BrokerSettings) -> list[dict[str, object]]:
        return await differences(desk)

    columns = ["contract", "state", "expected", "reported", "difference", "since", "text"]
    empty = "the books add up: every position is explained"
    print_rows(with_desk(act), as_json=as_json, title="differences", columns=columns, empty=empty)
    if not as_json:
        entries = with_desk(lambda desk, _: journal_rows(desk))
        print_rows(entries, as_json=False, title="journal", columns=COLUMNS, empty="the journal is empty")


async def differences(desk: Desk) -> list[dict[str, object]]:
    """Return what `cq reconcile show` shows: one row per contract that differs, or did within what is retained."""
    names = {report.con_id: report.contract or report.symbol for report in await desk.position_reports()}
    rows: dict[int, dict[str, object]] = {}
    entries = await desk.bus.read_last(desk.keys.account, _LOOK_BACK)
    for entry in entries:
        if entry.fields.get(b"type") not in (b"unexplained", b"book_move"):
            continue
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput:
            continue  # the account's readers dead-letter it
        if isinstance(message, BookMove):
            row = {"state": "adopted", "difference": message.quantity, "expected": "", "reported": ""}
            rows[message.con_id] = _filled(row, message, names, f"{message.who}: {message.reason}")
        elif isinstance(message, Unexplained):
            _take(rows, message, names)
    return list(rows.values())


def _take(rows: dict[int, dict[str, object]], message: Unexplained, names: dict[int, str]) -> None:
    difference = message.reported - message.expected
    before = rows.get(message.con_id, {})
    if not difference and before.get("state") == "adopted":
        return  # the person's word says more
    row: dict[str, object] = {
        "state": "unexplained" if difference else "explained",
        "difference": difference, "expected": message.expected, "reported": message.reported,
    }  # fmt: skip
    since = before.get("since") if before.get("state") == "unexplained" and difference else None
    rows[message.con_id] = {**_filled(row, message, names, message.text), **({"since": since} if since else {})}


def _filled(
    row: dict[str, object], message: Unexplained | BookMove, names: dict[int, str], text: str
) -> dict[str, object]:
    con_id = message.con_id
    named = {"contract": names.get(con_id) or f"#{con_id}", "con_id": con_id}
    return {**named, **row, "since": iso_utc(message.ts_init_ns), "text": text}


@reconcile_app.command("accept")
def accept(
    contract: Annotated[str, typer.Argument(help="The contract, as `cq positions` names it.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit stream `control`.")],
    as_json: JsonOption = False,
) -> None:
    """Accept a position that no execution explains: the difference becomes `unassigned`, and its cause is kept.

    Look first (`cq positions`, TWS): an assignment, a split, a transfer, a trade of another program. Executions that
    are only too old for IB's list come from a Flex report: `cq import flex FILE`.
    """

    async def act(desk: Desk, _: BrokerSettings) -> dict[str, str]:
        info = await desk.resolve(contract)
        before = await _unexplained(desk, info.con_id)
        if not before:
            raise Refused("GATEWAY_NOTHING_UNEXPLAINED", f"the books of {info.name} add up: there is nothing to accept")
        scope = f"contract:{info.con_id}"
        await desk.control(ControlAction.ACCEPT_POSITION, who=getpass.getuser(), reason=reason, scope=scope)

        async def is_explained() -> bool:
            return not await _unexplained(desk, info.con_id)

        await until(
            is_explained, _LIMIT_S, f"no leading gateway has taken it within {_LIMIT_S:g} s: look at cq positions"
        )
        return {"contract": info.name, "accepted": str(before), "reason": reason}

    done = with_desk(act)
    if as_json:
        print_json(done)
    else:
        console.print(f"{done['contract']}: {done['accepted']} is unassigned now: {reason}")


async def _unexplained(desk: Desk, con_id: int) -> Decimal:
    return next((report.unexplained for report in await desk.positions() if report.con_id == con_id), Decimal(0))

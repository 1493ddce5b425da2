"""`cq import flex FILE`: executions that IB no longer shows and the reasons of its cash, from its own report."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, print_rows
from copilot_quant.cli.session import with_desk
from copilot_quant.desk import Desk
from copilot_quant.flex import MAX_AGE_S, ZONE, read_cash, read_flex, signed_sum
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BadInput, Refused
from shared.ids import exec_stem
from shared.messages.control import IMPORT_MAX, CashImport, ControlAction, FillImport, ImportedCash, ImportedFill
from shared.settings import BrokerSettings
from shared.statement import retained

import_app = typer.Typer(help="Take in what IB reports elsewhere than over the API.", no_args_is_help=True)
_LIMIT_S = 15.0


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(import_app, name="import")


@import_app.callback()
def imports() -> None:
    """Take in what IB reports elsewhere than over the API."""


@import_app.command("flex")
def flex(
    file: Annotated[Path, typer.Argument(help="The report of a Flex query, XML: trades by execution, cash by detail.")],
    zone: Annotated[str, typer.Option("--zone", help="The time zone of the report's times.")] = ZONE,
    as_json: JsonOption = False,
) -> None:
    """Publish executions that `fills` lacks, once each: those since midnight come by themselves, older ones so.

    Only what explains a contract's difference exactly is taken; a report of another account is refused whole. Rows of
    cash name the credits and debits of the account's journal: a dividend, a fee, a deposit (`cq account --journal`).
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"{file} cannot be read: {e}") from e

    async def act(desk: Desk, settings: BrokerSettings) -> list[dict[str, object]]:
        fills, cash = read_flex(text, settings.account, zone=zone), read_cash(text, settings.account, zone=zone)
        done = await _take(desk, settings.account, fills, file.name)
        return [*done, *await _take_cash(desk, settings.account, cash, file.name)]

    rows = with_desk(act)
    columns = ["contract", "in_report", "known", "missing", "published", "text"]
    print_rows(rows, as_json=as_json, title="import", columns=columns, empty="the report has no executions and no cash")
    refused = [row for row in rows if row["missing"] != row["published"]]
    if refused:
        raise Refused("GATEWAY_IMPORT_UNEXPLAINED", f"{len(refused)} row(s) of it were left as they are: see above")


async def _take(desk: Desk, account: str, fills: list[ImportedFill], name: str) -> list[dict[str, object]]:
    by_contract: dict[int, list[ImportedFill]] = {}
    for fill in fills:
        by_contract.setdefault(fill.con_id, []).append(fill)
    return [await _take_contract(desk, account, con_id, rows, name) for con_id, rows in by_contract.items()]


async def _missing(desk: Desk, account: str, fills: list[ImportedFill]) -> list[ImportedFill]:
    known = {fill.exec_stem for fill in await desk.fills()}
    return [
        fill
        for fill in fills
        if (stem := exec_stem(fill.exec_id)[0]) not in known
        and await desk.bus.get_text(desk.keys.fill_index(account, stem)) is None
    ]


async def _take_contract(
    desk: Desk, account: str, con_id: int, fills: list[ImportedFill], name: str
) -> dict[str, object]:
    missing = await _missing(desk, account, fills)
    row: dict[str, object] = {
        "contract": fills[0].contract or f"#{con_id}", "con_id": con_id, "in_report": len(fills),
        "known": len(fills) - len(missing), "missing": len(missing), "published": 0, "text": "",
    }  # fmt: skip
    if not missing:
        return row
    reports = {report.con_id: report for report in await desk.position_reports()}
    gap = reports[con_id].unexplained if con_id in reports else 0
    oldest_ns = SYSTEM_CLOCK.wall_ns() - MAX_AGE_S * NS_PER_S
    if any(fill.ts_ns < oldest_ns for fill in missing):
        row["text"] = "older than seven days: the bus cannot tell whether it had them; cq reconcile accept"
    elif signed_sum(missing) != gap:
        row["text"] = f"they add up to {signed_sum(missing):f}, the books differ by {gap:f}: nothing was taken"
    elif len(missing) > IMPORT_MAX:
        row["text"] = f"more than {IMPORT_MAX} at once: import a shorter report"
    else:
        await desk.control(
            ControlAction.IMPORT_FILLS, who=getpass.getuser(), reason=name, scope=f"contract:{con_id}",
            text=FillImport(fills=tuple(missing)).model_dump_json(),
        )  # fmt: skip
        row["published"] = await _until_published(desk, account, missing)
        if row["published"] != row["missing"]:
            row["text"] = "no leading gateway took them: look at cq reconcile show, then again"
    return row


async def _take_cash(desk: Desk, account: str, cash: list[ImportedCash], name: str) -> list[dict[str, object]]:
    """Have the leader name what the rows name; what they name nothing of is no mistake: it may be named already."""
    journal = await retained(desk.bus, account)
    naming = [row for each in journal.namings(cash) for row in each.rows]
    for start in range(0, len(naming), IMPORT_MAX):
        await desk.control(
            ControlAction.IMPORT_CASH, who=getpass.getuser(), reason=name,
            text=CashImport(rows=tuple(naming[start : start + IMPORT_MAX])).model_dump_json(),
        )  # fmt: skip
    left = {row.cash_id for row in naming}
    for _ in range(int(_LIMIT_S / 0.2)):
        if not (left := left - (await retained(desk.bus, account)).known.keys()):
            break
        await SYSTEM_CLOCK.sleep(0.2)
    return [
        _cash_row(currency, cash, naming, journal.known, left) for currency in sorted({row.currency for row in cash})
    ]


def _cash_row(
    currency: str, cash: list[ImportedCash], naming: list[ImportedCash], known: dict[str, None], left: set[str]
) -> dict[str, object]:
    rows = [row for row in cash if row.currency == currency]
    fitting = [row for row in naming if row.currency == currency]
    already = sum(1 for row in rows if row.cash_id in known)
    waiting = sum(1 for row in fitting if row.cash_id in left)
    others = len(rows) - len(fitting) - already
    text = "no leading gateway took them: try again" if waiting else ""
    if others and not waiting:
        text = f"{others} name no credit or debit of the journal: left alone"
    return {
        "contract": f"cash {currency}", "con_id": 0, "in_report": len(rows), "known": already, "missing": len(fitting),
        "published": len(fitting) - waiting, "text": text,
    }  # fmt: skip


async def _until_published(desk: Desk, account: str, fills: list[ImportedFill]) -> int:
    left = fills
    for _ in range(int(_LIMIT_S / 0.2)):
        left = await _missing(desk, account, left)
        if not left:
            break
        await SYSTEM_CLOCK.sleep(0.2)
    return len(fills) - len(left)

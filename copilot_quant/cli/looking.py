"""`cq status`, `orders`, `fills`, `account`, `contract`, `tail`: look, change nothing."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.text import Text

from copilot_quant.cli.journal import COLUMNS as JOURNAL_COLUMNS
from copilot_quant.cli.journal import journal_rows
from copilot_quant.cli.output import JsonOption, console, print_json, print_rows, print_table
from copilot_quant.cli.session import broker_behind, running_system, with_desk
from copilot_quant.cli.trading import order_row
from copilot_quant.desk import Desk
from services.monitoring.core.protection import protected_quantity
from shared.clock import SYSTEM_CLOCK, iso_utc, parse_iso_utc
from shared.errors import BadInput
from shared.messages import decode_fields
from shared.messages.control import LinkState
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderState
from shared.settings import BrokerSettings

contract_app = typer.Typer(help="Find contracts and show what the broker says of one.", no_args_is_help=True)
STREAMS = (
    "intents, cancels, decisions, commands, cancel-commands, orders, fills, account, broker-status, control, alerts, "
    "queries, history-queries, dead-letter, bars:<p>"
)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for name, command in (
        ("status", status),
        ("orders", orders),
        ("fills", fills),
        ("account", account),
        ("tail", tail),
    ):
        app.command(name)(command)
    app.add_typer(contract_app, name="contract")


async def read_status(desk: Desk, settings: BrokerSettings) -> dict[str, Any]:
    """Return what `cq status` shows, as plain values."""
    heartbeats = await desk.heartbeats()
    gateways = [row for row in heartbeats if row["service"] == "gateway"]
    leader = next((row for row in gateways if row.get("role") == "leader"), None)
    open_orders = await desk.open_orders()
    halt = await desk.halt_status()
    names = await desk.names()
    return {
        "mode": settings.mode.value,
        "deployment": settings.deployment,
        "account": settings.account,
        "broker": broker_behind(settings),
        "reached_at": f"{settings.broker_host}:{settings.broker_port}",
        "leader": leader["instance"] if leader else None,
        "epoch": leader.get("epoch") if leader else None,
        "link": leader.get("link") if leader else None,
        "link_reason": leader.get("link_reason", "") if leader else "",
        "broken_farms": leader.get("broken_farms", []) if leader else [],
        "window": leader.get("window", "") if leader else "",
        "halt": halt.get("stage", "missing"),
        "halt_reason": halt.get("reason", ""),
        "orders_working": len(open_orders),
        "orders_unknown": sum(event.state is OrderState.UNKNOWN for event in open_orders),
        "positions": [
            {
                "contract": names.of(report),
                "position": str(report.position),
                "protected": str(protected_quantity(report, open_orders)),
            }
            for report in await desk.positions()
        ],
        "processes": heartbeats,
    }


def status(as_json: JsonOption = False) -> None:
    """Show mode, account, port, who leads, positions and whether they are protected, and every process."""
    content = with_desk(read_status)
    if as_json:
        print_json(content)
    else:
        print_status(content)
    system = running_system()
    if system is not None and not as_json:
        console.print(f"status page: {system.status_page}")


def print_status(content: Mapping[str, Any]) -> None:
    """Print what `read_status` returned; what matters most comes first."""
    guard = "" if content["broker"] == content["reached_at"] else f" (through the guard at {content['reached_at']})"
    head = f"{content['mode'].upper()}  account {content['account']}  broker {content['broker']}"
    console.print(f"{head}{guard}", style="bold")
    console.print(_leader(content), highlight=False)
    console.print(
        f"{_trading(content)}; {content['orders_working']} working orders, {content['orders_unknown']} unknown"
    )
    rows = [[row["contract"], Decimal(row["position"]), _protection(row)] for row in content["positions"]]
    print_table("positions", ["contract", "position", "stop at broker"], rows, empty="no positions")
    now_ns = SYSTEM_CLOCK.wall_ns()
    processes = [
        [
            row["service"],
            row["instance"],
            row["pid"],
            _state(row),
            f"{(now_ns - row['started_ns']) / 1e9:,.0f} s",
        ]
        for row in content["processes"]
    ]
    print_table("processes", ["service", "instance", "pid", "state", "up"], processes, empty="no process is alive")


def _leader(content: Mapping[str, Any]) -> str:
    if not content["leader"]:
        return "no gateway leads: no order can go out"
    reason = f": {content['link_reason']}" if content["link_reason"] and content["link"] != LinkState.READY else ""
    window = f"; broker's window: {content['window']}" if content["window"] else ""
    farms = f"; broken data farms: {', '.join(content['broken_farms'])}" if content["broken_farms"] else ""
    return f"{content['leader']} leads (epoch {content['epoch']}), link {content['link']}{reason}{farms}{window}"


def _state(row: Mapping[str, Any]) -> str:
    """Return how a process does; of a gateway that stands by, how its session with the broker does."""
    if not row["ready"]:
        return "; ".join(row["failed"].values())
    if row.get("role") != "standby" or not row.get("data_link"):
        return "ready"
    reason = f": {row['data_link_reason']}" if row.get("data_link_reason") else ""
    return f"{row.get('link', LinkState.STANDBY)}, data session {row['data_link']}{reason}"


def _trading(content: Mapping[str, Any]) -> str:
    if content["halt"] == "none":
        return "trading"
    if content["halt"] == "missing":
        return "HALTED: nothing is stored of whether it trades (a first start, or a lost Redis)"
    return f"HALTED ({content['halt']}): {content['halt_reason'] or 'no reason given'}"


def _protection(row: Mapping[str, str]) -> str:
    covered, held = Decimal(row["protected"]), abs(Decimal(row["position"]))
    if covered >= held:
        return "yes"
    return f"only {covered}" if covered else "no"


def orders(as_json: JsonOption = False) -> None:
    """List every order that is not final: working, pending, unknown; ours and others'."""
    rows = with_desk(lambda desk, _: _orders(desk))
    columns = [
        "intent",
        "leg",
        "strategy",
        "contract",
        "side",
        "quantity",
        "type",
        "limit",
        "stop",
        "tif",
        "state",
        "filled",
    ]
    print_rows(rows, as_json=as_json, title="working orders", columns=columns, empty="no order works")


async def _orders(desk: Desk) -> list[dict[str, object]]:
    names = await desk.names()
    return [order_row(event, names) for event in await desk.open_orders()]


def fills(
    first: Annotated[str, typer.Option("--from", help="Earliest execution time, ISO 8601, e.g. 2026-11-23.")] = "",
    last: Annotated[str, typer.Option("--to", help="Latest execution time, ISO 8601.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List executions, each exactly once, corrections applied."""
    from_ns, to_ns = _time(first, "--from", 0), _time(last, "--to", 1 << 62)

    async def act(desk: Desk, _: BrokerSettings) -> list[dict[str, object]]:
        names = await desk.names()
        return [
            {
                "time": iso_utc(fill.ts_event_ns),
                "strategy": fill.strategy,
                "contract": names.of(fill),
                "side": fill.side.value,
                "quantity": fill.quantity,
                "price": fill.price,
                "currency": fill.currency,
                "exec_id": fill.exec_id,
                "intent_id": fill.intent_id,
            }
            for fill in await desk.fills()
            if from_ns <= fill.ts_event_ns <= to_ns
        ]

    rows = with_desk(act)
    columns = ["time", "strategy", "contract", "side", "quantity", "price", "currency", "exec_id", "intent_id"]
    if as_csv:
        writer = csv.DictWriter(sys.stdout, columns)
        writer.writeheader()
        writer.writerows(rows)
    else:
        print_rows(rows, as_json=as_json, title="fills", columns=columns[:-1], empty="no fills yet")


def _time(text: str, name: str, default: int) -> int:
    if not text:
        return default
    try:
        return parse_iso_utc(text)
    except ValueError as e:
        raise BadInput(f"{name}: {text!r} is not an ISO 8601 time such as 2026-11-23 or 2026-11-23T14:30") from e


def account(
    journal: Annotated[
        bool, typer.Option("--journal", help="What happened without an order: dividends, fees, splits, expiries …")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the account's values as the broker reports them, or its journal."""
    if journal:
        rows = with_desk(lambda desk, _: journal_rows(desk))
        print_rows(rows, as_json=as_json, title="journal", columns=JOURNAL_COLUMNS, empty="the journal is empty")
        return
    values = with_desk(lambda desk, _: desk.account_values())
    if as_json:
        print_json(values)
    else:
        print_table("account", ["value", "amount"], sorted(values.items()), empty="the account is not synchronised yet")


@contract_app.command("find")
def contract_find(
    pattern: Annotated[str, typer.Argument(help="Part of a symbol or name.")], as_json: JsonOption = False
) -> None:
    """Search the broker's contracts; `cq contract show NAME` tells the rest of one."""

    async def act(desk: Desk, _: BrokerSettings) -> tuple[list[dict[str, object]], str]:
        answer = await desk.search(pattern)
        known = {one.name: one for one in [*await desk.known_contracts(), *answer.contracts]}
        names = dict.fromkeys([*answer.candidates, *(one.name for one in answer.contracts)])
        return [_found(name, known.get(name)) for name in names], answer.error

    rows, error = with_desk(act)
    columns = ["name", "con_id", "exchange", "currency"]
    print_rows(
        rows, as_json=as_json, title=f"contracts like {pattern}", columns=columns, empty=error or "nothing found"
    )


def _found(name: str, info: ContractInfo | None) -> dict[str, object]:
    """Return a row of a search; details are there for contracts that were asked for before."""
    if info is None:
        return {"name": name, "con_id": None, "exchange": None, "currency": None}
    exchange = info.primary_exchange or info.exchange
    return {"name": name, "con_id": info.con_id, "exchange": exchange, "currency": info.currency}


@contract_app.command("show")
def contract_show(name: Annotated[str, typer.Argument(help="A contract name.")], as_json: JsonOption = False) -> None:
    """Show one contract as the broker defines it."""
    info: ContractInfo = with_desk(lambda desk, _: desk.resolve(name))
    content = info.model_dump(mode="json", exclude={"ts_init_ns"})
    if as_json:
        print_json(content)
    else:
        print_table(info.name, ["field", "value"], [[key, value] for key, value in content.items() if value], empty="")


def tail(
    stream: Annotated[str, typer.Argument(help=f"One of: {STREAMS}.")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many entries to begin with.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the last entries of a stream, decoded."""
    names = {name.split(":")[0] for name in STREAMS.split(", ")}
    if stream.split(":")[0] not in names:
        raise BadInput(f"there is no stream {stream!r}: choose one of {STREAMS}")

    async def act(desk: Desk, _: BrokerSettings) -> None:
        key = f"cq:{desk.keys.deployment}:{stream}"
        entries = await desk.bus.read_last(key, count)
        cursor = entries[-1].entry_id if entries else await desk.bus.last_id(key)
        while True:
            for entry in entries:
                _print_entry(entry.entry_id, entry.fields, as_json=as_json)
                cursor = entry.entry_id
            if not follow:
                return
            entries = (await desk.bus.read({key: cursor}, block_ms=500)).get(key, [])

    with_desk(act)


def _print_entry(entry_id: str, fields: Any, *, as_json: bool) -> None:
    try:
        envelope = decode_fields(fields, entry_id=entry_id)
        message: object = envelope.message.model_dump(mode="json", exclude_defaults=True)
        source, kind = envelope.source, envelope.message.TYPE
    except BadInput as e:
        source, kind, message = "", "undecodable", str(e)
    if as_json:
        sys.stdout.write(json.dumps({"entry": entry_id, "type": kind, "source": source, "message": message}) + "\n")
    else:
        head = Text.assemble((entry_id, "dim"), " ", (kind, "bold"), " ", (source, "cyan"), " ")
        console.print(head.append(json.dumps(message)), soft_wrap=True)
    sys.stdout.flush()

"""`cq status`, `orders`, `positions`, `fills`, `account`, `contract`, `tail`: look, change nothing."""

from __future__ import annotations

import csv
import json
import sys
from decimal import Decimal
from typing import Annotated, Any

import typer

from copilot_quant.cli.output import JsonOption, console, print_json, print_rows, print_table
from copilot_quant.cli.session import running_system, with_desk
from copilot_quant.cli.trading import order_row
from copilot_quant.desk import Desk
from shared.clock import SYSTEM_CLOCK, iso_utc, parse_iso_utc
from shared.errors import BadInput
from shared.messages import decode_fields
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderState, OrderType
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
        ("positions", positions),
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
    protective = {
        event.con_id for event in open_orders if event.order_type in (OrderType.STOP.value, OrderType.STOP_LIMIT.value)
    }
    halt = await desk.halt_status()
    return {
        "mode": settings.mode.value,
        "deployment": settings.deployment,
        "account": settings.account,
        "broker": f"{settings.broker_host}:{settings.broker_port}",
        "leader": leader["instance"] if leader else None,
        "epoch": leader.get("epoch") if leader else None,
        "link": leader.get("link") if leader else None,
        "halt": halt.get("stage", "halted: its state is missing"),
        "halt_reason": halt.get("reason", ""),
        "orders_working": len(open_orders),
        "orders_unknown": sum(event.state is OrderState.UNKNOWN for event in open_orders),
        "positions": [
            {
                "contract": report.contract or report.symbol,
                "position": str(report.position),
                "protected": report.con_id in protective,
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
        return
    console.print(f"{content['mode'].upper()}  account {content['account']}  broker {content['broker']}", style="bold")
    leads = f"{content['leader']} leads (epoch {content['epoch']}), link {content['link']}"
    console.print(leads if content["leader"] else "no gateway leads: no order can go out", highlight=False)
    trading = "trading" if content["halt"] == "none" else f"HALTED ({content['halt']}) {content['halt_reason']}"
    console.print(f"{trading}; {content['orders_working']} working orders, {content['orders_unknown']} unknown")
    rows = [
        [row["contract"], Decimal(row["position"]), "yes" if row["protected"] else "no"] for row in content["positions"]
    ]
    print_table("positions", ["contract", "position", "stop at broker"], rows, empty="no positions")
    now_ns = SYSTEM_CLOCK.wall_ns()
    processes = [
        [
            row["service"],
            row["instance"],
            row["pid"],
            "ready" if row["ready"] else "; ".join(row["failed"].values()),
            f"{(now_ns - row['started_ns']) / 1e9:,.0f} s",
        ]
        for row in content["processes"]
    ]
    print_table("processes", ["service", "instance", "pid", "state", "up"], processes, empty="no process is alive")
    system = running_system()
    if system is not None:
        console.print(f"status page: {system.status_page}")


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
    return [order_row(event) for event in await desk.open_orders()]


def positions(as_json: JsonOption = False) -> None:
    """List the broker's positions: whose they are, what nobody can account for, average cost and P&L."""

    async def act(desk: Desk, _: BrokerSettings) -> list[dict[str, object]]:
        return [
            {
                "contract": report.contract or report.symbol,
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
            for report in await desk.positions()
        ]

    rows = with_desk(act)
    columns = ["contract", "position", "held_by", "average_cost", "market_price", "unrealized_pnl", "realized_pnl"]
    if any(row["unexplained"] for row in rows):
        columns.insert(3, "unexplained")
    print_rows(rows, as_json=as_json, title="positions", columns=[*columns, "currency"], empty="no positions")


def fills(
    first: Annotated[str, typer.Option("--from", help="Earliest execution time, ISO 8601, e.g. 2026-11-23.")] = "",
    last: Annotated[str, typer.Option("--to", help="Latest execution time, ISO 8601.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List executions, each exactly once, corrections applied."""
    from_ns, to_ns = _time(first, "--from", 0), _time(last, "--to", 1 << 62)

    async def act(desk: Desk, _: BrokerSettings) -> list[dict[str, object]]:
        return [
            {
                "time": iso_utc(fill.ts_event_ns),
                "strategy": fill.strategy,
                "contract": fill.contract or f"#{fill.con_id}",
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


def account(as_json: JsonOption = False) -> None:
    """Show the account's values as the broker reports them."""
    values = with_desk(lambda desk, _: desk.account_values())
    if as_json:
        print_json(values)
    else:
        print_table("account", ["value", "amount"], sorted(values.items()), empty="the account is not synchronised yet")


@contract_app.command("find")
def contract_find(
    pattern: Annotated[str, typer.Argument(help="Part of a symbol or name.")], as_json: JsonOption = False
) -> None:
    """Search the broker's contracts."""
    answer = with_desk(lambda desk, _: desk.search(pattern))
    rows: list[dict[str, object]] = [
        {
            "name": one.name,
            "con_id": one.con_id,
            "exchange": one.primary_exchange or one.exchange,
            "currency": one.currency,
        }
        for one in answer.contracts
    ]
    columns = ["name", "con_id", "exchange", "currency"]
    print_rows(
        rows, as_json=as_json, title=f"contracts like {pattern}", columns=columns, empty=answer.error or "nothing found"
    )


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
        console.print(
            f"[dim]{entry_id}[/dim] [bold]{kind}[/bold] [cyan]{source}[/cyan] {json.dumps(message)}", soft_wrap=True
        )
    sys.stdout.flush()

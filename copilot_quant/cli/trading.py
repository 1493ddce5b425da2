"""`cq order`, `cq cancel`: trade by hand, through risk."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

import typer

from copilot_quant.cli.output import JsonOption, console, print_json
from copilot_quant.cli.session import is_live, with_desk
from copilot_quant.desk import Desk, Names, OrderResult, OrderTicket
from shared.errors import BadInput, BrokerRejected, RiskRejected, TimedOut
from shared.ids import MANUAL
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderEvent, Side, TimeInForce
from shared.messages.requests import WhatIfAnswer
from shared.money import decimal_of
from shared.settings import BrokerSettings

order_app = typer.Typer(help="Place an order by hand; it passes risk like any other.", no_args_is_help=True)
ContractArgument = Annotated[
    str, typer.Argument(help="AAPL, SAP@IBIS:EUR, FX:EUR.USD, FUT:ES@CME:202612, OPT:SPY:20261218:500C, #265598 …")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; for scripts.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(order_app, name="order")
    app.command("cancel")(cancel)


def _number(text: str | None, name: str) -> Decimal | None:
    if text is None:
        return None
    try:
        number = decimal_of(text)
    except ValueError as e:
        raise BadInput(f"{name}: {e}") from e
    if number <= 0:
        raise BadInput(f"{name} must be positive, got {text}")
    return number


def _ask_if_live(settings: BrokerSettings, text: str, *, yes: bool) -> None:
    if is_live(settings) and not yes:
        typer.confirm(f"LIVE account {settings.account}: {text}?", abort=True)


async def _approximate_notional(desk: Desk, contract: ContractInfo, ticket: OrderTicket) -> str:
    price = ticket.limit_price or ticket.stop_price
    if price is None:
        last = await desk.last_price(contract.con_id)
        price = decimal_of(last["last"]) if last.get("last") else None
    if price is None:
        return "at a price not known yet"
    amount = ticket.quantity * price * contract.multiplier / contract.price_magnifier
    return f"about {amount:,.2f} {contract.currency}"


def result_row(result: OrderResult) -> dict[str, object]:
    """Return what scripts read of an order's result."""
    return {
        "intent_id": result.intent_id,
        "state": result.state,
        "by": result.by,
        "code": result.code,
        "text": result.text,
        "filled": str(result.filled),
        "average_price": None if result.average_price is None else str(result.average_price),
    }


def show_result(result: OrderResult) -> None:
    """Print what became of an order; of one that was refused or not answered, `raise_if_refused` says it."""
    if result.is_refused or result.state == "unanswered":
        return
    at = f" at {result.average_price}" if result.average_price else ""
    so_far = "" if result.state == "filled" else f"{result.state}, "
    state = f"{so_far}filled {result.filled}{at}" if result.filled else result.state
    console.print(f"order {result.intent_id}: {state} {result.code} {result.text}".rstrip())


def raise_if_refused(result: OrderResult) -> None:
    """End the command with the exit status of a refused order.

    Raises:
        Refused: it was refused, by whoever the error names.
        TimedOut: nobody answered.
    """
    if result.state == "unanswered":
        raise TimedOut(f"order {result.intent_id}: {result.text}")
    if result.is_refused:
        error = RiskRejected if result.by == "risk" else BrokerRejected
        why = f": {result.text}" if result.text else ""
        whom = result.by if result.by in ("", "risk") else f"the {result.by}"
        raise error(
            result.code or result.state, f"order {result.intent_id} {result.state} by {whom or 'the system'}{why}"
        )


def _end(result: OrderResult, *, as_json: bool) -> None:
    if as_json:
        print_json(result_row(result))
    else:
        show_result(result)
    raise_if_refused(result)


def _order(contract: str, ticket: OrderTicket, yes: bool, as_json: bool) -> None:
    async def act(desk: Desk, settings: BrokerSettings) -> OrderResult:
        info = await desk.resolve(contract)
        amount = await _approximate_notional(desk, info, ticket)
        _ask_if_live(settings, f"{ticket.side} {ticket.quantity} {info.name} {ticket.order_type}, {amount}", yes=yes)
        return await desk.place(info, ticket)

    _end(with_desk(act), as_json=as_json)


def _ask_what_if(contract: str, ticket: OrderTicket, *, as_json: bool) -> None:
    async def act(desk: Desk, _: BrokerSettings) -> WhatIfAnswer:
        info = await desk.resolve(contract)
        return await desk.what_if(info.con_id, ticket.legs()[0])

    answer = with_desk(act)
    if as_json:
        print_json(answer.model_dump(mode="json", exclude={"query_id", "error", "code", "ts_init_ns"}))
        return
    for name, before, after in (
        ("initial margin", answer.init_margin_before, answer.init_margin_after),
        ("maintenance margin", answer.maint_margin_before, answer.maint_margin_after),
        ("equity with loan", answer.equity_with_loan_before, answer.equity_with_loan_after),
    ):
        console.print(f"{name}: {before} now, {after} with it")
    shown = (
        answer.commission if answer.commission is not None else f"{answer.min_commission} to {answer.max_commission}"
    )
    console.print(f"commission: {shown} {answer.commission_currency} {answer.warning}".rstrip())


LimitOption = Annotated[str | None, typer.Option("--limit", help="Limit price.")]
StopOption = Annotated[str | None, typer.Option("--stop", help="Stop price that triggers the order.")]
BracketOption = Annotated[
    str | None,
    typer.Option("--bracket", help="TAKE_PROFIT:STOP_LOSS, two exits that rest at the broker, e.g. 210:190."),
]
TifOption = Annotated[TimeInForce, typer.Option("--tif", help="How long the order works.")]
OutsideOption = Annotated[bool, typer.Option("--outside-rth", help="Also outside regular trading hours.")]
WhatIfOption = Annotated[bool, typer.Option("--what-if", help="Only ask what it would cost; nothing is placed.")]
StrategyOption = Annotated[str, typer.Option("--strategy", help="The strategy whose position this becomes.")]


def _bracket(text: str | None) -> tuple[Decimal | None, Decimal | None]:
    if text is None:
        return None, None
    profit, colon, loss = text.partition(":")
    if not colon:
        raise BadInput(f"--bracket is TAKE_PROFIT:STOP_LOSS, e.g. 210:190, got {text!r}")
    return _number(profit, "take profit"), _number(loss, "stop loss")


def _order_command(side: Side) -> Callable[..., None]:
    def place(
        contract: ContractArgument,
        quantity: Annotated[str, typer.Argument(help="Shares or contracts.")],
        limit: LimitOption = None,
        stop: StopOption = None,
        bracket: BracketOption = None,
        tif: TifOption = TimeInForce.DAY,
        outside_rth: OutsideOption = False,
        strategy: StrategyOption = MANUAL,
        what_if: WhatIfOption = False,
        yes: YesOption = False,
        as_json: JsonOption = False,
    ) -> None:
        profit, loss = _bracket(bracket)
        ticket = OrderTicket(
            side=side,
            quantity=_number(quantity, "quantity") or Decimal(0),
            limit_price=_number(limit, "--limit"),
            stop_price=_number(stop, "--stop"),
            take_profit=profit,
            stop_loss=loss,
            tif=tif,
            outside_rth=outside_rth,
            strategy=strategy,
        )
        if what_if:
            _ask_what_if(contract, ticket, as_json=as_json)
        else:
            _order(contract, ticket, yes, as_json)

    place.__doc__ = f"{side.title()}: at market, or with --limit and --stop; ends with exit status 77 when refused."
    return place


for _side in Side:
    order_app.command(_side.lower())(_order_command(_side))


@order_app.command("modify")
def modify(
    order: Annotated[str, typer.Argument(help="An intent id or orderRef as `cq orders` shows them.")],
    leg: Annotated[int, typer.Option("--leg", help="Which order of a bracket or group.")] = 0,
    limit: LimitOption = None,
    stop: StopOption = None,
    quantity: Annotated[str | None, typer.Option("--quantity", help="New total, what has filled included.")] = None,
    outside_rth: Annotated[
        bool | None, typer.Option("--outside-rth/--regular-hours", help="May it fill outside regular trading hours.")
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Change a working order's prices, quantity or hours; what is not named stays as it is."""

    async def act(desk: Desk, settings: BrokerSettings) -> OrderResult:
        working = [event for event in await desk.open_orders() if event.own_intent_id]
        found = [event for event in working if order == event.order_ref or (order, leg) == (event.intent_id, event.leg)]
        if not found:
            raise BadInput(f"{order!r} leg {leg} is no working order of ours: `cq orders` lists them")
        _ask_if_live(settings, f"change {found[0].side} {found[0].quantity} {found[0].contract}", yes=yes)
        return await desk.modify(
            found[0],
            quantity=_number(quantity, "--quantity"),
            limit_price=_number(limit, "--limit"),
            stop_price=_number(stop, "--stop"),
            outside_rth=outside_rth,
        )

    _end(with_desk(act), as_json=as_json)


def cancel(
    order: Annotated[str, typer.Argument(help="An intent id or orderRef as `cq orders` shows them, or `all`.")],
    as_json: JsonOption = False,
) -> None:
    """Cancel working orders of ours; a cancel is never refused by risk."""

    async def act(desk: Desk, _: BrokerSettings) -> list[str]:
        orders = [event for event in await desk.open_orders() if event.intent_id]
        chosen = {event.intent_id for event in orders if order == "all" or order in (event.intent_id, event.order_ref)}
        if not chosen and order != "all":
            chosen = {order} if len(order) == 20 else set()
        if not chosen and order != "all":
            raise BadInput(f"{order!r} is no working order of ours: `cq orders` lists them")
        return [await desk.cancel(intent, reason="cq cancel") for intent in sorted(chosen)]

    cancels = with_desk(act)
    if as_json:
        print_json(cancels)
    else:
        console.print(f"{len(cancels)} cancel(s) sent; `cq orders` shows what still works")


def order_row(event: OrderEvent, names: Names) -> dict[str, object]:
    """Return what `cq orders` shows of an order."""
    return {
        "intent": event.own_intent_id or f"permId {event.perm_id}",
        "leg": event.leg,
        "strategy": event.strategy,
        "contract": names.of(event),
        "side": event.side.value,
        "quantity": event.quantity,
        "type": event.order_type,
        "limit": event.limit_price,
        "stop": event.stop_price,
        "tif": event.tif,
        "outside_rth": event.outside_rth,
        "state": event.state.value,
        "filled": event.filled,
    }

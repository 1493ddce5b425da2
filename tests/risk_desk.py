"""Builders for the tests of risk: a ready market, intents, order events and fills in one line each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from services.risk.core.decide import Verdict, decide
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, LimitSet
from services.risk.core.limits_file import CHOICES
from services.risk.core.profiles import default_limits
from shared.ids import exec_stem
from shared.messages.account import AccountSnapshot, AccountTag, PositionReport, PositionsComplete
from shared.messages.base import Message
from shared.messages.codec import encode_fields
from shared.messages.control import BrokerStatus, LinkState, Reconciled
from shared.messages.market import ContractInfo, TickKind
from shared.messages.orders import (
    CancelCommand,
    CancelRequest,
    Command,
    Fill,
    Group,
    Intent,
    IntentAction,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    Side,
)

NOW = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
ACCOUNT = "DUSIM0001"
INCARNATION = "run:repl"
ALL_UNLIMITED: dict[str, Any] = {
    name: None
    for name in LimitSet.__dataclass_fields__
    if name.endswith(("_max", "_min", "_percent", "_ticks", "_share", "_s", "_burst"))
} | {name: "allow" for name, choices in CHOICES.items() if "allow" in choices and name != "delayed_data"}


def D(value: object) -> Decimal:  # noqa: N802 - as short as in the decimal module's own examples
    return Decimal(str(value))


def limits_with(**values: Any) -> Limits:
    """Every limit unlimited, but the ones given."""
    base = replace(default_limits().base, **ALL_UNLIMITED)
    numbers: dict[str, Any] = {
        name: D(value) if isinstance(value, int | float) else value for name, value in values.items()
    }
    return Limits(base=replace(base, **numbers), profile="test")


def cancel_of(number: int, leg: int | None = None) -> CancelCommand:
    """The cancel of an intent, as risk passes it on."""
    request = CancelRequest(cancel_id=f"c{number}", intent_id=number_id(number), leg=leg, account=ACCOUNT)
    return CancelCommand(cancel=request)


def info(con_id: int = 1, **values: Any) -> ContractInfo:
    fields: dict[str, Any] = {
        "name": f"S{con_id}", "symbol": f"S{con_id}", "sec_type": "STK", "exchange": "SMART", "currency": "USD",
    }  # fmt: skip
    return ContractInfo(con_id=con_id, **{**fields, **values})


def ready_book(con_ids: tuple[int, ...] = (1, 2, 3), *, price: float = 100.0, buying_power: str = "1000000") -> Book:
    """A book of a flat account with a reconciled, READY gateway, fresh prices and no halt."""
    book = Book(ACCOUNT, incarnation=INCARNATION, epoch=7)
    book.apply(Reconciled(instance="g1", epoch=5, incarnation=INCARNATION), NOW)
    book.apply(BrokerStatus(instance="g1", state=LinkState.READY, is_leader=True, epoch=5), NOW)
    tags = (AccountTag(tag="BuyingPower", value=buying_power, currency="USD"),)
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=tags), NOW)
    book.apply(PositionsComplete(account=ACCOUNT), NOW)
    book.breakers.set_stage("none", "")
    for con_id in con_ids:
        book.apply(info(con_id), NOW)
        set_price(book, con_id, price)
    return book


def set_price(book: Book, con_id: int, price: float, *, ts_ns: int = NOW, quality: int = 1) -> None:
    book.apply_tick(con_id, TickKind.QUOTE, quality, ts_ns, price - 0.01, price + 0.01)


def hold(book: Book, con_id: int, quantity: object, *, strategy: str = "s", number: int = 900) -> None:
    """Let a strategy hold a position through an execution, and the broker report it."""
    amount = D(quantity)
    side = Side.BUY if amount > 0 else Side.SELL
    fill_of(book, number, con_id, side, abs(amount), strategy=strategy, exec_id=f"h{con_id}{number}.01.01")
    report(book, con_id, book.contract(con_id).total)


def report(book: Book, con_id: int, position: object, now_ns: int = NOW) -> None:
    book.apply(PositionReport(account=ACCOUNT, con_id=con_id, position=D(position), average_cost=D(100)), now_ns)


def number_id(number: int) -> str:
    return f"{number:020d}"


def leg_of(side: str | Side, quantity: object, price: object = "100.00", number: int = 0, **values: Any) -> OrderLeg:
    fields: dict[str, Any] = {"side": side, "quantity": D(quantity), "leg": number, "order_type": OrderType.LIMIT}
    if price is None:
        fields["order_type"] = OrderType.MARKET
    else:
        fields["limit_price"] = D(price)
    return OrderLeg(**{**fields, **values})


def intent_of(
    number: int,
    side: str | Side = "BUY",
    quantity: object = 10,
    price: object = "100.00",
    *,
    con_id: int = 1,
    legs: tuple[OrderLeg, ...] | None = None,
    **values: Any,
) -> Intent:
    fields: dict[str, Any] = {
        "intent_id": number_id(number),
        "legs": legs or (leg_of(side, quantity, price),),
        "con_id": con_id,
        "strategy": "s",
        "account": ACCOUNT,
        "incarnation": INCARNATION,
        "valid_until_ns": NOW + 30 * SECOND,
        "ts_init_ns": NOW,
    }
    return Intent(**{**fields, **values})


def bracket_of(number: int, side: str = "BUY", quantity: object = 10, *, con_id: int = 1, **values: Any) -> Intent:
    other = "SELL" if side == "BUY" else "BUY"
    far, near = ("101.00", "99.00") if side == "BUY" else ("99.00", "101.00")
    stop: dict[str, Any] = {"order_type": OrderType.STOP, "limit_price": None, "stop_price": D(near)}
    legs = (
        leg_of(side, quantity),
        leg_of(other, quantity, far, 1, parent_leg=0),
        leg_of(other, quantity, far, 2, parent_leg=0, **stop),
    )
    return intent_of(number, con_id=con_id, legs=legs, group=Group.BRACKET, **values)


def modify_of(
    number: int, modifies: int, side: str, quantity: object, price: object = "100.00", **values: Any
) -> Intent:
    return intent_of(number, side, quantity, price, action=IntentAction.MODIFY, modifies=number_id(modifies), **values)


def decided(intent: Intent, book: Book, limits: Limits, now_ns: int = NOW) -> Verdict:
    """Decide and, if approved, reserve: what the shell does."""
    verdict = decide(intent, book, limits, now_ns)
    if verdict.command is not None:
        book.reserve(intent, now_ns, verdict.rates)
    return verdict


def command_of(intent: Intent) -> Command:
    return Command(intent=intent, not_after_ns=intent.valid_until_ns, incarnation=intent.incarnation)


def event_of(
    number: int, state: OrderState, *, con_id: int = 1, side: str | Side = "BUY", quantity: object = 10, **values: Any
) -> OrderEvent:
    fields: dict[str, Any] = {
        "intent_id": number_id(number), "state": state, "strategy": "s", "account": ACCOUNT, "con_id": con_id,
        "side": side, "quantity": D(quantity), "order_type": "LMT", "limit_price": D("100.00"),
    }  # fmt: skip
    return OrderEvent(**{**fields, **values})


def fill_of(
    book: Book,
    number: int,
    con_id: int,
    side: str | Side,
    quantity: object,
    *,
    exec_id: str,
    strategy: str = "s",
    now_ns: int = NOW,
    **values: Any,
) -> Fill:
    stem, revision = exec_stem(exec_id)
    fields: dict[str, Any] = {
        "exec_id": exec_id, "exec_stem": stem, "revision": revision, "intent_id": number_id(number),
        "strategy": strategy, "account": ACCOUNT, "con_id": con_id, "side": side, "quantity": D(quantity),
        "price": D(100),
    }  # fmt: skip
    fill = Fill(**{**fields, **values})
    book.apply(fill, now_ns)
    return fill


def fields_of(message: Message, *, source: str = "test") -> dict[bytes, bytes]:
    """Return a message's fields as a reader of its stream gets them."""
    return {name.encode(): value for name, value in encode_fields(message, source=source).items()}

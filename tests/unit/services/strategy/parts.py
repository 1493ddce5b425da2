"""Small units for tests: one strategy, one or two contracts, no bus."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.strategy.api import Strategy
from services.strategy.core.events import Quote
from services.strategy.core.ordering import Identity
from services.strategy.core.saved import Commit, Limits
from services.strategy.core.unit import Unit
from shared.messages.market import ContractInfo, PriceIncrement
from shared.messages.orders import Decision, Fill, Intent, OrderEvent, OrderState, Side

NS = 1_000_000_000
T0 = 1_700_000_000 * NS
IBM = ContractInfo(con_id=8314, name="IBM", symbol="IBM", sec_type="STK", exchange="SMART", currency="USD")
NICKEL = ContractInfo(
    con_id=9,
    name="NICKEL",
    symbol="NICKEL",
    sec_type="STK",
    exchange="SMART",
    currency="USD",
    increments=(PriceIncrement(low_edge=Decimal(0), increment=Decimal("0.05")),),
)


def unit_of(strategy: Strategy, limits: Limits | None = None, name: str = "s") -> Unit:
    identity = Identity("deployment", "DUSIM0001", name, f"{name}/IBM", "inc")
    unit = Unit(identity, strategy, {IBM.con_id: IBM, NICKEL.con_id: NICKEL}, limits or Limits())
    strategy.bind(unit)
    return unit


def quote(bid: float = 100.0, ask: float = 100.02, contract: ContractInfo = IBM) -> Quote:
    return Quote(contract, bid, 100.0, ask, 100.0, T0)


def give_quote(unit: Unit, at_ns: int = T0, **values: Any) -> None:
    unit.quote(quote(**values), at_ns, at_ns, "1-1")


def save(unit: Unit, at_ns: int = T0, *, force: bool = False) -> Commit | None:
    """Commit and confirm."""
    commit = unit.commit(at_ns, force=force)
    unit.committed(at_ns)
    return commit


def event(intent: Intent, state: OrderState, *, filled: int = 0, leg: int = 0) -> OrderEvent:
    order = intent.legs[leg]
    return OrderEvent(
        intent_id=intent.intent_id,
        leg=leg,
        order_ref="r",
        state=state,
        strategy=intent.strategy,
        account=intent.account,
        con_id=intent.con_id,
        side=order.side,
        quantity=order.quantity,
        order_type=order.order_type,
        filled=Decimal(filled),
        remaining=order.quantity - filled,
    )


def fill(
    intent: Intent, quantity: int, *, stem: str = "e1", revision: int = 1, price: str = "100", leg: int = 0
) -> Fill:
    return Fill(
        exec_id=f"{stem}.{revision:02d}",
        exec_stem=stem,
        revision=revision,
        intent_id=intent.intent_id,
        leg=leg,
        strategy=intent.strategy,
        account=intent.account,
        con_id=intent.con_id,
        side=intent.legs[leg].side,
        quantity=Decimal(quantity),
        price=Decimal(price),
    )


def decision(intent: Intent, *, approved: bool = True) -> Decision:
    return Decision(
        intent_id=intent.intent_id,
        approved=approved,
        code="" if approved else "RISK_TEST",
        con_id=intent.con_id,
        strategy=intent.strategy,
    )


BUY, SELL = Side.BUY, Side.SELL

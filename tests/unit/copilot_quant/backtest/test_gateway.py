from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from copilot_quant.backtest.contracts import Contract, contracts_of
from copilot_quant.backtest.exchange import Exchange
from copilot_quant.backtest.gateway import Gateway, Told
from copilot_quant.backtest.riskdesk import RiskDesk
from copilot_quant.backtest.runner import ACCOUNT, DEPLOYMENT, Costs, limits_of
from copilot_quant.backtest.units import INCARNATION
from services.simulator.core.hours import Hours
from services.simulator.core.market import Quote
from shared.clock import NS_PER_S
from shared.ids import intent_id
from shared.messages.orders import (
    CancelRequest,
    Fill,
    Intent,
    IntentAction,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    Side,
)

NOW = 1_381_239_000 * NS_PER_S


class Desk:
    """Risk, gateway and exchange of one contract, and what was said."""

    def __init__(self) -> None:
        contracts: dict[str, Contract] = contracts_of(["IBM"], Hours(), {"IBM": 10.0}, {})
        self.info = contracts["IBM"].info
        config = replace(Costs(commission="fixed", slippage=0.0).config(Decimal(100_000)), max_orders_per_side=3)
        self.exchange = Exchange(contracts, config, Hours(), NOW)
        self.gateway = Gateway(DEPLOYMENT, ACCOUNT)
        self.risk = RiskDesk(ACCOUNT, "USD", limits_of(None), [self.info], NOW)
        self.exchange.book(self.info.con_id).on_quote(Quote(self.info.con_id, NOW, 9.99, 500.0, 10.0, 500.0))
        self.risk.quote(self.info.con_id, NOW, 9.99, 10.0)
        self.risk.account(self.exchange.orders.fills.summary(self.exchange.account), Decimal(100_000), NOW)
        self.now_ns = NOW
        self.said: list[Told] = []

    def order(self, number: int, *, limit: str | None, modifies: str = "", delay_ns: int = 0) -> str:
        legs = (
            OrderLeg(
                side=Side.BUY, quantity=Decimal(100),
                order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
                limit_price=None if limit is None else Decimal(limit),
            ),
        )  # fmt: skip
        intent = Intent(
            intent_id=intent_id(DEPLOYMENT, "dip/IBM", number, 0), legs=legs, con_id=self.info.con_id, strategy="dip",
            action=IntentAction.MODIFY if modifies else IntentAction.PLACE, modifies=modifies, account=ACCOUNT,
            incarnation=INCARNATION, valid_until_ns=self.now_ns + NS_PER_S,
        )  # fmt: skip
        verdict = self.risk.decide(intent, self.now_ns)
        assert verdict.command is not None, verdict.decision.text
        events, orders = self.gateway.claim(verdict.command, self.now_ns + delay_ns)
        self._take(*events)
        for order in orders:
            self.exchange.place(order)
        self._hear()
        return intent.intent_id

    def wait(self, seconds: float) -> None:
        until_ns = self.now_ns + int(seconds * NS_PER_S)
        while (due_ns := self.exchange.due_ns()) is not None and due_ns <= until_ns:
            self.now_ns = due_ns
            self.exchange.run_one(due_ns)
            self._hear()
        self.now_ns = until_ns
        self.exchange.pass_to(until_ns)

    def cancel(self, intent: str) -> None:
        request = CancelRequest(cancel_id="c", intent_id=intent, strategy="dip", account=ACCOUNT)
        for order_id in self.gateway.to_cancel(request):
            self.exchange.cancel(order_id)
        self._hear()

    def _hear(self) -> None:
        for response in self.exchange.take():
            self._take(*self.gateway.hear(response, self.now_ns))

    def _take(self, *told: Told) -> None:
        self.said += told
        for one in told:
            self.risk.tell(one, self.now_ns)

    def states(self, intent: str) -> list[str]:
        found = [one.state.value for one in self.said if isinstance(one, OrderEvent) and one.intent_id == intent]
        return list(dict.fromkeys(found))


def test_a_market_order_is_claimed_shown_filled_and_counted_by_risk() -> None:
    desk = Desk()
    intent = desk.order(1, limit=None)
    assert desk.states(intent)[0] == "claimed" and desk.risk.book.contract(desk.info.con_id).buys == 100
    desk.wait(1.0)
    assert desk.states(intent)[-1] == "filled"
    (fill,) = [one for one in desk.said if isinstance(one, Fill)]
    assert (fill.intent_id, fill.quantity, fill.price, fill.strategy) == (intent, Decimal(100), Decimal(10), "dip")
    contract = desk.risk.book.contract(desk.info.con_id)
    assert (contract.total, contract.buys) == (Decimal(100), Decimal(0))
    assert desk.exchange.account.quantity(desk.info.con_id) == 100


def test_a_change_is_confirmed_under_its_own_intent_and_a_cancel_ends_the_order() -> None:
    desk = Desk()
    intent = desk.order(1, limit="9.90")
    desk.wait(1.0)
    change = desk.order(2, limit="9.95", modifies=intent)
    desk.wait(1.0)
    assert desk.states(change) == ["claimed", "modified"]
    assert desk.gateway.book.of_intent(intent)[0].limit_price == Decimal("9.95")
    desk.cancel(intent)
    desk.wait(1.0)
    assert desk.states(intent)[-1] == "cancelled" and desk.gateway.knows(intent)
    assert desk.risk.book.contract(desk.info.con_id).buys == 0


def test_what_the_exchange_refuses_ends_rejected_with_its_code() -> None:
    desk = Desk()
    *_, last = [desk.order(number + 1, limit="9.90") for number in range(4)]
    rejected = [one for one in desk.said if isinstance(one, OrderEvent) and one.state is OrderState.REJECTED]
    assert {one.intent_id for one in rejected} == {last} and rejected[0].code == "IB_201"


def test_a_command_that_is_too_old_is_not_sent() -> None:
    desk = Desk()
    intent = desk.order(1, limit="9.90", delay_ns=NS_PER_S + 1)
    assert desk.states(intent) == ["expired"] and not desk.exchange.is_working

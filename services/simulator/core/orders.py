"""Hold an order as the broker sees it, and the messages that tell its state.

Invariants:
1. permId is the key for ever; (client id, order id) leads to it for the client that placed it.
2. filled + remaining = total quantity while the order works.

Source: ib-facts A.5, A.8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from services.simulator.core.contracts import Instrument
from services.simulator.core.matching import Working
from services.simulator.core.times import zoned_text
from shared.tws.contract import TwsContract
from shared.tws.order import OrderState, TwsOrder, revised
from shared.tws.responses import CompletedOrder, OpenOrder, OrderStatus

ACTIVE = frozenset({"PreSubmitted", "Submitted", "PendingSubmit", "PendingCancel"})
DONE = frozenset({"Filled", "Cancelled", "Inactive", "ApiCancelled"})
ZERO = Decimal(0)


@dataclass(slots=True)
class BrokerOrder:
    """One order at the broker.

    `is_held` is an order whose transmit flag keeps it in TWS; `waits_for_parent` one whose parent has not filled.
    `is_manual` orders were entered in TWS by hand, `is_liquidation` ones by the broker itself, for want of margin;
    `is_locating` is a short sale whose shares are being looked for.
    `expires_ns` is when it ends by itself, 0 for never; `starts_ns` when it may begin to work (goodAfterTime).
    """

    perm_id: int
    client_id: int
    order_id: int
    contract: TwsContract
    instrument: Instrument
    order: TwsOrder
    account: str
    received_ns: int
    working: Working
    status: str = "PendingSubmit"
    filled: Decimal = ZERO
    paid: Decimal = ZERO
    """Sum of quantity x price of all fills."""
    last_price: Decimal = ZERO
    commission: Decimal = ZERO
    is_held: bool = False
    waits_for_parent: bool = False
    cancel_requested: bool = False
    is_manual: bool = False
    is_liquidation: bool = False
    is_at_exchange: bool = False
    done_ns: int = 0
    done_text: str = ""
    fills: int = 0
    is_locating: bool = False
    are_conditions_met: bool = False
    """Whether a conditional order waits no more."""
    expires_ns: int = 0
    starts_ns: int = 0
    change: TwsOrder | None = None
    """A modify on its way to the exchange."""
    shown: tuple[TwsOrder, Decimal | None, TwsOrder] | None = None
    """The order as TWS shows it, with what it was made from: an order has 150 fields and is shown many times."""
    sent_contract: tuple[TwsContract, TwsContract] | None = None
    """The contract as TWS shows it, with what it was made from."""
    frame: tuple[TwsOrder, str] | None = None
    """The order as it is stored, with what it was made from."""

    @property
    def remaining(self) -> Decimal:
        """Return the quantity not filled."""
        return self.order.total_quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        """Return the mean price of the fills, 0 without one."""
        return self.paid / self.filled if self.filled else ZERO

    @property
    def waits_for_conditions(self) -> bool:
        """Return whether the order may not go to the exchange before its conditions hold."""
        return bool(self.order.conditions) and not (self.are_conditions_met or self.order.conditions_cancel_order)

    @property
    def is_active(self) -> bool:
        """Return whether the order still works or waits at the broker."""
        return self.status in ACTIVE and not self.is_held

    @property
    def is_done(self) -> bool:
        """Return whether nothing can happen to it any more."""
        return self.status in DONE

    @property
    def why_held(self) -> str:
        """Return what TWS says about an order that does not work at the exchange yet."""
        reasons = []
        if self.waits_for_parent:
            reasons.append("child")
        if self.working.waits_for_trigger:
            reasons.append("trigger")
        if self.is_locating:
            reasons.append("locate")
        return ",".join(reasons) if self.is_active else ""


def order_status(order: BrokerOrder, status: str | None = None) -> OrderStatus:
    """Return message 3 for an order as it is now."""
    return OrderStatus(
        order_id=order.order_id,
        status=status or order.status,
        filled=order.filled,
        remaining=order.remaining,
        avg_fill_price=float(round(order.average_price, 8)),
        perm_id=order.perm_id,
        parent_id=order.order.parent_id,
        last_fill_price=float(order.last_price),
        client_id=order.client_id,
        why_held=order.why_held,
    )


def open_order(order: BrokerOrder, *, none_text: bool, with_commission: bool = False) -> OpenOrder:
    """Return message 5; the commission is known to TWS only a moment after the fill."""
    state = (
        OrderState(
            status=order.status,
            commission=order.commission,
            commission_currency=order.instrument.currency,
            warning_text="",
        )
        if with_commission
        else OrderState(status=order.status)
    )
    return OpenOrder(
        order_id=order.order_id,
        client_id=order.client_id,
        perm_id=order.perm_id,
        contract=_as_sent(order),
        order=as_tws_fills_in(order, none_text=none_text),
        state=state,
        shares_allocation=f"{order.perm_id}.0/{order.account}/{order.order.total_quantity}",
    )


def completed_order(order: BrokerOrder, zone: str, *, none_text: bool) -> CompletedOrder:
    """Return message 101; it has neither order id nor client id."""
    filled = as_tws_fills_in(order, none_text=none_text)
    if order.status == "Filled":
        filled = revised(filled, total_quantity=ZERO)  # as in recorded traffic: the amount is in filledQuantity
    return CompletedOrder(
        perm_id=order.perm_id,
        contract=_as_sent(order),
        order=filled,
        state=OrderState(
            status=order.status, completed_time=zoned_text(order.done_ns, zone), completed_status=order.done_text
        ),
        filled_quantity=order.filled,
        shareholder="Not an insider or substantial shareholder",
    )


def _as_sent(order: BrokerOrder) -> TwsContract:
    contract, sent = order.contract, order.sent_contract
    if sent is None or sent[0] is not contract:
        shown = replace(contract, right=contract.right or "?", combo_legs_description="")
        sent = order.sent_contract = (contract, shown)
    return sent[1]


def as_tws_fills_in(order: BrokerOrder, *, none_text: bool) -> TwsOrder:
    """Return the order with what TWS writes where the client wrote nothing."""
    own, stop = order.order, order.working.stop
    if order.shown is not None and order.shown[0] is own and order.shown[1] == stop:
        return order.shown[2]
    filled_in = revised(
        own,
        account=order.account,
        tif=own.tif or "DAY",
        oca_type=own.oca_type or 3,
        open_close=own.open_close or "?",
        clearing_intent=own.clearing_intent or "IB",
        delta_neutral_order_type=own.delta_neutral_order_type or ("None" if none_text else ""),
        adjusted_order_type=own.adjusted_order_type or "None",
        dont_use_auto_price_for_hedge=True,
        use_price_mgmt_algo=bool(own.use_price_mgmt_algo),
        trail_stop_price=stop if own.order_type in ("TRAIL", "TRAIL LIMIT") else own.trail_stop_price,
    )
    order.shown = (own, stop, filled_in)
    return filled_in

"""Be the gateway of a backtest: claims, order states and fills from the gateway's own cores, over the exchange's words.

Commands become claims (`core/ledger`), what the exchange says becomes evidence, and evidence becomes order events and
fills (`core/order_machine`, `core/book`), by the same rules as at TWS: an error code means what `core/tws_codes` says.
A claim is always granted here: one process, one leader, no halt, no broker that is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from copilot_quant.backtest.exchange import CLIENT_ID
from services.gateway.core.book import Change, OrderBook
from services.gateway.core.evidence import BrokerExecution, BrokerOrder, BrokerOrderStatus
from services.gateway.core.ledger import (
    ClaimedOrder,
    OrderIds,
    claim_request,
    claimed,
    claimed_modify,
    modify_request,
    why_not_modify,
)
from services.gateway.core.order_machine import OrderFact, OrderTrack
from services.gateway.core.tws_codes import CodeTable, OrderEffect
from shared.bus.ports import ClaimRequest, ClaimResult, LedgerRow
from shared.messages.orders import CancelRequest, Command, Commission, Fill, IntentAction, OrderEvent, OrderState, Side
from shared.money import ZERO, decimal_of
from shared.tws.responses import CommissionReport, ErrorMessage, ExecDetails, OpenOrder, OrderStatus, Response

SESSION = 1
EPOCH = 1
_LIMIT_TYPES = ("LMT", "STP LMT")
_STOP_TYPES = ("STP", "STP LMT")

Told = OrderEvent | Fill | Commission
"""What the gateway says: entries of `orders` and `fills`."""


class Gateway:
    """The order side of one gateway."""

    def __init__(self, deployment_id: str, account: str) -> None:
        self.book = OrderBook(deployment_id, account)
        self._deployment_id = deployment_id
        self._account = account
        self._ids = OrderIds()
        self._codes = CodeTable()

    # -- commands

    def claim(self, command: Command, now_ns: int) -> tuple[Sequence[OrderEvent], list[ClaimedOrder]]:
        """Return the events of a command's claim, and what is to be sent."""
        if command.intent.action is IntentAction.MODIFY:
            return self._claim_modify(command, now_ns)
        request = claim_request(
            command, entry_id="", deployment_id=self._deployment_id, client_id=CLIENT_ID,
            order_ids=self._ids.take(len(command.intent.legs)), now_ns=now_ns,
        )  # fmt: skip
        if now_ns > command.not_after_ns:
            return request.if_refused[ClaimResult.REFUSED_EXPIRED], []
        for event in request.if_claimed:
            self.book.restore(event)
        return request.if_claimed, claimed(command, _rows(request), deployment_id=self._deployment_id)

    def _claim_modify(self, command: Command, now_ns: int) -> tuple[Sequence[OrderEvent], list[ClaimedOrder]]:
        leg = command.intent.legs[0].leg
        target = next(iter(self.book.of_intent(command.intent.modifies, leg)), None)
        refusal = why_not_modify(command, target, SESSION)
        if not refusal and target is not None and target.order_ref in self.book.modifies:
            refusal = "another change of this order waits for the broker's word"
        request = modify_request(
            command, target, refusal=refusal, entry_id="", deployment_id=self._deployment_id, now_ns=now_ns
        )
        if refusal or target is None:
            return request.if_claimed, []
        self.book.restore(request.if_claimed[0])
        return request.if_claimed, claimed_modify(command, _rows(request), target, self._parent_id(target))

    def _parent_id(self, target: OrderTrack) -> int:
        if target.parent_leg is None:
            return 0
        parents = self.book.of_intent(target.intent_id, target.parent_leg)
        return parents[0].order_id if parents and parents[0].is_open else 0

    def knows(self, intent_id: str) -> bool:
        """Return whether any order of an intent was claimed."""
        return bool(self.book.of_intent(intent_id))

    def to_cancel(self, cancel: CancelRequest) -> list[int]:
        """Return the order ids that a cancel is to be sent for."""
        tracks = self.book.of_intent(cancel.intent_id, cancel.leg)
        return [track.order_id for track in tracks if track.is_open and track.perm_id]

    # -- what the exchange says

    def hear(self, response: Response, now_ns: int) -> Sequence[Told]:
        """Return what a message of the exchange changes."""
        if isinstance(response, OpenOrder):
            return self._told(self.book.shown(_order_of(response), now_ns, session=SESSION))
        if isinstance(response, OrderStatus):
            return self._told(self.book.status(_status_of(response), now_ns))
        if isinstance(response, ExecDetails):
            return self._told(self.book.executed(_execution_of(response, now_ns), now_ns, is_late=False))
        if isinstance(response, CommissionReport):
            return self._commission(response, now_ns)
        if isinstance(response, ErrorMessage):
            return self._error(response, now_ns)
        return ()

    @staticmethod
    def _told(change: Change) -> Sequence[Told]:
        return (*change.fills, *change.events)

    def _commission(self, report: CommissionReport, now_ns: int) -> Sequence[Told]:
        strategy, con_id = self.book.track_of_exec(report.exec_id)
        return (
            Commission(
                ts_init_ns=now_ns, exec_id=report.exec_id, strategy=strategy, account=self._account, con_id=con_id,
                commission=report.commission, currency=report.currency, realized_pnl=report.realized_pnl,
            ),
        )  # fmt: skip

    def _error(self, error: ErrorMessage, now_ns: int) -> Sequence[Told]:
        track = self.book.by_order_id(CLIENT_ID, error.id) if error.id > 0 else None
        if track is None:
            return ()
        effect, code = self._codes.look_up(error.code).order, f"IB_{error.code}"
        refuses = effect in (OrderEffect.DEAD, OrderEffect.ORIGINAL)
        if effect is OrderEffect.CANCELLED:
            return self._told(self.book.told(track, OrderFact.CANCELLED, now_ns, code=code, text=error.text))
        if refuses and track.order_ref in self.book.modifies:
            return self.book.settle_modify(track, OrderState.REJECTED, now_ns, code=code, text=error.text)
        if refuses and not (track.is_confirmed and effect is OrderEffect.ORIGINAL):
            return self._told(self.book.told(track, OrderFact.REFUSED, now_ns, code=code, text=error.text))
        return ()


def _rows(request: ClaimRequest) -> list[LedgerRow]:
    return [
        LedgerRow(number, ClaimResult.CLAIMED, CLIENT_ID, order_id, EPOCH, is_new=True)
        for number, order_id in enumerate(request.order_ids)
    ]


def _plain(value: Decimal) -> Decimal:
    """Return a number without trailing zeros after the point, as the gateway's translation does."""
    return value.quantize(Decimal(1)) if value == value.to_integral_value() else value.normalize()


def _order_of(shown: OpenOrder) -> BrokerOrder:
    order, contract = shown.order, shown.contract
    limit = order.lmt_price if order.order_type in _LIMIT_TYPES else None
    stop = order.aux_price if order.order_type in _STOP_TYPES else None
    return BrokerOrder(
        account=order.account, con_id=contract.con_id, side=Side(order.action), quantity=_plain(order.total_quantity),
        order_type=order.order_type, perm_id=shown.perm_id, order_ref=order.order_ref, contract=contract.symbol,
        limit_price=None if limit is None else _plain(limit), stop_price=None if stop is None else _plain(stop),
        tif=order.tif or "DAY", order_id=shown.order_id, client_id=shown.client_id, parent_id=order.parent_id,
        status=shown.state.status, text=shown.state.warning_text,
    )  # fmt: skip


def _status_of(line: OrderStatus) -> BrokerOrderStatus:
    average = decimal_of(line.avg_fill_price) if line.filled else None
    return BrokerOrderStatus(
        line.order_id, line.client_id, line.perm_id, line.status, _plain(line.filled), _plain(line.remaining),
        None if average is None else _plain(average), line.why_held,
    )  # fmt: skip


def _execution_of(details: ExecDetails, now_ns: int) -> BrokerExecution:
    return BrokerExecution(
        exec_id=details.exec_id, account=details.account, con_id=details.contract.con_id,
        side=Side.BUY if details.side == "BOT" else Side.SELL, shares=_plain(details.shares),
        price=_plain(decimal_of(details.price)), ts_ns=now_ns, perm_id=details.perm_id, client_id=details.client_id,
        order_id=details.order_id or 0, order_ref=details.order_ref, contract=details.contract.symbol,
        exchange=details.exchange, currency=details.contract.currency,
        cumulative_quantity=_plain(details.cum_qty or ZERO), average_price=_plain(decimal_of(details.avg_price)),
        liquidity=details.last_liquidity,
    )  # fmt: skip

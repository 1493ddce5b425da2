"""Listen to the trading session: order messages and executions into the book, what changed into the outbox.

Everything here runs inside the network read, in the order the broker sent it, and only queues. The strategy of an
order comes from its claimed event, which the book keeps and which a successor reads back from `orders`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.gateway import metrics
from services.gateway.core.book import Change, OrderBook
from services.gateway.core.evidence import (
    BrokerCommission,
    BrokerError,
    BrokerExecution,
    BrokerOrder,
    BrokerOrderStatus,
)
from services.gateway.core.order_machine import OrderFact, OrderTrack
from services.gateway.core.tws_codes import CodeKind, CodeTable, OrderEffect
from services.gateway.ports import SessionListener
from services.gateway.shell.outbox import Outbox
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.logs import get_logger
from shared.messages.orders import Commission, OrderState

ORDER_MESSAGES = (3, 5, 11, 59, 101)
"""Message ids whose content could be an order or a fill (P10)."""


class OrderDesk(SessionListener):
    """The trading session's listener.

    Args:
        book: every order that is known.
        outbox: where events and fills go.
        codes: what error codes mean.
        account: the one account of this deployment.
        on_link: told of codes of the link and of the session, and with code 0 of any sign of life.
        on_ask: told that the broker must be asked again, with the reason.
        on_closed: told that the session is over.
    """

    def __init__(
        self, book: OrderBook, outbox: Outbox, codes: CodeTable, account: str, *, clock: Clock = SYSTEM_CLOCK,
        on_link: Callable[[int, str], None], on_ask: Callable[[str], None], on_closed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.book = book
        self.session_number = 0
        self.client_id = 0
        self._outbox = outbox
        self._codes = codes
        self._account = account
        self._clock = clock
        self._on_link = on_link
        self._on_ask = on_ask
        self._on_closed = on_closed
        self._commissions: dict[str, BrokerCommission] = {}
        self.on_shown: Callable[[OrderTrack], None] = lambda _track: None

    # -- the listener

    def order_shown(self, order: BrokerOrder) -> None:
        """Take an openOrder."""
        change = self.book.shown(order, self._clock.wall_ns(), session=self.session_number)
        self.publish(change)
        track = self.book.get(order.order_ref[:32]) if order.order_ref else None
        if track is not None:
            self._acknowledged(track)
            self.on_shown(track)

    def order_status(self, line: BrokerOrderStatus) -> None:
        """Take an orderStatus."""
        self.publish(self.book.status(line, self._clock.wall_ns()))

    def executed(self, execution: BrokerExecution) -> None:
        """Take a live execution."""
        self.take_execution(execution, is_late=False)

    def take_execution(self, execution: BrokerExecution, *, is_late: bool) -> None:
        """Take an execution, live or asked for, and the commission that may have come before it."""
        self.publish(self.book.executed(execution, self._clock.wall_ns(), is_late=is_late))
        self._release_commission(execution.exec_id)

    def _release_commission(self, exec_id: str) -> None:
        report = self._commissions.pop(exec_id, None)
        if report is not None:
            self.commission(report)

    def commission(self, report: BrokerCommission) -> None:
        """Take a commission; it waits for its execution if that is still to come."""
        strategy, con_id = self.book.track_of_exec(report.exec_id)
        if not con_id:
            self._commissions[report.exec_id] = report
            while len(self._commissions) > 10_000:
                del self._commissions[next(iter(self._commissions))]
            return
        if not self.book.is_commission_new(report.exec_id):
            return
        self._outbox.put_fill(
            Commission(
                ts_init_ns=self._clock.wall_ns(), exec_id=report.exec_id, strategy=strategy, account=self._account,
                con_id=con_id, commission=report.commission, currency=report.currency,
                realized_pnl=report.realized_pnl,
            )
        )  # fmt: skip

    def error(self, error: BrokerError) -> None:
        """Take an error: of an order, of the link, or of nothing we asked."""
        info = self._codes.look_up(error.code)
        metrics.BROKER_ERRORS.labels(str(info.kind)).inc()
        if info.kind in (CodeKind.LINK, CodeKind.SESSION, CodeKind.PACING):
            if info.kind is CodeKind.PACING:
                get_logger().error("broker.pacing_violated", code=error.code, text=error.text)
            self._on_link(error.code, error.text)
            return
        track = self.book.by_order_id(self.client_id, error.req_id) if error.req_id > 0 else None
        if track is None:
            get_logger().info("broker.notice", req_id=error.req_id, code=error.code, text=error.text)
            return
        self._order_error(track, error, info.order)

    def _order_error(self, track: OrderTrack, error: BrokerError, effect: OrderEffect) -> None:
        log = get_logger().bind(order_ref=track.order_ref, perm_id=track.perm_id, code=error.code)
        now_ns = self._clock.wall_ns()
        code = f"IB_{error.code}"
        is_modify = track.order_ref in self.book.modifies
        if effect is OrderEffect.ALIVE:
            log.info("order.warned", text=error.text)
        elif effect is OrderEffect.CANCELLED:
            self.publish(self.book.told(track, OrderFact.CANCELLED, now_ns, code=code, text=error.text))
        elif is_modify and effect in (OrderEffect.ORIGINAL, OrderEffect.DEAD):
            log.warning("modify.rejected", text=error.text)
            self._outbox.put_orders(
                self.book.settle_modify(track, OrderState.REJECTED, now_ns, code=code, text=error.text)
            )
            self._on_ask(f"a modify was refused with {error.code}")
        elif track.is_confirmed and effect in (OrderEffect.ORIGINAL, OrderEffect.GONE):
            log.warning("order.request_refused", text=error.text)
            self._on_ask(f"code {error.code} on an order")
        elif effect in (OrderEffect.DEAD, OrderEffect.ORIGINAL):
            log.warning("order.rejected_by_broker", text=error.text)
            self.publish(self.book.told(track, OrderFact.REFUSED, now_ns, code=code, text=error.text))
        else:
            log.warning("order.code_unlisted", text=error.text)
            self._on_ask(f"code {error.code} on an order is not in the table")

    def unreadable(self, message_id: int, fields: Sequence[str], error: str) -> None:
        """Take a message that did not decode: if it could be an order or a fill, the broker is asked (P10)."""
        metrics.UNREADABLE.inc()
        get_logger().error("broker.message_unreadable", message_id=message_id, fields=list(fields)[:40], error=error)
        if message_id in ORDER_MESSAGES:
            self._on_ask(f"a message of kind {message_id} did not decode")

    def read_began(self) -> None:
        """Note a sign of life."""
        self._on_link(0, "")

    def closed(self, reason: str) -> None:
        """Note the end of the session."""
        self._on_closed(reason)

    # -- publishing

    def publish(self, change: Change) -> None:
        """Queue what a change brings; have the broker asked where something is there that should not be."""
        for fill in change.fills:
            self._outbox.put_fill(fill)
            self._release_commission(fill.exec_id)
        self._outbox.put_orders(change.events)
        for event in change.events:
            if event.state is OrderState.UNKNOWN or event.state.is_final:
                get_logger().info(
                    "order.changed", order_ref=event.order_ref, perm_id=event.perm_id, state=str(event.state),
                    filled=str(event.filled), code=event.code, by=event.by,
                )  # fmt: skip
        for track in change.reopened:
            metrics.REOPENED.inc()
            get_logger().error("order.reopened", order_ref=track.order_ref, perm_id=track.perm_id)
        for track in change.duplicates:
            metrics.DUPLICATES.inc()
            get_logger().error("order.duplicated", intent_id=track.intent_id, perm_id=track.perm_id)
        if change.reopened or change.duplicates or any(fill.is_double for fill in change.fills):
            self._on_ask("an order is there that should not be")  # what must be cancelled is cancelled with the answer

    def _acknowledged(self, track: OrderTrack) -> None:
        if track.sent_ns and not track.is_echoed:
            metrics.ACK_SECONDS.observe((self._clock.monotonic_ns() - track.sent_ns) / NS_PER_S)
            track.is_echoed = True

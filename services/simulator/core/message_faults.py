"""Commands that touch messages: lost, late, twice, in another order, or alarming without a reason.

Source: ib-facts A.6, A.8, D.1 (M4a), D.4.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from services.simulator.core.executions import Executions
from services.simulator.core.faults import END_MARKERS, KINDS, MessageRule
from services.simulator.core.floor import Floor
from services.simulator.core.market import NS_PER_MS
from services.simulator.core.order_desk import OrderDesk
from shared.money import decimal_of
from shared.tws.responses import ErrorMessage


class MessageFaults:
    """What can go wrong with single messages."""

    def __init__(self, floor: Floor, executions: Executions, orders: OrderDesk) -> None:
        self._floor = floor
        self._executions = executions
        self._orders = orders

    def acts(self) -> list[Callable[..., None]]:
        """Return the commands."""
        return [
            self.missing_end, self.drop_message, self.late_message, self.duplicate_message, self.late_commission,
            self.commission_first, self.false_alarms, self.notice, self.correction,
        ]  # fmt: skip

    def missing_end(self, *, name: str = "execDetailsEnd", count: int = 1) -> None:
        """Swallow the next end markers of a kind."""
        if name not in END_MARKERS:
            raise ValueError(f"the end markers are {', '.join(END_MARKERS)}")
        self._rule(name, "drop", count)

    def drop_message(self, *, name: str, count: int = 1, client_id: int | None = None) -> None:
        """Swallow the next messages of a kind, such as historicalData, which ends itself."""
        self._rule(name, "drop", count, client_id=client_id)

    def late_message(
        self, *, name: str = "orderStatus", count: int = 1, delay_ms: float = 1000.0, client_id: int | None = None
    ) -> None:
        """Send the next messages of a kind late, after others that follow them."""
        self._rule(name, "late", count, delay_ms, client_id)

    def duplicate_message(
        self, *, name: str = "orderStatus", count: int = 1, delay_ms: float = 0.0, client_id: int | None = None
    ) -> None:
        """Send the next messages of a kind twice, the second time at once or later."""
        self._rule(name, "twice", count, delay_ms, client_id)

    def _rule(self, name: str, act: str, count: int, delay_ms: float = 0.0, client_id: int | None = None) -> None:
        if name not in KINDS:
            raise ValueError(f"there is no message {name!r}: choose from {', '.join(KINDS)}")
        if not (1 <= count <= 1_000_000 and 0 <= delay_ms <= 86_400_000):
            raise ValueError("count must be 1 to 1000000 and delay_ms 0 to 86400000")
        self._floor.faults.rules.append(MessageRule(name, act, count, int(delay_ms * NS_PER_MS), client_id))

    def late_commission(self, *, delay_ms: float = 1000.0) -> None:
        """Send commission reports late; 0 ends it."""
        if not 0 <= delay_ms <= 86_400_000:
            raise ValueError("delay_ms must be 0 to 86400000")
        self._floor.faults.commission_delay_ns = int(delay_ms * NS_PER_MS)

    def commission_first(self, *, count: int = 1) -> None:
        """Send the next commission reports before the executions that they belong to."""
        self._floor.faults.commissions_first = max(0, count)

    def false_alarms(self, *, codes: list[int] | None = None, count: int = 1) -> None:
        """Send harmless codes on the ids of the next new orders (10349, 399 and 2109 unless others are named)."""
        wanted = codes if codes is not None else [10349, 399, 2109]
        if not all(isinstance(each, int) for each in wanted):
            raise ValueError("codes must be whole numbers")
        self._floor.faults.alarms, self._floor.faults.alarms_left = tuple(wanted), max(0, count)

    def notice(self, *, code: int, text: str = "", client_id: int | None = None, request_id: int = -1) -> None:
        """Send any error or notice, such as the false alarms 10349, 399 and 2109 on an order's id."""
        for session in self._floor.sessions.started():
            if client_id is None or session.client_id == client_id:
                self._floor.send(session.session, ErrorMessage(request_id, code, text or f"notice {code}"))

    def correction(self, *, exec_id: str = "", price: str = "", shares: str = "") -> None:
        """Correct an execution (the last one without an id): the same execId with a higher last number is sent."""
        found = [each for each in self._executions.current() if not exec_id or each.exec_id == exec_id]
        if not found:
            raise ValueError(f"there is no execution {exec_id!r} that was not corrected already")
        old = found[-1]
        new_price, new_shares = (amount(price) if price else old.price), (amount(shares) if shares else old.shares)
        if new_price <= 0 or new_shares < 0:
            raise ValueError("the price must be positive and the shares not negative")
        new = self._orders.fills.correct(old, new_price, new_shares)
        order = self._orders.book.by_perm.get(old.perm_id)
        if order is not None:
            order.filled += new.shares - old.shares
            order.paid += new.shares * new.price - old.shares * old.price
            self._orders.book.dirty[order.perm_id] = order


def amount(value: object) -> Decimal:
    """Return a number given as text or number.

    Raises:
        ValueError: it is none.
    """
    try:
        return decimal_of(str(value))
    except ValueError as e:
        raise ValueError(f"{value!r} is not a number") from e

"""Sessions of ours under another client id than the one in use, one at a time: two would refuse each other the id.

They are opened with the leader's claim, so that a guard lets them in (and cuts whatever of an older epoch still holds
the id). What is asked or sent there is their users': `adoption.py` cancels, `visits.py` asks.

A guard that holds judges what reduces by what the sessions of trading ids have listed, and begins anew with each that
is let in. So no order is claimed there until the new one has listed everything, too (`order_pause`): it waits, and is
not refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.gateway.core.evidence import (
    BrokerCommission,
    BrokerError,
    BrokerExecution,
    BrokerOrder,
    BrokerOrderStatus,
)
from services.gateway.ports import SessionListener
from services.gateway.settings import GatewaySettings
from services.gateway.shell.executions import OrderDesk
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.sending import Sending
from services.gateway.shell.trading import Trading
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import BrokerUnavailable
from shared.logs import get_logger

LISTED_AGAIN_S = 10.0
"""How long orders wait at most, after a session that failed, until the trading session has listed everything again."""


@dataclass
class Pause:
    """Whether a guard knows, at the end of a pause, as much as before: all was listed, or nobody was let in."""

    is_known: bool = False


class ApartDesk(SessionListener):
    """What a session apart hears goes the way of the trading session, but marks nothing as shown by that one."""

    def __init__(self, desk: OrderDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    def order_shown(self, order: BrokerOrder) -> None:
        """Take an openOrder."""
        self._desk.publish(self._desk.book.shown(order, self._clock.wall_ns(), session=0))

    def order_status(self, line: BrokerOrderStatus) -> None:
        """Take an orderStatus."""
        self._desk.order_status(line)

    def executed(self, execution: BrokerExecution) -> None:
        """Take a live execution."""
        self._desk.executed(execution)

    def commission(self, report: BrokerCommission) -> None:
        """Take a commission."""
        self._desk.commission(report)

    def unreadable(self, message_id: int, fields: Sequence[str], error: str) -> None:
        """Have the broker asked where it could have been an order or a fill."""
        self._desk.unreadable(message_id, fields, error)

    def error(self, error: BrokerError) -> None:
        """Note what the broker says; what became of an order comes as its status."""
        get_logger().info("broker.notice", req_id=error.req_id, code=error.code, text=error.text)


class Apart:
    """Opens such sessions.

    Args:
        trading: whose claim they carry, and whose desk takes what is heard.
        check_accounts: returns what is wrong with the accounts of a login.
        sending: the turn to claim orders.
        is_holding: whether a guard lets only pass what reduces, in the account or in a contract.
    """

    def __init__(
        self, settings: GatewaySettings, trading: Trading, *, check_accounts: Callable[[tuple[str, ...]], str],
        sending: Sending, is_holding: Callable[[], bool], clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._trading = trading
        self._check_accounts = check_accounts
        self._sending = sending
        self._is_holding = is_holding
        self._clock = clock
        self.turn = asyncio.Lock()
        """Held by who has one open, or is about to."""

    @asynccontextmanager
    async def session(self, client_id: int) -> AsyncIterator[IbSession]:
        """Open a session, and close it at the end.

        Raises:
            TransientError: it could not be opened: the id is in use, say.
        """
        settings, trading = self._settings, self._trading
        listener = ApartDesk(trading.desk, self._clock)
        session = IbSession(client_id, listener, options=trading.claim(), time_zone=settings.tws_time_zone)
        try:
            await session.open(*settings.endpoint, limit_s=settings.connect_limit_s)
            yield session
        finally:
            await session.close()

    def check(self, session: IbSession) -> None:
        """Look whose login it is.

        Raises:
            BrokerUnavailable: another account's.
        """
        complaint = self._check_accounts(session.accounts)
        if complaint:
            raise BrokerUnavailable(complaint)

    @asynccontextmanager
    async def order_pause(self) -> AsyncIterator[Pause]:
        """Hold orders back behind a guard that holds, until it knows again what reduces."""
        pause = Pause()
        if not (self._settings.guard and self._is_holding()):
            yield pause
            return
        async with self._sending.held_back():
            rounds = self._trading.rounds
            yield pause
            until_ns = self._clock.monotonic_ns() + int(LISTED_AGAIN_S * NS_PER_S)
            while not pause.is_known and self._trading.rounds == rounds and self._clock.monotonic_ns() < until_ns:
                await self._clock.sleep(0.05)

"""Settle doubts about orders of an earlier trading id, by a session of that id which asks and sends nothing.

Where a trading id stayed refused (326) and the next of the pool was taken, an order that was claimed under the first
and never shown is UNKNOWN: until the broker has accepted that id again nobody knows that its old connection was read
to the end (architecture §4). The trading link's next session may be a day away, and all day the order would count as
working.

Invariants:
1. Only orders of the id that was asked are judged, by the same four conditions as everywhere (`core/reconcile.py`).
2. Nothing is asked while the trading link is not READY: an id that it may need next is not taken from it.
3. A refused id is asked for less and less often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.gateway.core.book import OrderBook
from services.gateway.core.reconcile import reconcile
from services.gateway.settings import GatewaySettings
from services.gateway.shell.adoption import AdoptedDesk
from services.gateway.shell.asking import ask_day
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.trading import Trading
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import BrokerUnavailable, TransientError
from shared.logs import get_logger
from shared.messages.orders import OrderState

PAUSES_S = (5.0, 10.0, 20.0, 60.0)
"""Between two rounds while something stays in doubt."""


class Doubts:
    """The leader's questions about orders of trading ids that it does not use now.

    Args:
        trading: whose id is left to it, and whose desk takes what is heard.
        turn: held while a session of another id is open, here or by `adoption.py`.
        check_accounts: returns what is wrong with the accounts of a login.
    """

    def __init__(
        self, settings: GatewaySettings, trading: Trading, book: OrderBook, turn: asyncio.Lock, *,
        has_lease: Callable[[], bool], check_accounts: Callable[[tuple[str, ...]], str], clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._trading = trading
        self._book = book
        self._turn = turn
        self._has_lease = has_lease
        self._check_accounts = check_accounts
        self._clock = clock

    async def run(self) -> None:
        """Ask while something is in doubt, until cancelled."""
        fruitless = 0
        while True:
            await self._clock.sleep(PAUSES_S[min(fruitless, len(PAUSES_S) - 1)])
            doubted = self.doubted_ids()
            fruitless = fruitless + 1 if doubted else 0
            for client_id in doubted:
                async with self._turn:
                    if self._trading.can_send and client_id != self._trading.client_id:
                        await self._ask(client_id)

    def doubted_ids(self) -> list[int]:
        """Return the trading ids, besides the one in use, under which an order is in doubt for a quarantine by now."""
        before_ns = self._clock.monotonic_ns() - int(self._settings.quarantine_s * NS_PER_S)
        pool = set(self._settings.trading_client_ids) - {self._trading.client_id}
        return sorted(
            {
                track.client_id
                for track in self._book.open_tracks()
                if track.client_id in pool
                and track.state is OrderState.UNKNOWN
                and not track.is_external
                and 0 < track.doubted_ns <= before_ns
            }
        )

    async def _ask(self, client_id: int) -> None:
        settings, trading = self._settings, self._trading
        listener = AdoptedDesk(trading.desk, self._clock)
        session = IbSession(client_id, listener, options=trading.claim(), time_zone=settings.tws_time_zone)
        try:
            await session.open(*settings.endpoint, limit_s=settings.connect_limit_s)
            complaint = self._check_accounts(session.accounts)
            if complaint:
                raise BrokerUnavailable(complaint)
            evidence = await ask_day(
                session, settings, trading.link, undisturbed_since_ns=trading.undisturbed_since_ns, clock=self._clock
            )
        except TransientError as e:
            get_logger().warning("doubts.not_asked", client_id=client_id, error=str(e))
            return
        finally:
            await session.close()
        if not self._has_lease():
            return
        findings = reconcile(
            self._book, evidence, now_ns=self._clock.wall_ns(), monotonic_ns=self._clock.monotonic_ns(),
            quarantine_ns=int(settings.quarantine_s * NS_PER_S), session=0, is_apart=True,
        )  # fmt: skip
        trading.desk.publish(findings.change)
        get_logger().info("doubts.asked", client_id=client_id, in_doubt=len(findings.in_doubt))

"""Ask about our orders under another trading id than the one in use, by a session of that id, every few seconds.

Where the first trading id stayed refused (326) and the next of the pool was taken, orders of ours live under both. IB
tells a session what became of the orders of its own client id only (ib-facts A.3), so that without this an order under
the first id would stay `unknown` for ever, and its executions would be missing in `fills`. A visit opens a session of
that id (`apart.py`) as soon as the id is free again, asks for the day as the trading session does, and is closed again.
It sends nothing else: what works there is changed by nobody meanwhile, and cancelled by a halt (`adoption`).

Invariants:
1. No visit without the lease and a READY trading session, nor during a halt: a guard judges what reduces by what the
   sessions of trading ids have listed, and begins anew with each of them.
2. A visit that fails is no evidence, and has the trading session list everything again.
"""

from __future__ import annotations

from collections.abc import Callable

from services.gateway.core.book import OrderBook
from services.gateway.settings import GatewaySettings
from services.gateway.shell.apart import Apart
from services.gateway.shell.trading import Trading
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import TransientError
from shared.logs import get_logger

EVERY_S = 5.0


class Visits:
    """The leader's sessions under the other ids of the pool, one at a time, as long as orders of ours are there."""

    def __init__(
        self, settings: GatewaySettings, trading: Trading, book: OrderBook, apart: Apart, *,
        is_halted: Callable[[], bool], clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._trading = trading
        self._book = book
        self._apart = apart
        self._is_halted = is_halted
        self._clock = clock
        self._complaints: dict[int, str] = {}

    async def run(self) -> None:
        """Visit until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            for client_id in self._elsewhere():
                async with self._apart.turn:
                    if self._trading.can_send and not self._is_halted():
                        await self._visit(client_id)

    def _elsewhere(self) -> list[int]:
        """Return the ids of the pool under which orders of ours may work, but for the one in use."""
        ours = {track.client_id for track in self._book.open_tracks() if not track.is_external}
        in_use = self._trading.client_id
        return [each for each in self._settings.trading_client_ids if each in ours and each != in_use]

    async def _visit(self, client_id: int) -> None:
        trading = self._trading
        is_open = False
        try:
            async with self._apart.session(client_id) as session:
                is_open = True
                self._apart.check(session)
                in_doubt = await trading.take_day_of(session)
        except TransientError as e:
            if self._complaints.get(client_id) != str(e):  # an id that is stuck is so for minutes
                get_logger().warning("visit.failed", client_id=client_id, error=str(e))
            self._complaints[client_id] = str(e)
            if is_open:
                trading.ask("a visit under another client id failed")
        else:
            self._complaints.pop(client_id, None)
            get_logger().info("visit.finished", client_id=client_id, in_doubt=in_doubt)

"""Ask about our orders under another trading id than the one in use, by a session of that id, every few seconds.

Where the first trading id stayed refused (326) and the next of the pool was taken, orders of ours live under both. IB
tells a session what became of the orders of its own client id only (ib-facts A.3), so that without this an order under
the first id would stay `unknown` for ever, and its executions would be missing in `fills`. A visit opens a session of
that id (`apart.py`) as soon as the id is free again, asks for the day as the trading session does, and is closed again.
It sends nothing else: what works there is changed by nobody meanwhile, and cancelled as `adoption` is asked to.

Invariants:
1. No visit without the lease and a READY trading session.
2. A visit that fails is no evidence, and has the trading session list everything again if it was let in.
3. Every other id of the pool is visited once in a leadership, and once more after orders of ours were under it: that
   all of them have ended may be known from elsewhere, and their last executions from there alone.
"""

from __future__ import annotations

from services.gateway.core.book import OrderBook
from services.gateway.ports import ClientIdInUse
from services.gateway.settings import GatewaySettings
from services.gateway.shell.apart import Apart
from services.gateway.shell.trading import Trading
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import TransientError
from shared.logs import get_logger

EVERY_S = 5.0
AGAIN_S = 15.0
"""After a refusal of an id under which nothing of ours works."""


class Visits:
    """The leader's sessions under the other ids of the pool, one at a time, while something is to be learnt there."""

    def __init__(
        self, settings: GatewaySettings, trading: Trading, book: OrderBook, apart: Apart, *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._trading = trading
        self._book = book
        self._apart = apart
        self._clock = clock
        self._complaints: dict[int, str] = {}
        self._owed = dict.fromkeys(settings.trading_client_ids)
        self._not_before_ns: dict[int, int] = {}

    async def run(self) -> None:
        """Visit until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            for client_id in self._elsewhere():
                async with self._apart.turn:
                    if self._trading.can_send and client_id != self._trading.client_id:
                        async with self._apart.order_pause() as pause:
                            pause.is_known = await self._visit(client_id)

    def _elsewhere(self) -> list[int]:
        """Return the ids of the pool that are to be visited now."""
        ours, in_use = self._ours(), self._trading.client_id
        self._owed.update(dict.fromkeys([*ours, in_use]))  # the one in use is owed a visit once it is that no more
        now_ns = self._clock.monotonic_ns()
        return [
            each
            for each in self._settings.trading_client_ids
            if each != in_use and each in self._owed and (each in ours or now_ns >= self._not_before_ns.get(each, 0))
        ]

    def _ours(self) -> set[int]:
        return {track.client_id for track in self._book.open_tracks() if not track.is_external}

    async def _visit(self, client_id: int) -> bool:
        """Visit one id; return whether a guard knows as much as before: all was listed, or nobody was let in."""
        trading = self._trading
        is_settled = client_id not in self._ours()
        is_let_in = False
        try:
            async with self._apart.session(client_id) as session:
                is_let_in = True
                self._apart.check(session)
                in_doubt = await trading.take_day_of(session)
        except TransientError as e:
            if self._complaints.get(client_id) != str(e):  # an id that is stuck is so for minutes
                get_logger().warning("visit.failed", client_id=client_id, error=str(e))
            self._complaints[client_id] = str(e)
            self._not_before_ns[client_id] = self._clock.monotonic_ns() + int(AGAIN_S * NS_PER_S)
            if not is_let_in and isinstance(e, ClientIdInUse):
                return True
            trading.ask("a visit under another client id failed")
            return False
        self._complaints.pop(client_id, None)
        if is_settled:
            self._owed.pop(client_id, None)
        get_logger().info("visit.finished", client_id=client_id, in_doubt=in_doubt)
        return True

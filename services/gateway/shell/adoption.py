"""Cancel orders of ours that live under another client id than the one in use, by a session of that id.

IB lets only the client id that placed an order cancel it by itself (ib-facts A.3). Orders of ours come under another id
where a trading id stayed refused and the next of the pool was taken, or where the pool was changed. The session
(`apart.py`) sends cancels and nothing else, one by one, and is closed again. Who asks is a halt, or a cancel that
somebody gave: the former asks again and again, the latter is looked up here until its order has ended.

Invariants:
1. Cancelled is what was asked for, is ours, and what this session was shown as its own.
2. Nothing is sent without the lease, nor once the halt of the account, strategy or contract that asked is over, unless
   a cancel asks, too.
3. An id that is refused (326: in use, or not of the guard's pool) is said and tried again while it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from services.gateway.core.evidence import BrokerOrder
from services.gateway.core.order_machine import OrderTrack
from services.gateway.ports import ClientIdInUse
from services.gateway.settings import GatewaySettings
from services.gateway.shell.apart import Apart
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.trading import Trading
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import TransientError
from shared.logs import get_logger

APART_S = 1 / 45
"""Between two cancels: the session has a budget of its own, of which a margin is kept (`core/pacing.py`)."""
SETTLE_S = 2.0
"""How long the broker may take to say that the last ones are cancelled."""
PAUSE_S = 5.0
"""After a refusal: an id that is in use is not asked for in a tight loop."""


class Adoption:
    """The leader's cancels under other client ids.

    Args:
        trading: whose id is left to it.
        is_wanted_gone: whether a halt, or a cancel, that asks for an order's end still stands.
        cancels: the orders that cancels ask to be gone, and that are under another id.
    """

    def __init__(
        self, settings: GatewaySettings, trading: Trading, apart: Apart, *, has_lease: Callable[[], bool],
        is_wanted_gone: Callable[[OrderTrack], bool], cancels: Callable[[], list[OrderTrack]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._trading = trading
        self._apart = apart
        self._has_lease = has_lease
        self._is_wanted_gone = is_wanted_gone
        self._cancels = cancels
        self._clock = clock
        self._asked: dict[int, dict[str, OrderTrack]] = {}
        self._not_before_ns: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._complaints: dict[int, str] = {}

    def want(self, tracks: Sequence[OrderTrack]) -> None:
        """Ask for orders to be cancelled, beside those that were asked for before and have not been begun."""
        for track in tracks:
            self._asked.setdefault(track.client_id, {})[track.key] = track
        self._wake.set()

    async def run(self) -> None:
        """Cancel what is asked for until cancelled."""
        while True:
            try:
                async with asyncio.timeout(PAUSE_S):
                    await self._wake.wait()
            except TimeoutError:
                self.want(self._cancels())
            self._wake.clear()
            asked, self._asked = self._asked, {}
            for client_id, tracks in asked.items():
                async with self._apart.turn:
                    wanted = {key: track for key, track in tracks.items() if self._may_cancel(track)}
                    if wanted and self._clock.monotonic_ns() >= self._not_before_ns.get(client_id, 0):
                        await self._adopt(client_id, wanted)

    def _may_cancel(self, track: OrderTrack) -> bool:
        return track.is_open and self._has_lease() and self._is_wanted_gone(track)

    async def _adopt(self, client_id: int, tracks: dict[str, OrderTrack]) -> None:
        async with AsyncExitStack() as waits:
            pause = await waits.enter_async_context(self._apart.order_pause())
            try:
                async with self._apart.session(client_id) as session:
                    shown = await self._listed(session)
                    pause.is_known = True
                    await waits.aclose()  # the guard knows: others may send
                    sent = await self._cancel(session, shown, tracks)
                    get_logger().warning("orders.adopted", client_id=client_id, orders=len(shown), cancelled=sent)
            except TransientError as e:
                self._not_before_ns[client_id] = self._clock.monotonic_ns() + int(PAUSE_S * NS_PER_S)
                if self._complaints.get(client_id) != str(e):  # an id that is stuck is so for minutes
                    get_logger().error("adoption.failed", client_id=client_id, orders=len(tracks), error=str(e))
                self._complaints[client_id] = str(e)
                pause.is_known = pause.is_known or isinstance(e, ClientIdInUse)
            else:
                self._complaints.pop(client_id, None)
            if self._settings.guard and not pause.is_known:  # it began anew to learn what reduces, and has not ended
                self._trading.ask("a session of another client id has failed")

    async def _listed(self, session: IbSession) -> list[BrokerOrder]:
        """Return what is open under the session's id; a guard learns the positions along with it."""
        limit_s = self._settings.answer_limit_s
        self._apart.check(session)
        if self._settings.guard:
            await session.positions(limit_s=4 * limit_s)
        return await session.open_orders(limit_s=limit_s)

    async def _cancel(self, session: IbSession, shown: list[BrokerOrder], tracks: dict[str, OrderTrack]) -> int:
        sent = 0
        listener = session.listener
        for order in shown:
            listener.order_shown(order)
            track = tracks.get(order.order_ref[:32])
            if not session.is_open:
                return sent
            if track is None or not self._may_cancel(track) or order.client_id != session.client_id:
                continue
            session.cancel(order.order_id)
            track.cancel_sent_ns = self._clock.monotonic_ns()
            get_logger().info("cancel.sent", order_ref=track.order_ref, order_id=order.order_id, reason="apart")
            sent += 1
            await self._clock.sleep(APART_S)
        deadline_ns = self._clock.monotonic_ns() + int(SETTLE_S * NS_PER_S)
        while session.is_open and self._clock.monotonic_ns() < deadline_ns:
            if not any(track.is_open for track in tracks.values()):
                break
            await self._clock.sleep(0.02)
        return sent

"""Ask the broker what an order would cost, on the trading session, in the last lane of its budget."""

from __future__ import annotations

from dataclasses import asdict

from services.gateway.core.pacing import Lane
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.trading import Trading
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import BrokerUnavailable
from shared.messages.requests import WhatIfAnswer, WhatIfQuery


class WhatIf:
    """The leader's way to a what-if.

    It goes where orders go, since the guard lets no other session send an order message of any kind; like them it is
    never sent while the link is not READY (architecture §4).
    """

    def __init__(self, trading: Trading, contracts: Contracts, account: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._trading = trading
        self._contracts = contracts
        self._account = account
        self._clock = clock

    async def answer(self, query: WhatIfQuery, *, limit_s: float) -> WhatIfAnswer:
        """Return the broker's reckoning.

        Raises:
            BrokerUnavailable: there is no READY session; `QueryFailed` is one whose order the broker would refuse.
            PacingRefused: the lane's queue is full.
            UnknownContract: the broker knows no such contract.
        """
        contract = await self._contracts.get(query.con_id)
        trading = self._trading
        await trading.slot(Lane.HISTORY)
        session = trading.session
        if session is None or not trading.can_send:
            raise BrokerUnavailable(f"the link is {trading.state}: ask later")
        (order_id,) = trading.ids.take(1)
        found = await session.what_if(order_id, query.order, contract, self._account, limit_s=limit_s)
        return WhatIfAnswer(
            ts_init_ns=self._clock.wall_ns(), query_id=query.query_id, con_id=query.con_id, **asdict(found)
        )

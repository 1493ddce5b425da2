"""A what-if is sent only where orders may be, and answers with the broker's numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.gateway.core.evidence import BrokerWhatIf
from services.gateway.core.ledger import OrderIds
from services.gateway.shell.what_if import WhatIf
from shared.errors import BrokerUnavailable
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderLeg, OrderType, Side
from shared.messages.requests import WhatIfQuery

LEG = OrderLeg(side=Side.BUY, quantity=Decimal(5), order_type=OrderType.MARKET)
QUERY = WhatIfQuery(query_id="q", client="me", deadline_ns=1, con_id=9, order=LEG)


class Trading:
    """A trading session that may or may not send."""

    def __init__(self, *, can_send: bool) -> None:
        self.can_send = can_send
        self.state = "DEGRADED"
        self.ids = OrderIds()
        self.ids.next_valid(40)
        self.session = self
        self.asked: list[tuple[Any, ...]] = []

    async def slot(self, lane: object) -> None:
        self.asked.append((lane,))

    async def what_if(self, *values: Any, limit_s: float) -> BrokerWhatIf:
        self.asked.append(values)
        return BrokerWhatIf("PreSubmitted", init_margin_after=Decimal(7), commission=Decimal("1.05"), warning="hm")


class Contracts:
    async def get(self, con_id: int) -> ContractInfo:
        return ContractInfo(con_id=con_id, name="A", symbol="A", sec_type="STK", exchange="SMART", currency="USD")


async def test_the_answer_carries_the_brokers_numbers_and_uses_up_an_id() -> None:
    trading = Trading(can_send=True)
    answer = await WhatIf(trading, Contracts(), "DU1").answer(QUERY, limit_s=1.0)  # type: ignore[arg-type]
    assert (answer.query_id, answer.con_id, answer.init_margin_after, answer.commission, answer.warning) == (
        "q", 9, Decimal(7), Decimal("1.05"), "hm",
    )  # fmt: skip
    assert trading.asked[1][0] == 40 and trading.asked[1][1] == LEG and trading.ids.highest == 40


async def test_nothing_is_sent_while_the_link_is_not_ready() -> None:
    trading = Trading(can_send=False)
    with pytest.raises(BrokerUnavailable, match="DEGRADED"):
        await WhatIf(trading, Contracts(), "DU1").answer(QUERY, limit_s=1.0)  # type: ignore[arg-type]
    assert len(trading.asked) == 1

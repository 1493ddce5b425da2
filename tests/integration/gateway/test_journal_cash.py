"""Cash that moves without an order: journaled by the real gateway, done by the real simulator."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.messages.account import JournalKind
from shared.messages.orders import OrderState, Side
from tests.integration.gateway.journal_desk import AAPL, entry, holding, journal, unexplained

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("command", "parameters", "kind", "amount"),
    [
        pytest.param("deposit", {"amount": "2500"}, JournalKind.CREDIT, "2500", marks=pytest.mark.long),
        pytest.param("interest", {"amount": "12.34"}, JournalKind.CREDIT, "12.34", marks=pytest.mark.long),
        pytest.param("fee", {"amount": "4.5"}, JournalKind.DEBIT, "-4.5", marks=pytest.mark.long),
        ("dividend", {"symbol": "AAPL", "amount": "0.25", "pay_after_s": 20}, JournalKind.DIVIDEND, "2.5"),
    ],
)
async def test_cash_that_moves_is_journaled_and_locks_nothing(
    command: str, parameters: dict[str, Any], kind: JournalKind, amount: str, start_gateway: Any, desk: Any, legs: Any
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await asyncio.sleep(5)  # the journal begins with the cash of before the first trade
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    await asyncio.sleep(20)
    assert not await journal(desk), "a trade is no entry"
    desk.broker.fault(command, **parameters)
    found = await entry(desk, kind)
    assert (found.amount, found.currency, found.con_id) == (Decimal(amount), "USD", 0)
    await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.FILLED)
    assert len(await journal(desk)) == 1 and not await unexplained(desk)


async def test_ibs_statement_says_what_a_debit_was_once(start_gateway: Any, desk: Any, cq: Any, tmp_path: Path) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await asyncio.sleep(5)
    desk.broker.fault("fee", amount="4.5")
    moved = await entry(desk, JournalKind.DEBIT)
    report, day = tmp_path / "cash.xml", f"{datetime.now(ZoneInfo('America/New_York')):%Y%m%d}"

    def write(account: str) -> None:
        report.write_text(
            f'<FlexQueryResponse><CashTransaction accountId="{account}" currency="USD" type="Other Fees" amount="-4.5" '
            f'dateTime="{day}" transactionID="7" levelOfDetail="DETAIL" description="MARKET DATA"/></FlexQueryResponse>'
        )

    write("U7654321")
    assert "the report is of account U7654321" in await cq("import", "flex", str(report), status=65)
    write("DUSIM0001")
    for published, known in ((1, 0), (0, 1)):
        (line,) = json.loads(await cq("import", "flex", str(report), "--json"))
        assert (line["contract"], line["published"], line["known"]) == ("cash USD", published, known)
    entries = [(each.kind, each.amount, each.statement_id) for each in await journal(desk)]
    assert entries == [
        (JournalKind.DEBIT, moved.amount, ""), (JournalKind.DEBIT, -moved.amount, ""),
        (JournalKind.FEE, Decimal("-4.5"), "7"),
    ]  # fmt: skip

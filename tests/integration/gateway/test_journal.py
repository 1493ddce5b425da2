"""What happens to an account without an order, done by the real simulator and recognised by the real gateway."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.simulator.core.universe import default_universe
from shared.messages.account import JournalEntry, JournalKind, PositionReport, Unexplained
from shared.messages.codec import decode_body
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(180)]

AAPL = 265598
FOUND_S = 60.0
"""P11: a difference is found within a minute."""


async def journal(desk: Any) -> list[JournalEntry]:
    return [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, JournalEntry)]


async def entry(desk: Any, kind: JournalKind, count: int = 1) -> JournalEntry:
    async def is_there() -> bool:
        return sum(each.kind is kind for each in await journal(desk)) >= count

    try:
        await eventually(is_there, FOUND_S)
    except AssertionError:
        seen = [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained)]
        raise AssertionError(f"no {kind} in {await journal(desk)}; unexplained: {seen}") from None
    return [each for each in await journal(desk) if each.kind is kind][-1]


async def held(desk: Any, con_id: int = AAPL) -> dict[str, int]:
    stored = await desk.bus.hash_get_all(desk.bus.keys.positions)
    found = decode_body("position", stored[str(con_id)]) if str(con_id) in stored else None
    return {each.strategy: int(each.quantity) for each in found.shares} if isinstance(found, PositionReport) else {}


async def holding(desk: Any, con_id: int, **shares: int) -> None:
    async def is_so() -> bool:
        return await held(desk, con_id) == shares

    try:
        await eventually(is_so, FOUND_S)
    except AssertionError:
        raise AssertionError(f"{con_id}: {await held(desk, con_id)} is not {shares}") from None


async def unexplained(desk: Any) -> list[Unexplained]:
    return [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained)]


def listed(right: str) -> tuple[int, str]:
    """Return conId and local symbol of the AAPL option of the lowest strike, as the exchange lists it."""
    options = [
        each
        for each in default_universe(datetime.now(ZoneInfo("America/New_York")).date())
        if each.sec_type == "OPT" and each.symbol == "AAPL" and each.right == right
    ]
    lowest = min(options, key=lambda each: (each.expiry, each.strike))
    return lowest.con_id, lowest.local_symbol


async def test_a_split_moves_shares_of_strategies_and_cancels_what_works_at_old_prices(
    start_gateway: Any, desk: Any, legs: Any, cq: Any
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    working = await desk.place(legs[0](Side.BUY, 5, "1.00"))
    await desk.until(working, OrderState.WORKING)
    await asyncio.sleep(2.5)  # the books have agreed at the cost of before
    desk.broker.fault("split", symbol="AAPL", new=3, old=1, keep_orders=True)
    found = await entry(desk, JournalKind.SPLIT)
    assert (found.con_id, found.quantity) == (AAPL, 20) and "3:1" in found.text
    assert found.orders == ((await desk.events(working))[-1].order_ref,)
    await desk.until(working, OrderState.CANCELLED)
    await holding(desk, AAPL, demo=30)
    assert not await unexplained(desk)
    rows = json.loads(await cq("account", "--journal", "--json"))
    assert [(row["kind"], row["contract"], row["quantity"]) for row in rows] == [("split", "AAPL@NASDAQ", "20")]


async def test_a_symbol_that_changes_is_noted_and_its_new_name_found(start_gateway: Any, desk: Any, legs: Any) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    await asyncio.sleep(2.5)
    desk.broker.fault("symbol_change", symbol="AAPL", to="PEAR")
    found = await entry(desk, JournalKind.SYMBOL_CHANGE)
    assert found.con_id == AAPL and found.text == "AAPL is called PEAR now"

    async def is_renamed() -> bool:
        names = await desk.bus.hash_get_all(desk.bus.keys.contract_names)
        return names.get("PEAR@NASDAQ") == str(AAPL).encode() and "AAPL@NASDAQ" not in names

    await eventually(is_renamed)
    assert await held(desk) == {"demo": 10} and not await unexplained(desk)


@pytest.mark.parametrize(
    ("command", "action", "kind"),
    [("exercise", "BUY", JournalKind.EXERCISE), ("assign", "SELL", JournalKind.ASSIGNMENT)],
)
async def test_an_option_that_ends_in_shares(
    command: str, action: str, kind: JournalKind, start_gateway: Any, desk: Any
) -> None:
    con_id, symbol = listed("C")
    desk.broker.fault("manual_order", symbol=symbol, action=action, quantity=2, order_type="MKT")
    start_gateway("a", 1)
    await desk.ready_leader()
    sign = 1 if action == "BUY" else -1
    await holding(desk, con_id, unassigned=2 * sign)
    await asyncio.sleep(20)  # the cash has settled, so that what follows is judged against it
    desk.broker.fault(command, contract=symbol, quantity=2)
    await holding(desk, AAPL, unassigned=200 * sign)
    entries = [each for each in await journal(desk) if each.kind is kind and each.con_id]
    assert {each.con_id: each.quantity for each in entries} == {con_id: -2 * sign, AAPL: 200 * sign}

    async def is_paid() -> bool:
        return any(each.kind is kind and each.amount * sign < 0 for each in await journal(desk))

    await eventually(is_paid, FOUND_S)
    assert not await unexplained(desk)


@pytest.mark.parametrize(("right", "is_delivered"), [("C", True), ("P", False)])
async def test_an_option_that_expires_before_its_day_is_explained_only_by_its_shares(
    right: str, is_delivered: bool, start_gateway: Any, desk: Any
) -> None:
    con_id, symbol = listed(right)  # the call of the lowest strike is in the money, the put is not
    desk.broker.fault("manual_order", symbol=symbol, action="BUY", quantity=1, order_type="MKT")
    start_gateway("a", 1)
    await desk.ready_leader()
    await holding(desk, con_id, unassigned=1)
    await asyncio.sleep(2.5)
    desk.broker.fault("expire", contract=symbol)
    if is_delivered:
        await holding(desk, AAPL, unassigned=100)
        kinds = {each.con_id: each.kind for each in await journal(desk) if each.con_id}
        assert kinds == {con_id: JournalKind.EXERCISE, AAPL: JournalKind.EXERCISE}
        return

    async def is_told() -> bool:
        return [(each.con_id, each.reported) for each in await unexplained(desk)] == [(con_id, 0)]

    await eventually(is_told, FOUND_S)
    assert not await journal(desk), "it may have been transferred: its last day is to come"


@pytest.mark.parametrize(
    ("command", "parameters", "kind", "amount"),
    [
        ("deposit", {"amount": "2500"}, JournalKind.CREDIT, "2500"),
        ("interest", {"amount": "12.34"}, JournalKind.CREDIT, "12.34"),
        ("fee", {"amount": "4.5"}, JournalKind.DEBIT, "-4.5"),
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


async def test_an_order_by_hand_that_is_filled_in_part_is_seen_counted_and_belongs_to_nobody(
    start_gateway: Any, desk: Any, legs: Any
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)
    await holding(desk, AAPL, demo=10)
    desk.broker.fault("manual_order", symbol="AAPL", action="BUY", quantity=100, order_type="LMT", limit="1")

    async def by_hand() -> Any:
        found = [each for each in await desk.events() if each.is_external]
        return found[-1] if found else None

    shown = await eventually(by_hand, FOUND_S)
    assert (shown.quantity, shown.filled, shown.strategy) == (100, 0, "unassigned")
    desk.broker.fault("manual_fill", perm_id=shown.perm_id, quantity=30)

    async def is_counted() -> bool:
        last = await by_hand()
        return last.filled == 30 and last.remaining == 70 and not last.state.is_final

    await eventually(is_counted, FOUND_S)
    await holding(desk, AAPL, demo=10, unassigned=30)
    desk.broker.fault("manual_fill", perm_id=shown.perm_id, quantity=20)
    await holding(desk, AAPL, demo=10, unassigned=50)
    assert not await unexplained(desk)

"""The minute's check of the books against the real simulator: found, alarmed, never guessed away (P3, P11)."""

from __future__ import annotations

import json
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from shared.clock import random_token
from shared.messages.account import BookMove, PositionReport, Unexplained
from shared.messages.codec import decode_body
from shared.messages.control import Control, ControlAction
from shared.messages.orders import OrderState, Side
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]

AAPL = 265598


def flex_report(account: str, *rows: tuple[str, str, int]) -> str:
    """A Flex report of today's executions: execId, side, shares."""
    now = datetime.now(ZoneInfo("America/New_York"))
    trades = "".join(
        f'<Trade accountId="{account}" conid="{AAPL}" symbol="AAPL" ibExecID="{exec_id}" buySell="{side}" '
        f'quantity="{quantity if side == "BUY" else -quantity}" tradePrice="100.5" currency="USD" '
        f'dateTime="{now:%Y%m%d;%H%M%S}" ibCommission="-1" ibCommissionCurrency="USD" levelOfDetail="EXECUTION"/>'
        for exec_id, side, quantity in rows
    )
    return (
        f'<FlexQueryResponse><FlexStatements><FlexStatement accountId="{account}"><Trades>{trades}</Trades>'
        "</FlexStatement></FlexStatements></FlexQueryResponse>"
    )


async def row(desk: Any) -> PositionReport:
    stored = await desk.bus.hash_get_all(desk.bus.keys.positions)
    found = decode_body("position", stored[str(AAPL)]) if str(AAPL) in stored else None
    return found if isinstance(found, PositionReport) else PositionReport(account="", con_id=AAPL, position=Decimal(0))


async def held(desk: Any) -> dict[str, int]:
    return {share.strategy: int(share.quantity) for share in (await row(desk)).shares}


async def words(desk: Any) -> list[Unexplained]:
    return [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained)]


async def test_a_trade_nobody_shows_us_is_found_stands_and_is_accepted(
    start_gateway: Any, desk: Any, legs: Any
) -> None:
    gateways = {"a": start_gateway("a", 1), "b": start_gateway("b", 2)}
    leader = await desk.ready_leader()
    intent = await desk.place(legs[1](Side.BUY, 10))
    await desk.until(intent, OrderState.FILLED)

    async def is_held_by_demo() -> bool:
        return await held(desk) == {"demo": 10}

    await eventually(is_held_by_demo)
    assert not await words(desk)

    began = time.monotonic()
    desk.broker.fault("manual_order", symbol="AAPL", action="SELL", quantity=4, order_type="MKT")

    async def is_told() -> bool:
        found = await words(desk)
        return bool(found) and (found[-1].expected, found[-1].reported) == (10, 6)

    await eventually(is_told, 30.0)
    print(f"an unexplained difference was found after {time.monotonic() - began:.1f} s")

    async def is_shown() -> bool:
        return (await row(desk)).unexplained == -4

    await eventually(is_shown)
    assert await held(desk) == {"demo": 10}

    gateways[leader].kill()
    await desk.ready_leader(20.0, not_=leader)
    count = len(await words(desk))

    async def is_told_again() -> bool:
        return len(await words(desk)) > count

    await eventually(is_told_again, 30.0)
    assert (await words(desk))[-1].reported == 6, "a successor must neither forget nor adopt it"

    await desk.bus.append(
        desk.bus.keys.control,
        Control(
            ts_init_ns=time.time_ns(), control_id=random_token(12), action=ControlAction.ACCEPT_POSITION,
            scope=f"contract:{AAPL}", who="anna", reason="sold by phone",
        ),
        source="test",
    )  # fmt: skip

    async def is_over() -> bool:
        last = (await words(desk))[-1]
        return last.expected == last.reported == 6 and await held(desk) == {"demo": 10, "unassigned": -4}

    await eventually(is_over)
    moves = [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, BookMove)]
    assert [(move.strategy, move.quantity, move.who) for move in moves] == [("unassigned", -4, "anna")]


async def test_holdings_of_the_first_start_are_unassigned(start_gateway: Any, desk: Any, legs: Any) -> None:
    desk.broker.fault("manual_order", symbol="AAPL", action="BUY", quantity=25, order_type="MKT")
    start_gateway("a", 1)
    await desk.ready_leader()

    async def is_unassigned() -> bool:
        return await held(desk) == {"unassigned": 25}

    await eventually(is_unassigned, 40.0)
    await desk.until(await desk.place(legs[1](Side.BUY, 10)), OrderState.FILLED)

    async def is_shared() -> bool:
        return await held(desk) == {"demo": 10, "unassigned": 25}

    await eventually(is_shared)
    assert not await words(desk)


@pytest.mark.long
async def test_an_operator_gives_a_holding_to_a_strategy_and_takes_a_difference_for_granted(
    start_gateway: Any, desk: Any, cq: Any
) -> None:
    desk.broker.fault("manual_order", symbol="AAPL", action="BUY", quantity=25, order_type="MKT")
    gateways = {"a": start_gateway("a", 1), "b": start_gateway("b", 2)}
    leader = await desk.ready_leader()

    async def is_unassigned() -> bool:
        return await held(desk) == {"unassigned": 25}

    await eventually(is_unassigned, 40.0)
    done = await cq("positions", "adopt", "AAPL", "--to", "demo", "-q", "10", "-r", "it goes on with these", "--json")
    assert json.loads(done)["quantity"] == "10"
    assert await held(desk) == {"demo": 10, "unassigned": 15}
    assert "holds 15" in await cq("positions", "adopt", "AAPL", "--to", "demo", "-q", "16", "-r", "x", status=77)
    (act,) = [each for each in await desk.messages(desk.bus.keys.control) if isinstance(each, Control)]
    assert (act.action, act.reason) == (ControlAction.ASSIGN_POSITION, "it goes on with these")

    gateways[leader].kill()
    await desk.ready_leader(20.0, not_=leader)

    async def is_kept() -> bool:
        return await held(desk) == {"demo": 10, "unassigned": 15}

    await eventually(is_kept)
    await cq("positions", "assign", "AAPL", "--from", "demo", "--to", "unassigned", "-q", "4", "-r", "too many")
    assert await held(desk) == {"demo": 6, "unassigned": 19}, "the successor counts what its predecessor was told"
    assert json.loads(await cq("reconcile", "show", "--json"))[0]["state"] == "adopted"

    desk.broker.fault("manual_order", symbol="AAPL", action="SELL", quantity=5, order_type="MKT")

    async def is_shown() -> bool:
        rows = json.loads(await cq("reconcile", "show", "--json"))
        return [(row["state"], row["difference"]) for row in rows] == [("unexplained", "-5")]

    await eventually(is_shown, 40.0)
    await cq("reconcile", "accept", "AAPL", "-r", "sold by phone")
    assert await held(desk) == {"demo": 6, "unassigned": 14}


async def test_an_execution_the_api_shows_no_more_comes_from_ibs_report_once(
    start_gateway: Any, desk: Any, legs: Any, cq: Any, tmp_path: Path
) -> None:
    start_gateway("a", 1)
    await desk.ready_leader()
    intent = await desk.place(legs[1](Side.BUY, 10))
    await desk.until(intent, OrderState.FILLED)
    ours = [(fill.exec_id, str(fill.side), int(fill.quantity)) for fill in await desk.fills()]

    async def is_held_by_demo() -> bool:
        return await held(desk) == {"demo": 10}

    await eventually(is_held_by_demo, 20.0)
    desk.broker.fault("manual_order", symbol="AAPL", action="SELL", quantity=4, order_type="MKT")

    async def is_shown() -> bool:
        return (await row(desk)).unexplained == -4

    await eventually(is_shown, 40.0)
    report = tmp_path / "trades.xml"
    report.write_text(flex_report("U7654321", ("0000f1e8.01.01", "SELL", 4)))
    assert "the report is of account U7654321" in await cq("import", "flex", str(report), status=65)
    report.write_text(flex_report("DUSIM0001", *ours, ("0000f1e8.01.01", "SELL", 3)))
    await cq("import", "flex", str(report), status=77)
    assert len(await desk.fills()) == len(ours), "what does not explain the difference is not taken"

    report.write_text(flex_report("DUSIM0001", *ours, ("0000f1e8.01.01", "SELL", 4)))
    for published in (1, 0):
        (line,) = json.loads(await cq("import", "flex", str(report), "--json"))
        assert (line["published"], line["known"] + line["missing"]) == (published, len(ours) + 1)
    found = [fill for fill in await desk.fills() if fill.origin == "flex"]
    assert [(fill.exec_id, fill.quantity, fill.strategy) for fill in found] == [("0000f1e8.01.01", 4, "unassigned")]

    async def is_explained() -> bool:
        return (await row(desk)).unexplained == 0 and await held(desk) == {"demo": 10, "unassigned": -4}

    await eventually(is_explained, 20.0)

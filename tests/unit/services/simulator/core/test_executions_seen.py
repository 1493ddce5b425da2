from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.executions import Execution, Executions
from shared.tws.contract import TwsContract
from shared.tws.requests import ReqExecutions
from tests.unit.services.simulator.exchange_support import START_NS

ZONE = "America/New_York"
HOUR = 3600 * 1_000_000_000
BASE = Execution(
    exec_id="0000e1a7.5c000001.01.01", ts_ns=START_NS, perm_id=1, client_id=5, order_id=9, order_ref="r", account="DU1",
    contract=TwsContract(symbol="AAPL", sec_type="STK", exchange="SMART"), exchange="NASDAQ", side=1,
    shares=Decimal(10), price=Decimal("1.5"), cum_qty=Decimal(10), avg_price=Decimal("1.5"), liquidity=2,
    commission=Decimal(1), currency="USD", realized=None,
)  # fmt: skip


def remembered(*all_of_them: Execution) -> Executions:
    executions = Executions()
    for each in all_of_them:
        executions.add(each)
    return executions


def found(executions: Executions, client_id: int = 5, *, sees_all: bool = False, **asked: Any) -> list[str]:
    request = ReqExecutions(1, **asked)
    return [each.exec_id for each in executions.find(request, client_id, START_NS + HOUR, ZONE, sees_all=sees_all)]


def test_each_client_sees_its_own_and_the_master_all() -> None:
    other = replace(BASE, exec_id="b", client_id=6)
    executions = remembered(BASE, other)
    assert found(executions) == [BASE.exec_id]
    assert found(executions, 6) == ["b"] and found(executions, 7) == []
    assert found(executions, 7, sees_all=True) == [BASE.exec_id, "b"]


def test_trades_by_hand_are_for_client_0() -> None:
    by_hand = replace(BASE, exec_id="m", client_id=0, order_id=0, is_manual=True)
    assert found(remembered(by_hand), 0) == ["m"] and found(remembered(by_hand), 5) == []
    assert by_hand.details(1, ZONE, zone_name=True).order_id is None


def test_yesterdays_are_gone_at_midnight_of_the_zone() -> None:
    yesterday = replace(BASE, exec_id="y", ts_ns=START_NS - 11 * HOUR)  # 23:00 in New York
    assert found(remembered(yesterday, BASE)) == [BASE.exec_id]


@pytest.mark.parametrize(
    ("asked", "is_shown"),
    [
        ({"symbol": "AAPL"}, True), ({"symbol": "IBM"}, False), ({"side": "BUY"}, True), ({"side": "SLD"}, False),
        ({"exchange": "SMART"}, True), ({"exchange": "NASDAQ"}, True), ({"exchange": "NYSE"}, False),
        ({"account": "DU2"}, False), ({"sec_type": "OPT"}, False), ({"client_id": 5}, True), ({"client_id": 6}, False),
        ({"time": "20261123-14:59:59"}, True), ({"time": "20261123-15:00:01"}, False),
    ],
)  # fmt: skip
def test_filters(asked: dict[str, Any], is_shown: bool) -> None:
    assert bool(found(remembered(BASE), **asked)) == is_shown


def test_a_time_that_cannot_be_read_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not a time"):
        found(remembered(BASE), time="noon")


def test_the_newest_correction_counts() -> None:
    second, other = replace(BASE, exec_id="0000e1a7.5c000001.01.02"), replace(BASE, exec_id="0000e1a7.5c000002.01.01")
    executions = remembered(BASE, other, second)
    assert [each.exec_id[-8:] for each in executions.current()] == ["02.01.01"[-8:], second.exec_id[-8:]]


def test_ids_go_on_after_a_restore() -> None:
    executions = Executions()
    executions.restore(replace(BASE, exec_id="0000e1a7.5c000007.01.01"))
    assert executions.next_exec_id() == "0000e1a7.5c000008.01.01"

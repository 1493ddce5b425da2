from __future__ import annotations

from decimal import Decimal

import pytest

from services.simulator.core.executions import Execution, Executions
from shared.tws.contract import TwsContract
from shared.tws.requests import ReqExecutions

ZONE = "America/New_York"
DAY = 86_400 * 1_000_000_000
NOW = 1_795_446_000 * 1_000_000_000  # 2026-11-23 10:00 in New York


@pytest.fixture
def executions() -> Executions:
    found = Executions()
    for back in range(9):
        found.add(
            Execution(
                found.next_exec_id(), NOW - back * DAY, back + 1, 5, back, "", "DU1", TwsContract(symbol="AAPL"),
                "ARCA", 1, Decimal(1), Decimal(10), Decimal(1), Decimal(10), 1, Decimal(1), "USD", None,
            )
        )  # fmt: skip
    return found


def permanent_ids(found: list[Execution]) -> list[int]:
    return [each.perm_id for each in found]


def test_the_current_day_only_unless_tws_is_set_to_more(executions: Executions) -> None:
    asked = ReqExecutions(1)
    assert permanent_ids(executions.find(asked, 5, NOW, ZONE, sees_all=False)) == [1]
    assert permanent_ids(executions.find(asked, 5, NOW, ZONE, sees_all=False, days=7)) == [1, 2, 3, 4, 5, 6, 7]
    assert executions.find(asked, 6, NOW, ZONE, sees_all=False, days=7) == []


@pytest.mark.parametrize(("wanted", "days", "count"), [(3, 7, 3), (30, 7, 7), (3, 1, 1), (0, 7, 1)])
def test_last_n_days_within_what_tws_keeps(executions: Executions, wanted: int, days: int, count: int) -> None:
    asked = ReqExecutions(1, last_n_days=wanted)
    assert len(executions.find(asked, 5, NOW, ZONE, sees_all=False, days=days)) == count


def test_specific_dates(executions: Executions) -> None:
    asked = ReqExecutions(1, specific_dates=(20261121, 20261123, 20260101))
    assert permanent_ids(executions.find(asked, 5, NOW, ZONE, sees_all=False, days=7)) == [1, 3]


def test_over_the_end_of_summer_time(executions: Executions) -> None:
    monday = NOW - 21 * DAY  # 2026-11-02, the day after the clocks went back
    late = 3600 * 1_000_000_000
    executions.all[0] = executions.all[0].__class__(
        **{name: getattr(executions.all[0], name) for name in executions.all[0].__slots__} | {"ts_ns": monday - 2 * DAY}
    )
    asked = ReqExecutions(1, last_n_days=3)
    assert permanent_ids(executions.find(asked, 5, monday + late, ZONE, sees_all=False, days=7))[:1] == [1]


def test_a_bound_order_by_hand_has_its_order_id(executions: Executions) -> None:
    one = executions.all[1]
    values = {name: getattr(one, name) for name in one.__slots__}
    by_hand = Execution(**values | {"is_manual": True, "order_id": 0})
    bound = Execution(**values | {"is_manual": True, "order_id": -3})
    assert by_hand.details(-1, ZONE, zone_name=True).order_id is None
    assert bound.details(-1, ZONE, zone_name=True).order_id == -3

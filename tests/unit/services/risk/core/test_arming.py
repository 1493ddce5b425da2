"""Live opens positions only with a limits file and a complete checklist; other modes and observing need neither."""

from __future__ import annotations

from typing import Any

import pytest

from services.risk.core.arming import NO_FILE, unprepared
from services.risk.core.limits import Stage
from shared.preflight import CHECKED_DAYS, DAY_NS, ITEMS, Entry, Result

NOW = 1_800_000_000_000_000_000


def a_result(account: str = "U1234567", state: Any = "ok") -> Result:
    entries = [Entry(one.key, "ok", "checked", NOW, "") for one in ITEMS[1:]]
    return Result("live", account, NOW, (Entry(ITEMS[0].key, state, "answered", NOW, "three days"), *entries))


def left(result: Result | None, **changes: Any) -> tuple[str, ...]:
    given: dict[str, Any] = {
        "stage": Stage.ARMED, "account": "U1234567", "is_live": True, "has_limits_file": True, "began_ns": NOW,
    }  # fmt: skip
    return unprepared(result, **{**given, **changes})


@pytest.mark.parametrize("stage", [Stage.LIMITED, Stage.ARMED])
def test_a_live_deployment_needs_everything(stage: Stage) -> None:
    assert left(a_result(), stage=stage) == ()
    assert left(a_result(), stage=stage, has_limits_file=False) == (NO_FILE,)
    assert left(a_result(state="bad"), stage=stage) == ("a month of paper trading: three days",)
    assert "never gone through" in left(None, stage=stage)[0]
    assert "another account" in left(a_result("U7654321"), stage=stage)[0]


def test_who_observes_or_trades_no_real_money_needs_nothing() -> None:
    assert left(None, stage=Stage.OBSERVE, has_limits_file=False) == ()
    assert left(None, is_live=False, has_limits_file=False) == ()


def test_it_runs_out_between_two_starts_only() -> None:
    assert len(left(a_result(), began_ns=NOW + CHECKED_DAYS * DAY_NS)) == len(ITEMS) - 1
    assert left(a_result(), began_ns=NOW - DAY_NS) == ()

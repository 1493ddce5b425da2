"""A stored checklist arms a risk that runs, a "no" in it disarms it; a book begun anew stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.risk.core.exposure import Book
from services.risk.core.limits import Stage
from services.risk.settings import RiskSettings
from services.risk.shell.arming import NO_FILE, Arming, unprepared
from services.risk.shell.feed import Feed
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.preflight import CHECKED_DAYS, DAY_NS, ITEMS, Entry, Result, write_result
from shared.settings import load_settings
from tests.risk_desk import decided, hold, intent_of, limits_with, ready_book


def an_arming(book: Book) -> tuple[Arming, Feed, RiskSettings]:
    settings = load_settings(RiskSettings)
    feed = Feed(MemoryBus(MemoryServer(), Keys("sim")), settings.account, SYSTEM_CLOCK, instance="r1")
    feed.book = book
    return Arming(settings, SYSTEM_CLOCK, feed), feed, settings


async def test_the_stored_checklist_arms_and_disarms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "preflight.json"
    for name, value in {
        "CQ_MODE": "live", "IB_LIVE_ACCOUNT": "U1234567", "LIVE_STAGE": "armed", "RISK_PREFLIGHT_FILE": str(path),
        "RISK_LIMITS_FILE": str(tmp_path / "limits.toml"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    book = ready_book()
    hold(book, 1, 10)
    arming, feed, _ = an_arming(book)
    arming.take(arming.look())
    refused = decided(intent_of(1), book, limits_with()).decision
    assert refused.code == "RISK_PREFLIGHT_MISSING" and "never gone through" in refused.text
    assert decided(intent_of(2, "SELL", 10), book, limits_with()).decision.approved, "a position can always be reduced"

    now_ns = SYSTEM_CLOCK.wall_ns()
    entries = tuple(Entry(one.key, "ok", "checked", now_ns, "") for one in ITEMS)
    result = Result("live", "U1234567", now_ns, entries)
    write_result(path, result)
    arming.take(arming.look())
    assert decided(intent_of(3), book, limits_with()).decision.approved

    write_result(path, replace(result, entries=(replace(entries[0], state="bad", text="stopped"), *entries[1:])))
    arming.take(arming.look())
    assert "stopped" in decided(intent_of(4), book, limits_with()).decision.text
    await feed.rebuild("run:repl", 8)
    assert feed.book.readiness.unprepared == arming.look() != ()


def test_other_modes_look_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    arming, _, settings = an_arming(ready_book())
    assert arming.look() == ()
    assert settings.preflight_path == Path.cwd() / ".cq" / "preflight-sim.json"


WHEN = 1_800_000_000_000_000_000


def a_result(account: str = "U1234567", state: Any = "ok") -> Result:
    entries = [Entry(one.key, "ok", "checked", WHEN, "") for one in ITEMS[1:]]
    return Result("live", account, WHEN, (Entry(ITEMS[0].key, state, "answered", WHEN, "three days"), *entries))


def left(result: Result | None, **changes: Any) -> tuple[str, ...]:
    given: dict[str, Any] = {
        "stage": Stage.ARMED, "account": "U1234567", "is_live": True, "has_limits_file": True, "began_ns": WHEN,
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
    assert len(left(a_result(), began_ns=WHEN + CHECKED_DAYS * DAY_NS)) == len(ITEMS) - 1
    assert left(a_result(), began_ns=WHEN - DAY_NS) == ()

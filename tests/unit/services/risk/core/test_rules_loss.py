"""Breakers trip by themselves, hold back what adds exposure and end with a person's word."""

from __future__ import annotations

import pytest

from services.risk.core.breakers import Breakers
from services.risk.core.decide import decide, decide_by_rules
from services.risk.core.snapshot import load_snapshot, snapshot_of
from services.risk.core.tripping import ASK_NS
from shared.messages.account import PnlReport
from shared.messages.control import Control, ControlAction
from shared.messages.orders import Commission, OrderState
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    SECOND,
    D,
    decided,
    event_of,
    fill_of,
    info,
    intent_of,
    limits_with,
    ready_book,
    set_price,
)

DAY = 86_400 * SECOND


def resume(scope: str = "account") -> Control:
    action = ControlAction.RESUME if scope == "account" else ControlAction.RESUME_STRATEGY
    return Control(control_id="c", action=action, scope=scope, who="me", reason="seen")


def pnl(value: int) -> PnlReport:
    return PnlReport(account=ACCOUNT, daily=D(value))


def test_drawdown_is_measured_from_the_days_peak() -> None:
    book, limits = ready_book(), limits_with(drawdown_max=100)
    for value in (500, 401):
        book.apply(pnl(value), NOW)
    assert decide(intent_of(1), book, limits, NOW).decision.approved
    book.apply(pnl(399), NOW)
    decision = decide(intent_of(1), book, limits, NOW).decision
    assert (decision.code, decision.failed[0].measured) == ("RISK_DRAWDOWN_MAX", "101")
    book.apply(pnl(500), NOW)
    assert decide(intent_of(1), book, limits, NOW).decision.code == "RISK_DRAWDOWN_MAX", "latched"
    book.apply(resume(), NOW)
    assert decide(intent_of(1), book, limits, NOW).decision.approved


def test_who_resumes_accepts_what_was_lost_till_then() -> None:
    book, limits = ready_book(), limits_with(daily_loss_max=100)
    book.apply(pnl(-150), NOW)
    assert decide(intent_of(1), book, limits, NOW).decision.code == "RISK_DAILY_LOSS_MAX"
    book.apply(resume(), NOW)
    book.apply(pnl(-250), NOW)
    assert decide(intent_of(1), book, limits, NOW).decision.approved
    book.apply(pnl(-251), NOW)
    assert decide(intent_of(1), book, limits, NOW).decision.failed[0].measured == "101"


def test_yesterdays_peak_is_forgotten() -> None:
    book, limits = ready_book(), limits_with(drawdown_max=100)
    book.apply(pnl(5000), NOW)
    book.apply(pnl(0), NOW + DAY)
    assert decide(intent_of(1, valid_until_ns=NOW + DAY), book, limits, NOW + DAY).decision.approved


def test_a_strategys_loss_stops_that_strategy_only() -> None:
    book, limits = ready_book(), limits_with(strategy_loss_max=100)
    fill_of(book, 900, 1, "BUY", 10, exec_id="a.01.01")
    assert decide(intent_of(1), book, limits, NOW).decision.approved
    set_price(book, 1, 89.0)
    later = NOW + ASK_NS
    decision = decide(intent_of(1, con_id=2), book, limits, later).decision
    assert decision.code == "RISK_STRATEGY_LOSS_MAX" and decision.failed[0].measured == "110"
    assert decide(intent_of(2, con_id=2, strategy="t"), book, limits, later).decision.approved
    assert decide(intent_of(3, "SELL"), book, limits, later).decision.approved, "it may always close"
    set_price(book, 1, 120.0)
    book.apply(resume("strategy:t"), later)
    assert not decide(intent_of(4), book, limits, later + ASK_NS).decision.approved
    book.apply(resume("strategy:s"), later)
    assert decide(intent_of(5), book, limits, later + ASK_NS).decision.approved


@pytest.mark.parametrize("scope", ["strategy:s", "account"])
def test_who_resumes_a_strategy_accepts_its_loss_and_a_worse_one_trips_again(scope: str) -> None:
    book, limits = ready_book(), limits_with(strategy_loss_max=100)
    fill_of(book, 900, 1, "BUY", 10, exec_id="a.01.01")
    set_price(book, 1, 89.0)
    now = NOW + ASK_NS
    assert decide(intent_of(1), book, limits, now).decision.code == "RISK_STRATEGY_LOSS_MAX"
    book.apply(resume(scope), now)
    for price, approved in ((89.0, True), (79.1, True), (78.9, False)):  # 110 were accepted: 100 more trip it
        set_price(book, 1, price)
        now += ASK_NS
        assert decide(intent_of(2), book, limits, now).decision.approved == approved, price
    again = ready_book()
    load_snapshot(again, snapshot_of(book))
    again.apply(info(1), now)
    set_price(again, 1, 79.1)
    assert again.profits.lost("s", again.contracts, now) == D("99.0"), "what was accepted outlives a restart"
    again.profits.advance(now + DAY)
    assert again.profits.lost("s", again.contracts, now + DAY) == D("209.0"), "and ends with the day"


def test_a_strategys_fall_from_the_days_best_stops_that_strategy_only() -> None:
    book, limits = ready_book(), limits_with(strategy_drawdown_max=100, strategy_loss_max=None)
    fill_of(book, 900, 1, "BUY", 10, exec_id="a.01.01")
    now = NOW
    for price, approved in ((100.0, True), (130.0, True), (121.0, True), (119.9, False)):  # 300 made, 101 of it gone
        set_price(book, 1, price)
        now += ASK_NS
        assert decide_by_rules(intent_of(1, con_id=2), book, limits, now).decision.approved == approved, price
    decision = decide(intent_of(1, con_id=2), book, limits, now).decision
    assert decision.code == "RISK_STRATEGY_DRAWDOWN_MAX" and decision.failed[0].measured == "101"
    assert decide(intent_of(2, con_id=2, strategy="t"), book, limits, now).decision.approved
    assert decide(intent_of(3, "SELL"), book, limits, now).decision.approved, "it may always close"
    book.apply(resume("strategy:s"), now)
    for price, approved in ((119.9, True), (110.0, True), (109.8, False)):  # from where it was resumed
        set_price(book, 1, price)
        now += ASK_NS
        assert decide_by_rules(intent_of(4), book, limits, now).decision.approved == approved, price


def test_a_strategys_peak_outlives_a_restart_and_ends_with_the_day() -> None:
    book, limits = ready_book(), limits_with(strategy_drawdown_max=100, strategy_loss_max=None)
    fill_of(book, 900, 1, "BUY", 10, exec_id="a.01.01")
    set_price(book, 1, 130.0)
    assert decide_by_rules(intent_of(1), book, limits, NOW + ASK_NS).decision.approved
    again = ready_book()
    load_snapshot(again, snapshot_of(book))
    assert again.profits.fell("s", D(250)) == D(50)
    again.profits.advance(NOW + DAY)
    assert again.profits.fell("s", D(250)) == D(0)


def test_rejections_in_a_row() -> None:
    book, limits = ready_book(), limits_with(rejects_max=2)
    for number in (1, 2, 3):
        assert decided(intent_of(number), book, limits).decision.approved
        book.apply(event_of(number, OrderState.REJECTED, by="broker"), NOW)
    assert decide(intent_of(4), book, limits, NOW).decision.code == "RISK_REJECTS_MAX"
    assert decide(intent_of(4, strategy="t"), book, limits, NOW).decision.approved
    book.apply(resume("strategy:s"), NOW)
    assert decide(intent_of(5), book, limits, NOW).decision.approved


@pytest.mark.parametrize(("rung", "approved"), [("warn", True), ("reduce_only", False), ("halt", False)])
def test_a_rung_says_what_follows(rung: str, approved: bool) -> None:
    book, limits = ready_book(), limits_with(daily_loss_max=100, daily_loss_rung=rung)
    book.apply(pnl(-101), NOW)
    decision = decide(intent_of(1), book, limits, NOW).decision
    assert decision.approved is approved
    assert [one.code for one in (*decision.failed, *decision.warned)] == ["RISK_DAILY_LOSS_MAX"]


def test_a_rule_newer_than_the_limits_file_only_warns() -> None:
    book, limits = ready_book(), limits_with(drawdown_max=100, daily_loss_max=100)
    limits.rules_version = 1
    book.apply(pnl(-101), NOW)
    decision = decide(intent_of(1), book, limits, NOW).decision
    assert [one.code for one in decision.failed] == ["RISK_DAILY_LOSS_MAX"]
    assert [one.code for one in decision.warned] == ["RISK_DRAWDOWN_MAX"]


def test_our_own_loss_counts_where_the_brokers_figure_is_missing_or_better() -> None:
    book, limits = ready_book(), limits_with(daily_loss_max=100)
    fill_of(book, 1, 1, "BUY", 10, exec_id="a.01.01")
    set_price(book, 1, 89.0)
    book.apply(PnlReport(account=ACCOUNT, daily=D(-5)), NOW)
    decision = decide(intent_of(2, con_id=2), book, limits, NOW).decision
    assert decision.code == "RISK_DAILY_LOSS_MAX" and "110" in decision.text


def test_the_brokers_loss_counts_where_ours_is_better_and_a_resume_accepts_both() -> None:
    book, limits = ready_book(), limits_with(daily_loss_max=100)
    book.apply(PnlReport(account=ACCOUNT, daily=D(-101)), NOW)
    assert decide(intent_of(2), book, limits, NOW).decision.code == "RISK_DAILY_LOSS_MAX"
    book.apply(Control(control_id="r", action=ControlAction.RESUME, who="me"), NOW)
    assert decide(intent_of(3), book, limits, NOW).decision.approved
    commission = Commission(exec_id="x", strategy="s", account=ACCOUNT, con_id=1, commission=D(250), currency="USD")
    book.apply(commission, NOW)
    later = NOW + SECOND
    assert decide(intent_of(4), book, limits, later).decision.code == "RISK_DAILY_LOSS_MAX"
    again = Breakers()
    again.restore(book.breakers.stored())
    assert again.lost == book.breakers.lost == 250
    book.apply(Control(control_id="r2", action=ControlAction.RESUME, who="me"), later)
    assert book.breakers.lost == 0

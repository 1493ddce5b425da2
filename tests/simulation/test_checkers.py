"""Each checker fails when its promise is broken, and is silent when it is kept."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.bus.keys import Keys
from shared.bus.ports import Entry, LeaseToken
from shared.errors import ConfigError, DecodeError
from shared.ids import IntentId, order_ref
from shared.messages.control import Control, ControlAction, Reconciled
from shared.messages.orders import Command, Fill, Intent, OrderEvent, OrderLeg, OrderState, OrderType, Side
from shared.tws.order import TwsOrder
from tests.simulation.broker_records import Sent, SimExecution, SimOrder
from tests.simulation.judge import Judge
from tests.simulation.kernel import NS

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")
REF = order_ref(DEP, IID, 0)
D = Decimal


@pytest.fixture
def judge() -> Judge:
    return Judge(Keys("sim"), DEP, "DU1", D(60), lambda: 1, lambda: 0)


def promises(judge: Judge) -> list[str]:
    return [violation.promise for violation in judge.violations]


def sent(**more: Any) -> Sent:
    fields: dict[str, Any] = {
        "at_ns": 1, "order_id": 7, "client_id": 101, "ref": REF, "kind": "new", "con_id": 1, "side": Side.BUY,
        "quantity": D(10), "limit": D(5), "account": "DU1",
    }  # fmt: skip
    return Sent(**{**fields, **more})


def command(**more: Any) -> Command:
    leg = OrderLeg(side=Side.BUY, quantity=D(10), order_type=OrderType.LIMIT, limit_price=D(5))
    intent = Intent(intent_id=IID, legs=(leg,), con_id=1, strategy="s", account="DU1", valid_until_ns=9)
    return Command(intent=intent, not_after_ns=9, incarnation="1", **more)


def order(**more: Any) -> SimOrder:
    terms = TwsOrder("BUY", D(10), "LMT", D(5), order_ref=REF)
    fields: dict[str, Any] = {"status": "Submitted", "limit": D(5), "stop": None}
    return SimOrder(1, 101, 7, 1, terms, D(10), **{**fields, **more})


def event(state: OrderState, **more: Any) -> OrderEvent:
    fields: dict[str, Any] = {
        "order_ref": REF, "intent_id": IID, "state": state, "strategy": "s", "account": "DU1", "con_id": 1,
        "side": Side.BUY, "quantity": D(10), "order_type": "LMT",
    }  # fmt: skip
    return OrderEvent(**{**fields, **more})


def fill(**more: Any) -> Fill:
    fields: dict[str, Any] = {
        "exec_id": "a.01.01", "exec_stem": "a.01", "strategy": "s", "account": "DU1", "con_id": 1, "side": Side.BUY,
        "quantity": D(4), "price": D(5),
    }  # fmt: skip
    return Fill(**{**fields, **more})


def entry(stream: str, epoch: int) -> Entry:
    return Entry(stream, f"{epoch}-1", {b"epoch": str(epoch).encode()})


@pytest.mark.parametrize("wrong", [{"quantity": D(11)}, {"limit": D(6)}, {"side": Side.SELL}])
def test_p1_an_order_on_other_terms_than_approved(judge: Judge, wrong: dict[str, Any]) -> None:
    judge.approval.command(command())
    judge.approval.sent(sent())
    assert promises(judge) == []
    judge.approval.sent(sent(**wrong))
    assert promises(judge) == ["P1"]


def test_p2_a_second_order_of_one_reference(judge: Judge) -> None:
    judge.one_order.sent(sent())
    judge.one_order.sent(sent(kind="modify"))
    assert promises(judge) == []
    judge.one_order.sent(sent(order_id=8))
    assert promises(judge) == ["P2"]


def test_p3_a_fill_twice_and_a_fill_never(judge: Judge) -> None:
    judge.fills.published(1, fill())
    judge.fills.published(2, fill())
    judge.fills.published(1, fill(revision=2))
    assert promises(judge) == []
    judge.fills.published(1, fill())
    row: Any = type("Row", (), {"client_id": 101, "exec_id": "b.01.01", "order_ref": REF})
    judge.fills.settled(1, [SimExecution(row, 0)], 0, (101,))
    judge.fills.settled(1, [SimExecution(row, 0)], 1, (101,))
    assert promises(judge) == ["P3", "P3"]


def test_p4_two_outcomes_and_one_that_the_broker_denies(judge: Judge) -> None:
    judge.outcomes.event(1, event(OrderState.CANCELLED))
    judge.outcomes.event(1, event(OrderState.FILLED, filled=D(10)))
    assert promises(judge) == []
    judge.outcomes.event(1, event(OrderState.EXPIRED))
    judge.outcomes.never_sent(event(OrderState.NOT_SENT), [order()])
    assert promises(judge) == ["P4", "P4"]


@pytest.mark.parametrize("state", [OrderState.UNKNOWN, OrderState.CANCELLED])
def test_p4_a_working_order_must_be_shown_working(judge: Judge, state: OrderState) -> None:
    commands = {str(IID): command()}
    judge.outcomes.event(1, event(OrderState.WORKING))
    judge.outcomes.settled(1, [order()], commands, {}, set(), DEP, 0)
    assert promises(judge) == []
    judge.outcomes.event(1, event(state))
    judge.outcomes.settled(1, [order()], commands, {}, set(), DEP, 0)
    assert promises(judge) == ["P4"]


def test_p4_an_intent_without_an_answer_and_an_order_after_its_cancel(judge: Judge) -> None:
    judge.outcomes.settled(1, [], {}, {IID: command().intent}, set(), DEP, 0)
    judge.outcomes.cancelled_first(REF)
    judge.outcomes.sent(sent())
    assert promises(judge) == ["P4", "P4"]


def test_p5_an_older_epoch_on_a_stream_and_through_the_guard(judge: Judge) -> None:
    keys = judge.keys
    for each in (entry(keys.orders, 2), entry(keys.fills, 1), entry(keys.decisions, 1), entry(keys.orders, 3)):
        judge.voice.added(1, each)
    judge.voice.forwarded(5)
    judge.voice.acquired(LeaseToken("gateway", "g2", 4, "1"), [])
    assert promises(judge) == []
    judge.voice.added(1, entry(keys.orders, 2))
    judge.voice.forwarded(4)
    judge.voice.acquired(LeaseToken("gateway", "g2", 4, "1"), ["g1"])
    assert promises(judge) == ["P5", "P5", "P5"]


def test_p6_an_order_that_adds_after_the_halt_was_acknowledged(judge: Judge) -> None:
    halt = judge.halt
    halt.asked("halt")
    halt.left(REF, what_if=False)
    halt.acknowledged("holding")
    halt.left(REF, what_if=True)
    halt.reducing.add("reducing")
    halt.left("reducing", what_if=False)
    assert promises(judge) == []
    halt.left(REF, what_if=False)
    assert promises(judge) == ["P6"]
    halt.asked("resume")
    halt.left(REF, what_if=False)
    assert promises(judge) == ["P6"]


def control(action: ControlAction, scope: str) -> Control:
    return Control(control_id="c", action=action, scope=scope, who="x")


@pytest.mark.parametrize(
    "sets, opens, scope, other",
    [
        (ControlAction.HALT, ControlAction.RESUME, "strategy:s", "strategy:t"),
        (ControlAction.FLATTEN, ControlAction.RESUME, "contract:1", "contract:2"),
        (ControlAction.PAUSE_STRATEGY, ControlAction.RESUME_STRATEGY, "strategy:s", "strategy:t"),
    ],
)
def test_p6_an_order_of_a_part_that_is_said_to_be_held(
    judge: Judge, sets: ControlAction, opens: ControlAction, scope: str, other: str
) -> None:
    kind = "pause" if sets is ControlAction.PAUSE_STRATEGY else "halt"
    parts, name = judge.parts, f"{kind}:{scope}"
    judge._message(1, command())
    judge.shown({"stage": "none", name: "holding x: never asked for"})
    judge._message(1, control(sets, scope))
    judge.shown({"stage": "none", name: "requested x: news", f"{kind}:{other}": "holding x: news"})
    parts.left(REF, 1, what_if=False)
    judge.shown({"stage": "none", name: "holding x: news"})
    parts.left(REF, 1, what_if=True)
    judge._message(1, control(ControlAction.RESUME, "account"))
    assert promises(judge) == []
    parts.left(REF, 1, what_if=False)
    assert promises(judge) == ["P6"]
    assert bool(parts.still_working([order()])) is (kind == "halt"), "a pause cancels nothing"
    judge._message(1, control(opens, scope))
    parts.left(REF, 1, what_if=False)
    assert promises(judge) == ["P6"] and not parts.still_working([order()])


def test_p6_what_reduces_leaves_a_halted_part_and_stays(judge: Judge) -> None:
    judge._message(1, command(is_reducing=True))
    judge._message(1, control(ControlAction.HALT, "contract:1"))
    judge.shown({"stage": "none", "halt:contract:1": "holding x: news"})
    judge.parts.left(REF, 1, what_if=False)
    judge.parts.left("by hand", 1, what_if=False)
    assert promises(judge) == [] and not judge.parts.still_working([order()])


def test_p7_a_worst_case_over_the_limit(judge: Judge) -> None:
    judge.limits.judge({1: D(50)}, [order()])
    assert promises(judge) == []
    judge.limits.judge({1: D(51)}, [order()])
    assert promises(judge) == ["P7"]


@pytest.mark.parametrize("wrong", [{"ref": "by hand"}, {"account": "U1"}])
def test_p8_an_order_of_another_deployment_or_account(judge: Judge, wrong: dict[str, Any]) -> None:
    judge.deployment.sent(sent())
    assert promises(judge) == []
    judge.deployment.sent(sent(**wrong))
    assert promises(judge) == ["P8"]


def test_p8_an_order_at_another_login_a_fill_of_another_account_and_a_leader_of_another_deployment(
    judge: Judge,
) -> None:
    judge.deployment.message(fill())
    judge.deployment.acquired(3, is_foreign=True)
    judge.deployment.given_back += 1
    judge.deployment.fenced(3, is_foreign=True)  # it looked before it was another's again
    assert promises(judge) == []
    judge.login = ("DU2",)
    judge.deployment.sent(sent())
    judge.deployment.message(fill(account="DU2"))
    judge.deployment.acquired(4, is_foreign=True)
    judge.deployment.fenced(4, is_foreign=True)
    assert promises(judge) == ["P8", "P8", "P8"]


def test_p10_an_unreadable_entry_nobody_kept_that_ended_a_service_or_was_decided_past(judge: Judge) -> None:
    keys, checker = judge.keys, judge.bad_input
    checker.now = lambda: 0
    checker.planted(1, keys.orders, "1-1")
    checker.message(1, command())
    checker.now = lambda: 3 * NS
    checker.message(1, command(is_reducing=True))
    kept = {b"type": b"dead_letter", b"key": keys.orders.encode(), b"id": b"1-1"}
    assert promises(judge) == []
    checker.message(1, command())
    checker.settled(1, (keys.orders,))
    checker.ended("g1", DecodeError("what is this"))
    assert promises(judge) == ["P10", "P10", "P10"]
    checker.added(1, Entry(keys.dead_letter, "2-1", kept))
    checker.settled(1, (keys.orders,))
    checker.ended("g1", ConfigError(["another's"]))
    checker.message(1, Reconciled(instance="g1", epoch=1, incarnation="1"))
    checker.message(1, command())
    assert promises(judge) == ["P10", "P10", "P10"]


def test_p10_an_unreadable_entry_of_control_is_a_halt_until_a_resume(judge: Judge) -> None:
    checker = judge.bad_input
    checker.now = lambda: 0
    checker.planted(1, judge.keys.control, "1-1")
    checker.now = lambda: 3 * NS
    checker.message(1, Reconciled(instance="g1", epoch=1, incarnation="1"))
    checker.message(1, Control(control_id="r", action=ControlAction.RESUME, scope="strategy:s", who="anna"))
    checker.message(1, command())
    assert promises(judge) == ["P10"]
    checker.message(1, Control(control_id="r", action=ControlAction.RESUME, who="anna"))
    checker.message(1, command())
    assert promises(judge) == ["P10"]


def test_p9_commits_out_of_order_a_quote_answered_twice_and_one_skipped(judge: Judge) -> None:
    units = judge.units
    units.committed(1, "counter/C1", 1)
    units.committed(1, "counter/C1", 2)
    for number in (1, 2, 4):
        units.effect(1, "counter/C1", str(number), f"id{number}")
    units.effect(1, "counter/C1", "4", "id4")
    assert promises(judge) == []
    units.committed(1, "counter/C1", 4)
    units.effect(1, "counter/C1", "4", "other")
    units.settled(1, ["C1"])
    assert promises(judge) == ["P9", "P9", "P9"]


def test_p11_books_that_do_not_add_up(judge: Judge) -> None:
    judge.books.published(1, fill())
    judge.books.settled(1, {1: D(4)})
    assert promises(judge) == []
    judge.books.settled(1, {1: D(5)})
    assert promises(judge) == ["P11"]

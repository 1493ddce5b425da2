from __future__ import annotations

from copilot_quant.story import story_of
from shared.messages.base import Message
from shared.messages.codec import Envelope
from shared.messages.orders import (
    CancelCommand,
    CancelRequest,
    Command,
    Commission,
    Decision,
    Fill,
    OrderState,
    RuleResult,
    Side,
)
from tests.risk_desk import ACCOUNT, NOW, D, bracket_of, event_of, intent_of, modify_of, number_id

MS = 1_000_000


def told(*messages: tuple[int, Message]) -> list[Envelope]:
    return [
        Envelope(message.model_copy(update={"ts_init_ns": NOW + at * MS}), "someone:1", 1, f"{at}-0")
        for at, message in messages
    ]


def test_an_orders_way_from_the_tick_to_its_last_fill() -> None:
    intent = intent_of(1, cause_ts_ns=NOW - 2 * MS, cause_id="77-0", contract="AAPL", reason="trend")
    fill = Fill(
        exec_id="e1", exec_stem="e1", intent_id=number_id(1), strategy="s", account=ACCOUNT, con_id=1, side=Side.BUY,
        quantity=D("10"), price=D("100.50"),
    )  # fmt: skip
    commission = Commission(exec_id="e1", strategy="s", account=ACCOUNT, con_id=1, commission=D("0.35"), currency="USD")
    warned = (RuleResult(code="RISK_DUPLICATE", ok=False, is_hard=False, text="again"),)
    steps = story_of(
        told(
            (9, fill),
            (0, intent),
            (1, Decision(intent_id=number_id(1), approved=True, warned=warned)),
            (2, event_of(1, OrderState.CLAIMED, by="gateway", order_id=5)),
            (10, event_of(1, OrderState.FILLED, filled=D(10), by="broker", broker_status="Filled")),
            (11, commission),
            (1, Command(intent=intent, not_after_ns=1, incarnation="x")),
            (0, intent),  # found in two places
        )
    )
    assert [timed.step.what for timed in steps] == [
        "cause", "intent", "approved", "command", "claimed", "fill", "filled", "commission",
    ]  # fmt: skip
    assert steps[0].step.text.endswith("entry 77-0") and steps[1].step.text == "AAPL BUY 10 LMT limit 100 for s: trend"
    assert steps[-1].since_first_ms == 13.0 and steps[-1].since_previous_ms == 1.0
    texts = {timed.step.what: timed.step.text for timed in steps}
    assert "RISK_DUPLICATE" in texts["approved"] and texts["claimed"] == "order id 5, by gateway"
    assert texts["fill"] == "10 at 100.5, execution e1" and texts["commission"].startswith("0.35 USD")


def test_a_second_order_that_the_broker_made_is_told_apart() -> None:
    fill = Fill(
        exec_id="e1", exec_stem="e1", intent_id=number_id(1), strategy="s", account=ACCOUNT, con_id=1, side=Side.BUY,
        quantity=D(4), price=D(100), perm_id=77, is_double=True,
    )  # fmt: skip
    double = event_of(1, OrderState.CANCELLED, by="broker", perm_id=77, is_external=True)
    filled, ended = (timed.step.text for timed in story_of(told((1, fill), (2, double))))
    assert filled == "4 at 100, execution e1, of a second order that IB made (permId 77)"
    assert ended == "a second order that IB made of it (permId 77), by broker"


def test_a_rejection_names_every_rule_and_a_cancel_is_told() -> None:
    failed = tuple(RuleResult(code=code, ok=False, text="no") for code in ("RISK_HALTED", "RISK_DATA_STALE"))
    cancel = CancelRequest(cancel_id="c", intent_id=number_id(2), reason="cq cancel")
    steps = story_of(
        told(
            (0, bracket_of(2)),
            (1, Decision(intent_id=number_id(2), approved=False, failed=failed)),
            (2, cancel),
            (3, CancelCommand(cancel=cancel)),
            (4, modify_of(3, 2, "BUY", 5)),
        )
    )
    assert [timed.step.what for timed in steps] == [
        "intent", "rejected", "cancel asked", "cancel passed", f"modify {number_id(2)}",
    ]  # fmt: skip
    assert steps[1].step.text == "RISK_HALTED: no; RISK_DATA_STALE: no"
    assert "stop 99" in steps[0].step.text
    assert story_of([]) == []

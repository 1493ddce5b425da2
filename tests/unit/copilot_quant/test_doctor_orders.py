from __future__ import annotations

from typing import Any

import pytest

from copilot_quant.doctor_orders import LINK_CURES, MOST, ORDER_CURES, RISK_CURES, link_findings, order_findings
from services.risk.core.rules import RULES
from shared.messages.control import BrokerStatus, LinkState, PacingViolation
from shared.messages.orders import Decision, OrderEvent, OrderState
from tests.unit.copilot_quant.cli.conftest import an_order

NOW = 1_800_000_000_000_000_000
MINUTE = 60 * 10**9


def status(code: int = 0, state: LinkState = LinkState.DEGRADED, **more: Any) -> BrokerStatus:
    content = {"instance": "gateway-1", "reason": "lost", "is_leader": True, "ts_init_ns": NOW - MINUTE, **more}
    return BrokerStatus(state=state, code=code, **content)


def rejected(
    code: str = "IB_201", text: str = "Order rejected - reason: insufficient equity", **more: Any
) -> OrderEvent:
    content = {"state": OrderState.REJECTED, "code": code, "text": text, "ts_init_ns": NOW - MINUTE, **more}
    return an_order(**content)


@pytest.mark.parametrize("code", [326, 502, 1100, 1300, 2110])
def test_a_link_that_is_down_is_said_with_its_code_and_cure(code: int) -> None:
    (found,) = link_findings([status(code)], NOW)
    assert found.state == "bad" and str(code) in found.text and found.cure == LINK_CURES[code]


def test_a_link_that_came_back_is_no_finding() -> None:
    assert link_findings([status(1100), status(1102, LinkState.READY)], NOW) == []


def test_a_gateway_that_stood_by_and_is_gone_is_a_warning_for_an_hour() -> None:
    gone = status(instance="gateway-2", is_leader=False, state=LinkState.DOWN)
    (found,) = link_findings([gone], NOW)
    assert found.state == "warn" and found.name == "gateway gateway-2" and "start it again" in found.cure
    assert link_findings([gone, status(instance="gateway-2", is_leader=False, state=LinkState.STANDBY)], NOW) == []
    assert link_findings([gone], NOW + 61 * MINUTE) == []


def test_the_last_word_of_a_leader_that_stands_by_now_is_no_finding() -> None:
    told = [status(1100, LinkState.DOWN), status(instance="gateway-2", state=LinkState.READY)]
    beats = [{"instance": "gateway-1", "role": "standby"}, {"instance": "gateway-2", "role": "leader"}]
    assert link_findings(told, NOW, beats) == []
    (found,) = link_findings(told, NOW, [{"instance": "gateway-1", "role": "leader"}])
    assert found.name == "link of gateway-1" and found.state == "bad"


def test_sessions_ended_for_pacing_are_counted_for_an_hour() -> None:
    broken = [status(100, LinkState.DOWN), status(0, LinkState.READY)]
    (found,) = link_findings(broken, NOW)
    assert found.name == "pacing" and "50 messages" in found.cure
    assert link_findings(broken, NOW + 61 * MINUTE) == []


def test_requests_refused_for_pacing_are_counted_for_an_hour_and_explained() -> None:
    def refused(code: int, request: str) -> PacingViolation:
        return PacingViolation(
            ts_init_ns=NOW - MINUTE, instance="gateway-1", code=code, text="pacing violation", request=request
        )

    told = [refused(162, "5 secs bars of 1800 S"), refused(420, "live bars"), refused(162, "30 secs bars of 1 D")]
    history, live = link_findings(told, NOW)
    assert history.name == "pacing" and "162" in history.text and "2 request(s)" in history.text
    assert "30 secs bars of 1 D" in history.text and history.cure == LINK_CURES[162] and live.cure == LINK_CURES[420]
    assert link_findings(told, NOW + 61 * MINUTE) == []


@pytest.mark.parametrize("code", list(ORDER_CURES))
def test_a_refusal_of_the_broker_has_its_text_and_a_cure(code: str) -> None:
    (found,) = order_findings([rejected(code, "said so")], NOW)
    assert found.name == "rejected by broker" and "said so" in found.text and found.cure == ORDER_CURES[code]


def test_read_only_says_what_to_untick() -> None:
    (found,) = order_findings([rejected("IB_321", "The API interface is currently in Read-Only mode.")], NOW)
    assert "Read-Only API" in found.cure


def test_a_refusal_of_risk_is_said_to_be_risks() -> None:
    refused = Decision(intent_id="x", approved=False, code="RISK_ORDER_QUANTITY_MAX", text="too large", ts_init_ns=NOW)
    (found,) = order_findings([refused], NOW)
    assert found.name == "rejected by risk" and "cq limits show" in found.cure


def test_equal_refusals_are_one_line_with_a_count_and_old_ones_none() -> None:
    old = rejected("IB_110", ts_init_ns=NOW - 61 * MINUTE)
    (found,) = order_findings([old, rejected(), rejected()], NOW)
    assert "IB_201" in found.text and "(2 times)" in found.text


def test_only_the_newest_kinds_are_shown() -> None:
    many = [rejected(f"IB_{code}", ts_init_ns=NOW - code) for code in range(900, 920)]
    found = order_findings(many, NOW)
    assert len(found) == MOST and "IB_900" in found[0].text


def test_what_is_no_refusal_is_none() -> None:
    assert order_findings([an_order(), Decision(intent_id="x", approved=True), rejected(intent_id="")], NOW) == []


def test_every_risk_code_with_a_cure_is_one_that_risk_has() -> None:
    assert set(RISK_CURES) <= {rule.code for rule in RULES} | {"RISK_NOT_READY"}

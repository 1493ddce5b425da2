from __future__ import annotations

import json
from decimal import Decimal

import pytest

from services.monitoring.core.views import KEEP, StatusView, price_row
from shared.messages.account import PnlReport, PositionReport, PositionsComplete, Unexplained
from shared.messages.control import BrokerStatus, HaltStage, HaltStatus, LinkState
from shared.messages.market import Bar, ContractInfo
from shared.messages.orders import (
    Commission,
    Decision,
    Fill,
    Intent,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    RuleResult,
    Side,
)

S = 1_000_000_000
LEG = OrderLeg(side=Side.BUY, quantity=Decimal("100"), order_type=OrderType.LIMIT, limit_price=Decimal("187.250"))


def intent(number: int = 0) -> Intent:
    return Intent(
        intent_id=f"{number:020d}",
        legs=(LEG,),
        con_id=1,
        strategy="momentum",
        account="DUSIM0001",
        valid_until_ns=S,
        ts_init_ns=S * 3600,
    )


def fill(stem: str, revision: int = 1) -> Fill:
    return Fill(
        exec_id=f"{stem}.{revision:02d}",
        exec_stem=stem,
        revision=revision,
        strategy="momentum",
        account="DUSIM0001",
        con_id=1,
        side=Side.BUY,
        quantity=Decimal(100),
        price=Decimal("187.2") + revision,
        ts_event_ns=12 * S,
    )


def view() -> StatusView:
    made = StatusView("sim", "sim")
    made.apply(ContractInfo(con_id=1, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD"))
    return made


def test_an_intent_meets_its_decision() -> None:
    shown = view()
    shown.apply(intent())
    rule = RuleResult(code="RISK_PRICE_COLLAR", ok=False, limit="5 %", measured="6.1 %")
    answer = Decision(intent_id=intent().intent_id, approved=False, code=rule.code, text="too far", failed=(rule,))
    shown.apply(answer)
    shown.apply(answer)
    state = shown.state(S)
    assert len(state["decisions"]) == 1
    row = state["decisions"][0]
    assert (row["order"], row["approved"], row["code"], row["limit"], row["measured"]) == (
        "BUY 100 LMT 187.25 AAPL",
        False,
        "RISK_PRICE_COLLAR",
        "5 %",
        "6.1 %",
    )
    assert (state["intents"][0]["decision"], state["intents"][0]["time"]) == ("rejected", "01:00:00")


def test_a_fill_read_twice_counts_once_and_a_correction_replaces_it() -> None:
    shown = view()
    for message in (fill("a.01"), fill("a.01"), fill("b.01"), fill("a.01", 2)):
        shown.apply(message)
    shown.apply(
        Commission(exec_id="a", strategy="s", account="DUSIM0001", con_id=1, commission=Decimal("1.05"), currency="USD")
    )
    state = shown.state(S)
    assert state["fills_total"] == 2
    assert [(row["exec_id"], row["price"], row["corrected"]) for row in state["fills"]] == [
        ("b.01.01", "188.2", False),
        ("a.01.02", "189.2", True),
    ]
    assert state["pnl"]["commissions"] == "1.05"


def test_lists_have_a_bound_and_the_newest_come_first() -> None:
    shown = view()
    for number in range(KEEP + 40):
        shown.apply(intent(number))
    rows = shown.state(S)["intents"]
    assert len(rows) == KEEP
    assert rows[0]["intent_id"].endswith(str(KEEP + 39))


@pytest.mark.parametrize(
    "mode, account, word",
    [("live", "U123", "U123"), ("live", "", "desk"), ("paper", "DU1", "desk"), ("sim", "DUSIM0001", "desk")],
)
def test_live_is_resumed_by_its_account_and_what_is_no_money_by_its_name(mode: str, account: str, word: str) -> None:
    shown = StatusView(mode, "desk")
    shown.account = account
    assert shown.resume_word() == word == shown.state(1)["resume_word"]


def test_the_leader_is_who_beats_as_leader() -> None:
    shown = view()
    assert shown.leader()["instance"] is None
    shown.heartbeats = [
        {"service": "gateway", "instance": "gw-1"},
        {"service": "gateway", "instance": "gw-2", "role": "leader", "epoch": 7, "broken_farms": ["usfarm"]},
    ]
    shown.apply(BrokerStatus(instance="gw-2", state=LinkState.DEGRADED, reason="1100", is_leader=True))
    shown.apply(BrokerStatus(instance="gw-1", state=LinkState.STANDBY))
    assert shown.leader() == {
        "instance": "gw-2", "epoch": 7, "link": "DEGRADED", "reason": "1100", "broken_farms": ["usfarm"],
    }  # fmt: skip
    assert {row["instance"]: row["state"] for row in shown.state(1)["gateways"]} == {
        "gw-2": "DEGRADED", "gw-1": "STANDBY",
    }  # fmt: skip


def test_positions_that_are_not_named_any_more_are_flat() -> None:
    shown = view()
    for con_id in (1, 2):
        shown.apply(PositionReport(account="DUSIM0001", con_id=con_id, position=Decimal(5)))
    shown.apply(PositionsComplete(account="DUSIM0001", con_ids=(1,)))
    assert [row["contract"] for row in shown.state(S)["positions"]] == ["AAPL"]


def test_an_unexplained_difference_goes_when_the_books_agree() -> None:
    shown = view()
    shown.apply(Unexplained(account="a", con_id=1, expected=Decimal(1), reported=Decimal(2)))
    assert len(shown.state(S)["unexplained"]) == 1
    shown.apply(Unexplained(account="a", con_id=1, expected=Decimal(2), reported=Decimal(2)))
    assert shown.state(S)["unexplained"] == []


def test_the_chart_has_bars_in_order_and_the_contracts_fills() -> None:
    shown = view()
    for number in (2, 1, 3):
        price = Decimal(number)
        at_ns = number * 5 * S
        bar = Bar(
            con_id=1,
            interval="5s",
            ts_open_ns=at_ns,
            ts_close_ns=at_ns + 5 * S,
            open=price,
            high=price,
            low=price,
            close=price,
        )
        shown.apply(bar)
    newest = shown.bars[1][15 * S]
    shown.apply(newest.model_copy(update={"close": Decimal("3.5"), "is_revised": True}))
    shown.apply(fill("a.01"))
    chart = shown.chart(1)
    assert [(row["time"], row["close"]) for row in chart["bars"]] == [(5, 1.0), (10, 2.0), (15, 3.5)]
    assert [(row["time"], row["side"]) for row in chart["fills"]] == [(12, "BUY")]
    assert shown.chart(99)["bars"] == []
    assert shown.state(S)["bars_total"] == 3


def test_the_whole_state_is_plain_json() -> None:
    shown = view()
    shown.apply(intent())
    shown.apply(fill("a.01"))
    shown.apply(HaltStatus(stage=HaltStage.HOLDING, who="anna"))
    shown.apply(PnlReport(account="DUSIM0001", daily=Decimal("-1.50")))
    shown.apply(
        OrderEvent(
            order_ref="r",
            state=OrderState.WORKING,
            strategy="s",
            account="DUSIM0001",
            con_id=1,
            side=Side.SELL,
            quantity=Decimal(1),
            order_type="STP",
        )
    )
    state = json.loads(json.dumps(shown.state(S)))
    assert (state["halt"]["stage"], state["pnl"]["daily"], state["orders_working"]) == ("holding", "-1.5", 1)
    assert state["is_simulated"] is True
    assert state["account"] == "DUSIM0001"


def test_last_prices_that_are_not_text_do_not_break_the_page() -> None:
    row = price_row(5, {"bid": b"\xff1", "ts_ns": b"soon"})
    assert (row["contract"], row["ts_ns"]) == ("#5", 0)


def test_account_values_are_shown_in_the_base_currency() -> None:
    shown = view()
    shown.account_values = {
        "NetLiquidation:USD": "5",
        "TotalCashValue:BASE": "4",
        "TotalCashValue:EUR": "1",
        "Other": "x",
    }
    assert shown.state(S)["account_values"] == {"NetLiquidation": "5", "TotalCashValue": "4"}
    shown.account_values = {"NetLiquidation": "6", "NetLiquidation:USD": "5"}
    assert shown.state(S)["account_values"] == {"NetLiquidation": "6"}


def test_a_price_whose_snapshot_has_no_name_yet_takes_it_from_a_units_declaration() -> None:
    view = StatusView("sim", "sim")
    view.strategies = [{"unit": "s/AAPL", "contracts": [265598], "names": ["AAPL@NASDAQ"]}, {"unit": "broken"}]
    view.prices = [{"con_id": 265598, "contract": "#265598"}, {"con_id": 7, "contract": "#7"}]
    view.learn_names()
    assert [row["contract"] for row in view.state(0)["prices"]] == ["AAPL@NASDAQ", "#7"]


@pytest.mark.parametrize(
    "price, shown", [("218.7", "218.70"), ("5", "5.00"), ("1.08345", "1.08345"), ("0.5000", "0.50")]
)
def test_a_price_in_an_order_has_all_its_digits_and_two_at_least(price: str, shown: str) -> None:
    view = StatusView("sim", "sim")
    leg = LEG.model_copy(update={"limit_price": Decimal(price)})
    view.apply(intent().model_copy(update={"legs": (leg,)}))
    assert view.state(0)["intents"][0]["order"] == f"BUY 100 LMT {shown} #1"


def test_the_chart_keeps_fills_that_the_list_has_dropped() -> None:
    view = StatusView("sim", "sim")
    for number in range(KEEP + 20):
        view.apply(fill(f"{number}"))
    assert len(view.state(0)["fills"]) == KEEP and len(view.chart(1)["fills"]) == KEEP + 20

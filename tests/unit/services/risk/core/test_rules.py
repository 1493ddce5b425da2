"""Each rule once kept and once broken: its code, its limit and what it measured."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.risk.core.decide import decide
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, Stage
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import broken_limits, default_limits, staged
from services.risk.core.rules import RULES
from shared.messages.account import ExchangeRate, PnlReport, PositionReport, PositionsComplete
from shared.messages.control import BrokerStatus, Control, ControlAction, LinkState, Reconciled
from shared.messages.market import PriceIncrement
from shared.messages.orders import Decision, Group, Intent, OrderState, OrderType
from tests.risk_desk import (
    ACCOUNT,
    INCARNATION,
    NOW,
    SECOND,
    D,
    bracket_of,
    decided,
    event_of,
    fill_of,
    hold,
    info,
    intent_of,
    leg_of,
    limits_with,
    modify_of,
    ready_book,
    report,
    set_price,
)


def ask(intent: Intent, book: Book | None = None, limits: Limits | None = None, now_ns: int = NOW) -> Decision:
    return decide(intent, book or ready_book(), limits or default_limits(), now_ns).decision


def codes(decision: Decision) -> list[str]:
    return [result.code for result in decision.failed]


def test_a_plain_order_is_approved_and_becomes_a_command() -> None:
    intent = intent_of(1)
    verdict = decide(intent, ready_book(), default_limits(), NOW)
    assert verdict.decision.approved and verdict.decision.failed == () and verdict.decision.code == ""
    command = verdict.command
    assert command is not None and command.intent == intent
    assert (command.not_after_ns, command.incarnation, command.risk_epoch) == (intent.valid_until_ns, INCARNATION, 7)


def test_all_failures_are_listed_the_decisive_one_first() -> None:
    book = ready_book()
    book.breakers.set_stage("holding", "drill")
    decision = ask(intent_of(1, quantity=6000, price="120.00", account="DUSIM0002"), book)
    assert codes(decision)[0] == decision.code == "RISK_ACCOUNT"
    assert {
        "RISK_HALTED", "RISK_ORDER_QUANTITY_MAX", "RISK_ORDER_NOTIONAL_MAX", "RISK_PRICE_COLLAR", "RISK_POSITION_MAX",
        "RISK_STRATEGY_POSITION_MAX", "RISK_EXPOSURE_GROSS_MAX",
    } <= set(codes(decision))  # fmt: skip


@pytest.mark.parametrize(
    "code, values",
    [
        ("RISK_INCARNATION", {"incarnation": "another:one"}),
        ("RISK_INCARNATION", {"incarnation": ""}),
        ("RISK_EXPIRED", {"valid_until_ns": NOW - 1}),
        ("RISK_ACCOUNT", {"account": "DUSIM0002"}),
        ("RISK_STRATEGY_UNKNOWN", {"strategy": "unassigned"}),
        ("RISK_CONTRACT_UNKNOWN", {"con_id": 99}),
        ("RISK_TICK_SIZE", {"price": "100.005"}),
        ("RISK_TICK_SIZE", {"quantity": "1.5"}),
        ("RISK_TICK_SIZE", {"price": "-1.00"}),
        ("RISK_TICK_SIZE", {"quantity": "1E+15"}),
        ("RISK_PRICE_COLLAR", {"price": "105.02"}),
        ("RISK_PRICE_COLLAR", {"side": "SELL", "price": "94.99"}),
        ("RISK_ORDER_QUANTITY_MAX", {"quantity": 1001}),
        ("RISK_ORDER_NOTIONAL_MAX", {"quantity": 1000, "price": "100.01"}),
        ("RISK_STRATEGY_POSITION_MAX", {"quantity": 1001}),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_order_is_named(code: str, values: dict[str, Any]) -> None:
    decision = ask(intent_of(1, **values))
    assert code in codes(decision)
    found = next(result for result in decision.failed if result.code == code)
    assert found.is_hard and found.text and not found.ok


@pytest.mark.parametrize("values", [{"price": "105.00"}, {"side": "SELL", "price": "95.00"}, {"price": "1.00"}])
def test_the_collar_only_looks_at_prices_worse_than_the_market(values: dict[str, Any]) -> None:
    assert "RISK_PRICE_COLLAR" not in codes(ask(intent_of(1, **values)))


def test_a_stop_limit_is_compared_with_its_own_stop() -> None:
    stop: dict[str, Any] = {"order_type": OrderType.STOP_LIMIT, "stop_price": D("120.00")}
    assert ask(intent_of(1, legs=(leg_of("BUY", 1, "121.00", **stop),))).approved
    assert codes(ask(intent_of(1, legs=(leg_of("BUY", 1, "127.00", **stop),)))) == ["RISK_PRICE_COLLAR"]


def test_the_tick_follows_the_market_rule_of_the_price() -> None:
    book = ready_book()
    rows = (PriceIncrement(low_edge=D(0), increment=D("0.0001")), PriceIncrement(low_edge=D(1), increment=D("0.05")))
    book.apply(info(1, increments=rows), NOW)
    assert codes(ask(intent_of(1, price="100.01"), book)) == ["RISK_TICK_SIZE"]
    assert ask(intent_of(1, price="100.05"), book).approved


def test_bracket_children_must_close_their_parent() -> None:
    assert ask(bracket_of(1)).approved
    same = (leg_of("BUY", 10), leg_of("BUY", 10, "101.00", 1, parent_leg=0))
    larger = (leg_of("BUY", 10), leg_of("SELL", 11, "101.00", 1, parent_leg=0))
    for legs in (same, larger):
        assert ask(intent_of(1, legs=legs, group=Group.BRACKET)).code == "RISK_GROUP_SHAPE"


def test_types_and_times_in_force_must_be_enabled() -> None:
    assert ask(intent_of(1, price=None), limits=limits_with(order_types=("LMT",))).code == "RISK_ORDER_TYPE"
    assert ask(intent_of(1), limits=limits_with(tifs=("GTC",))).code == "RISK_ORDER_TYPE"


def test_a_list_of_strategies_is_complete_but_people_may_always_trade() -> None:
    limits = limits_with(strategies=("momentum",))
    assert ask(intent_of(1), limits=limits).code == "RISK_STRATEGY_UNKNOWN"
    assert ask(intent_of(1, strategy="momentum"), limits=limits).approved
    assert ask(intent_of(1, strategy="manual"), limits=limits).approved


def test_a_modify_needs_a_working_order_of_the_same_strategy_and_side() -> None:
    book, limits = ready_book(), default_limits()
    assert ask(modify_of(2, 1, "BUY", 5), book).code == "RISK_ORDER_UNKNOWN"
    decided(intent_of(1), book, limits)
    book.apply(event_of(1, OrderState.WORKING), NOW)
    assert ask(modify_of(2, 1, "BUY", 20, "99.00"), book).approved
    assert ask(modify_of(2, 1, "SELL", 20), book).code == "RISK_ORDER_UNKNOWN"
    assert ask(modify_of(2, 1, "BUY", 20, strategy="other"), book).code == "RISK_ORDER_UNKNOWN"
    book.apply(event_of(1, OrderState.CANCELLED), NOW)
    assert ask(modify_of(2, 1, "BUY", 20), book).code == "RISK_ORDER_UNKNOWN"


def test_a_modify_counts_the_larger_of_old_and_new() -> None:
    book, limits = ready_book(), limits_with(position_quantity_max=100)
    decided(intent_of(1, quantity=60), book, limits)
    book.apply(event_of(1, OrderState.WORKING, quantity=60), NOW)
    assert decided(modify_of(2, 1, "BUY", 101), book, limits).decision.code == "RISK_POSITION_MAX"
    assert decided(modify_of(3, 1, "BUY", 10, "99.00"), book, limits).decision.approved
    assert ask(intent_of(4, quantity=41), book, limits).code == "RISK_POSITION_MAX"
    book.apply(event_of(1, OrderState.WORKING, quantity=10, limit_price=D("99.00")), NOW)
    assert ask(intent_of(4, quantity=41), book, limits).approved


def test_the_worst_case_counts_positions_work_and_reservations_both_ways() -> None:
    book, limits = ready_book(), limits_with(position_quantity_max=100)
    hold(book, 1, 50)
    assert decided(intent_of(1, "BUY", 50), book, limits).command is not None
    last = ask(intent_of(2, "BUY", 1), book, limits)
    assert (last.code, last.failed[0].limit, last.failed[0].measured) == ("RISK_POSITION_MAX", "100", "101")
    assert decided(intent_of(3, "SELL", 150), book, limits).command is not None
    assert ask(intent_of(4, "SELL", 1), book, limits).code == "RISK_POSITION_MAX"


def test_gross_exposure_is_the_sum_over_contracts_in_base_currency() -> None:
    book, limits = ready_book(), limits_with(exposure_gross_max=20_000)
    hold(book, 1, -50)
    assert decided(intent_of(1, quantity=150, con_id=2), book, limits).command is not None
    decision = ask(intent_of(2, quantity=1, con_id=3), book, limits)
    assert decision.code == "RISK_EXPOSURE_GROSS_MAX" and decision.failed[0].measured == "20100.00 USD"


def test_money_uses_multiplier_magnifier_and_rate_and_refuses_what_is_unknown() -> None:
    book, limits = ready_book(), limits_with(order_notional_max=5000)
    book.apply(info(4, multiplier=D(50), price_magnifier=D(100), currency="GBP"), NOW)
    set_price(book, 4, 100.0)
    unknown = ask(intent_of(1, con_id=4), book, limits)
    assert unknown.code == "RISK_MONEY_UNKNOWN" and "GBP" in unknown.text
    book.apply(ExchangeRate(account=ACCOUNT, currency="GBP", rate=D("1.25")), NOW)
    assert ask(intent_of(1, quantity=80, con_id=4), book, limits).approved  # 80 x 100 x 50 / 100 x 1.25 = 5000
    assert ask(intent_of(1, quantity=81, con_id=4), book, limits).failed[0].measured == "5062.50 USD"


def test_a_holding_of_unknown_worth_refuses_entries_elsewhere() -> None:
    book = ready_book()
    hold(book, 77, 10)
    book.contract(77).average_cost = Decimal(0)
    assert ask(intent_of(1), book).code == "RISK_MONEY_UNKNOWN"


def test_buying_power_covers_the_order_and_all_that_works() -> None:
    book, limits = ready_book(buying_power="10000"), limits_with(buying_power_share=1)
    assert decided(intent_of(1, quantity=60), book, limits).command is not None
    assert ask(intent_of(2, quantity=41), book, limits).code == "RISK_BUYING_POWER"
    book.apply(event_of(1, OrderState.FILLED, quantity=60), NOW)
    still = ask(intent_of(2, quantity=41), book, limits)
    assert still.code == "RISK_BUYING_POWER", "the broker's figure is older than the fill"


def test_unknown_buying_power_refuses() -> None:
    book = ready_book(buying_power="nonsense")
    assert "RISK_BUYING_POWER" in codes(ask(intent_of(1), book))


def test_data_that_are_old_missing_or_delayed() -> None:
    book, limits = ready_book(), limits_with(data_age_max_s=60, delayed_data="warn")
    late = NOW + 60 * SECOND + 1
    valid: dict[str, Any] = {"valid_until_ns": late + SECOND}
    assert ask(intent_of(1, **valid), book, limits, late - 1).approved
    assert ask(intent_of(1, **valid), book, limits, late).code == "RISK_DATA_STALE"
    book.apply(info(9), NOW)
    assert ask(intent_of(1, con_id=9), book, limits).code == "RISK_DATA_STALE"
    set_price(book, 1, 100.0, quality=3)
    warned = ask(intent_of(1), book, limits)
    assert warned.approved and warned.warned[0].code == "RISK_DATA_DELAYED" and not warned.warned[0].is_hard
    assert ask(intent_of(1), book, limits_with(delayed_data="refuse")).code == "RISK_DATA_DELAYED"


def test_rates_are_per_strategy_and_account_and_refill() -> None:
    book = ready_book()
    limits = limits_with(strategy_rate_per_s=1, strategy_rate_burst=2, account_rate_per_s=1, account_rate_burst=3)
    assert all(decided(intent_of(n), book, limits).command for n in (1, 2))
    assert decided(intent_of(3), book, limits).decision.code == "RISK_ORDER_RATE"
    assert decided(intent_of(4, strategy="t"), book, limits).command is not None
    assert decided(intent_of(5, strategy="t"), book, limits).decision.text.startswith("the account")
    assert decided(intent_of(6), book, limits, NOW + 2 * SECOND).command is not None


def test_open_orders_are_counted_per_side_and_in_all() -> None:
    book, limits = ready_book(), limits_with(open_orders_side_max=2, open_orders_max=3)
    assert all(decided(intent_of(n, quantity=1), book, limits).command for n in (1, 2))
    assert ask(intent_of(3, quantity=1), book, limits).code == "RISK_OPEN_ORDERS_MAX"
    assert decided(intent_of(4, "SELL", 1), book, limits).command is not None
    assert ask(intent_of(5, quantity=1, con_id=2), book, limits).code == "RISK_OPEN_ORDERS_MAX"


def test_a_halt_a_pause_and_a_daily_loss_hold_until_a_person_resumes() -> None:
    book, limits = ready_book(), limits_with(daily_loss_max=1000)

    def control(action: ControlAction, scope: str = "account") -> None:
        book.apply(Control(control_id="c", action=action, scope=scope, who="me", reason="why"), NOW)

    control(ControlAction.HALT)
    assert ask(intent_of(1), book, limits).code == "RISK_HALTED"
    control(ControlAction.RESUME)
    assert ask(intent_of(1), book, limits).approved
    control(ControlAction.HALT, "contract:1")
    assert ask(intent_of(1), book, limits).code == "RISK_HALTED"
    assert ask(intent_of(1, con_id=2), book, limits).approved
    control(ControlAction.RESUME, "contract:1")
    control(ControlAction.PAUSE_STRATEGY, "strategy:s")
    assert ask(intent_of(1), book, limits).code == "RISK_STRATEGY_PAUSED"
    assert ask(intent_of(1, strategy="t"), book, limits).approved
    control(ControlAction.RESUME_STRATEGY, "strategy:s")
    book.apply(PnlReport(account=ACCOUNT, daily=D(-1001)), NOW)
    assert ask(intent_of(1), book, limits).code == "RISK_DAILY_LOSS_MAX"
    book.apply(PnlReport(account=ACCOUNT, daily=D(5)), NOW)
    assert ask(intent_of(1), book, limits).code == "RISK_DAILY_LOSS_MAX", "latched"
    control(ControlAction.RESUME)
    assert ask(intent_of(1), book, limits).approved
    book.breakers.set_stage("", "")
    assert ask(intent_of(1), book, limits).code == "RISK_HALTED", "a missing halt state is a halt (P6)"


def test_nothing_new_before_the_gateway_has_reconciled_in_this_epoch_and_incarnation() -> None:
    book = ready_book()
    book.readiness.saw_epoch(6)
    assert ask(intent_of(1), book).code == "RISK_NOT_READY"
    book.apply(Reconciled(instance="g2", epoch=6, incarnation="another:one"), NOW)
    assert ask(intent_of(1), book).code == "RISK_NOT_READY"
    book.apply(Reconciled(instance="g2", epoch=6, incarnation=INCARNATION), NOW)
    assert ask(intent_of(1), book).approved
    book.apply(BrokerStatus(instance="g2", state=LinkState.DOWN, is_leader=True, epoch=6), NOW)
    assert ask(intent_of(1), book).code == "RISK_NOT_READY"
    book.apply(BrokerStatus(instance="g1", state=LinkState.READY, is_leader=True, epoch=5), NOW)
    assert ask(intent_of(1), book).code == "RISK_NOT_READY", "an older leader's word counts no more"


def test_books_that_do_not_add_up_make_a_contract_reduce_only() -> None:
    book = ready_book()
    hold(book, 1, 100)
    report(book, 1, 60, NOW + SECOND)
    assert ask(intent_of(1), book, now_ns=NOW + 2 * SECOND).approved, "the broker reports fills and positions apart"
    late = NOW + 12 * SECOND
    assert ask(intent_of(1), book, now_ns=late).code == "RISK_REDUCE_ONLY"
    assert ask(intent_of(2, con_id=2), book, now_ns=late).approved
    assert ask(intent_of(3, "SELL", 60), book, now_ns=late).approved
    assert ask(intent_of(4, "SELL", 61), book, now_ns=late).code == "RISK_WOULD_CROSS_ZERO"
    report(book, 1, 100, late)
    assert ask(intent_of(1), book, now_ns=late).approved


def test_a_strategy_does_not_close_again_what_a_person_closed_in_tws() -> None:
    book, limits = ready_book(), limits_with()
    hold(book, 1, 100)
    fill_of(book, 0, 1, "SELL", 60, exec_id="tws.01.01", intent_id="", strategy="unassigned", perm_id=77)
    report(book, 1, 40)
    assert book.contract(1).by_strategy == {"s": D(100), "unassigned": D(-60)}
    assert ask(intent_of(1, "SELL", 40), book, limits).is_reducing
    refused = ask(intent_of(2, "SELL", 41), book, limits)
    assert refused.code == "RISK_WOULD_CROSS_ZERO" and "-60" in refused.text
    assert decided(intent_of(3, "SELL", 30), book, limits).command is not None
    assert ask(intent_of(4, "SELL", 11), book, limits).code == "RISK_WOULD_CROSS_ZERO", "what works counts"
    assert ask(intent_of(5, "BUY", 10), book, limits).code == "RISK_OWNERS_UNSETTLED"


def test_strategies_on_both_sides_may_each_close_their_own() -> None:
    book, limits = ready_book(), limits_with()
    hold(book, 1, 100)
    hold(book, 1, -100, strategy="t", number=901)
    assert book.contract(1).total == 0
    assert ask(intent_of(1, "SELL", 100), book, limits).approved
    assert ask(intent_of(2, "BUY", 100, strategy="t"), book, limits).approved


def test_a_live_deployment_that_observes_opens_nothing_and_may_close() -> None:
    book, limits = ready_book(), staged(limits_with(), Stage.OBSERVE)
    hold(book, 1, 10)
    assert ask(intent_of(1), book, limits).code == "RISK_NOT_ARMED"
    assert ask(intent_of(2, "SELL", 10), book, limits).approved
    assert ask(intent_of(3), book, staged(limits_with(), Stage.ARMED)).approved


def test_the_limited_stage_allows_no_more_than_the_smallest_profile() -> None:
    limits = parse_limits(
        "[limits]\nprice_collar_percent = 1\n[strategies.s]\norder_quantity_max = 500\ntifs = ['DAY']"
    )
    limited = staged(limits, Stage.LIMITED)
    found = limited.for_order("s", 1, info(1))
    assert (found.order_quantity_max, found.price_collar_percent, found.tifs) == (10, 1, ("DAY",))
    assert limited.base.short_selling == "refuse" and limited.base.exposure_gross_max == 5000
    assert limits.base.exposure_gross_max == 500_000, "the file's own stay as they are"


def test_a_broken_limits_file_is_named_and_refuses_entries() -> None:
    decision = ask(intent_of(1), limits=broken_limits(["limits.toml, line 3: x", "y"]))
    assert decision.code == "RISK_LIMITS_BROKEN" and "line 3" in decision.text


def test_the_first_holdings_are_nobodys_and_count() -> None:
    book = Book(ACCOUNT, incarnation=INCARNATION)
    book.apply(PositionReport(account=ACCOUNT, con_id=1, position=D(90), average_cost=D(100)), NOW)
    book.apply(PositionsComplete(account=ACCOUNT, con_ids=(1,)), NOW)
    book.apply(Reconciled(instance="g1", epoch=5, incarnation=INCARNATION), NOW)
    assert book.contract(1).by_strategy == {"unassigned": D(90)}
    assert book.contract(1).differs_since_ns == 0


def test_rules_that_reductions_must_keep_are_few_and_known() -> None:
    assert {rule.code for rule in RULES if rule.applies_to_reducing} == {
        "RISK_INCARNATION", "RISK_EXPIRED", "RISK_ACCOUNT", "RISK_STRATEGY_UNKNOWN", "RISK_ORDER_UNKNOWN",
        "RISK_GROUP_SHAPE", "RISK_TICK_SIZE", "RISK_ORDER_QUANTITY_MAX",
    }  # fmt: skip

"""The quick proof and the rules one by one answer the same: whatever was traded, priced, limited or changed before."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from math import inf, nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.case import Case
from services.risk.core.days import Window
from services.risk.core.decide import RULE_BOOK, RuleBook, decide, decide_by_rules
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits
from services.risk.core.quick import COVERED
from services.risk.core.rule import Finding, Rule, Scope
from services.risk.core.rules import RULES
from services.risk.core.terms import float_below
from shared.ids import MANUAL
from shared.messages.account import AccountSnapshot, AccountTag, BookMove, ExchangeRate, PositionReport
from shared.messages.control import BrokerStatus, Control, ControlAction, LinkState, SharesToBorrow
from shared.messages.market import PriceIncrement, TickKind
from shared.messages.orders import Intent, OrderState
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    SECOND,
    D,
    cancel_of,
    event_of,
    hold,
    info,
    intent_of,
    leg_of,
    limits_with,
    ready_book,
    set_price,
)

CON_IDS = (1, 2, 3)
HOURS = "20231114:1430-20231114:2300;20231115:1430-20231115:2100"
TICKS = (PriceIncrement(low_edge=Decimal(0), increment=Decimal("0.05")),)


def market() -> Book:
    """A stock, a stock in another currency, and a future whose hours and expiry are known."""
    book = ready_book(CON_IDS)
    book.apply(info(2, currency="EUR", increments=TICKS), NOW)
    book.apply(info(3, sec_type="FUT", multiplier=D(5), expiry="20231117", trading_hours=HOURS, time_zone="UTC"), NOW)
    book.apply(ExchangeRate(account=ACCOUNT, currency="EUR", rate=D("1.25")), NOW)
    worth = [("NetLiquidation", "100000"), ("TotalCashValue", "50000")]
    tags = tuple(AccountTag(tag=tag, value=value, currency="USD") for tag, value in worth)
    book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=tags), NOW)
    return book


def _one_of(*values: object) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


choices = st.sampled_from(["allow", "warn", "refuse"])
limit_sets = st.builds(
    limits_with,
    order_quantity_max=_one_of(40), order_notional_max=_one_of(3000), price_collar_percent=_one_of(1),
    price_collar_ticks=_one_of(60), position_quantity_max=_one_of(60),
    market_slippage_percent=_one_of(0, D("0.05"), D("0.1"), 1),
    position_notional_max=_one_of(7000), strategy_position_quantity_max=_one_of(50),
    strategy_position_notional_max=_one_of(6000), exposure_gross_max=_one_of(12_000), exposure_net_max=_one_of(9000),
    exposure_currency_max=_one_of(5000), concentration_percent=_one_of(6), buying_power_share=_one_of(D("0.01")),
    cash_min=_one_of(40_000), strategy_rate_per_s=_one_of(1), strategy_rate_burst=_one_of(2),
    account_rate_per_s=_one_of(2), account_rate_burst=_one_of(4), messages_per_s_max=_one_of(2, 3.5),
    open_orders_max=_one_of(5),
    open_orders_side_max=_one_of(2, 2.5), turnover_day_max=_one_of(9000), trades_day_max=_one_of(2),
    orders_per_fill_max=_one_of(1), repeats=choices, repeats_max=_one_of(3), duplicates=choices,
    duplicate_window_s=_one_of(1), self_cross=choices, strategy_loss_max=_one_of(50), rejects_max=_one_of(1),
    strategy_drawdown_max=_one_of(40),
    data_age_max_s=_one_of(30), frozen_data=choices, crossed_quotes=choices, market_closed=choices,
    expiry_days_min=_one_of(3), short_selling=choices, short_unavailable=choices,
    protection=st.sampled_from(["allow", "allow", "refuse"]),
    broker_windows=st.sampled_from([(), (Window.of("22:14-22:15 UTC"),)]),
    order_types=st.sampled_from([("LMT", "MKT", "STP", "STP LMT"), ("LMT",)]), tifs=st.just(("DAY", "GTC")),
    strategies=st.sampled_from([("any",), ("a",)]), contracts_restricted=st.sampled_from([(), ("S1",)]),
)  # fmt: skip

steps = st.one_of(
    st.tuples(
        st.just("ask"), st.sampled_from(CON_IDS), st.sampled_from(["BUY", "SELL"]),
        st.sampled_from([1, 5, 20, 41, "1.5", 10**13]),
        st.sampled_from([None, "99.00", "99.95", "100.00", "100.05", "100.03", "101.50", "-1", "1000000000000"]),
        st.sampled_from(["a", "b", MANUAL, "unassigned"]), st.booleans(),
    ),
    st.tuples(
        st.just("hold"), st.sampled_from(CON_IDS), st.integers(-60, 60),
        st.sampled_from(["a", "b", MANUAL, "unassigned"]),
    ),
    st.tuples(
        st.just("price"), st.sampled_from(CON_IDS), st.sampled_from([99.9, 100.0, 104.0]), st.sampled_from([1, 2, 3])
    ),
    st.tuples(st.just("cross"), st.sampled_from(CON_IDS)),
    st.tuples(st.just("spread"), st.sampled_from(CON_IDS), st.sampled_from([0.05, 0.1, 0.11])),
    st.tuples(st.just("report"), st.sampled_from(CON_IDS), st.sampled_from([0, 30])),
    st.tuples(st.just("link"), st.sampled_from([LinkState.READY, LinkState.READY, LinkState.RECONCILING])),
    st.tuples(st.just("day_trades"), st.sampled_from(["0", "3", "-1"])),
    st.tuples(
        st.just("give"), st.sampled_from(CON_IDS), st.integers(-60, 60), st.sampled_from(["a", "unassigned"])
    ),
    st.tuples(st.just("work"), st.sampled_from(CON_IDS), st.sampled_from(["BUY", "SELL"]), st.integers(1, 30)),
    st.tuples(st.just("reject"), st.sampled_from(CON_IDS)),
    st.tuples(st.just("halt"), st.sampled_from(["contract:1", "strategy:a", "account"]), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1, 20 * SECOND, 61 * SECOND, 86_400 * SECOND, -2 * SECOND])),
    st.tuples(st.just("limits"), limit_sets),
    st.tuples(st.just("define"), st.sampled_from(CON_IDS), st.sampled_from(["0.01", "0.05"])),
    st.tuples(st.just("cancel"), st.sampled_from([1, 3])),
    st.tuples(st.just("lend"), st.sampled_from(CON_IDS), st.sampled_from([0, 10, 30])),
    st.tuples(st.just("worth"), st.sampled_from(["0", "3000", "1000000"])),
)  # fmt: skip


class Desk:
    """One book that everything happens to."""

    def __init__(self, limits: Limits, rules: RuleBook) -> None:
        self.book, self.limits, self.rules = market(), limits, rules
        self.now_ns, self.number = NOW, 100
        self.proven = self.asked = 0

    def take(self, step: tuple[Any, ...]) -> None:
        self.number += 1
        getattr(self, f"_{step[0]}")(*step[1:])

    def _ask(self, con_id: int, side: str, quantity: Any, price: str | None, strategy: str, is_late: bool) -> None:
        legs = (leg_of(side, quantity, price),)
        late_ns = -1 if is_late and self.number % 5 == 0 else SECOND
        asked = intent_of(
            self.number, legs=legs, con_id=con_id, strategy=strategy, valid_until_ns=self.now_ns + late_ns
        )
        self.compare(asked)

    def compare(self, intent: Intent) -> None:
        by_rules = decide_by_rules(intent, self.book, self.limits, self.now_ns, self.rules)
        self.asked += 1
        self.proven += self.rules.proven(intent, self.book, self.limits, self.now_ns) is not None
        verdict = decide(intent, self.book, self.limits, self.now_ns, self.rules)
        assert verdict == by_rules
        if verdict.command is not None:
            self.book.reserve(intent, self.now_ns, verdict.rates)

    def _hold(self, con_id: int, quantity: int, strategy: str) -> None:
        if quantity:
            hold(self.book, con_id, quantity, strategy=strategy, number=self.number)

    def _lend(self, con_id: int, shares: int) -> None:
        self.book.apply(SharesToBorrow(con_id=con_id, shares=D(shares)), self.now_ns)

    def _price(self, con_id: int, price: float, quality: int) -> None:
        set_price(self.book, con_id, price, ts_ns=self.now_ns, quality=quality)

    def _cross(self, con_id: int) -> None:
        self.book.apply_tick(con_id, TickKind.QUOTE, 1, self.now_ns, 100.5, 100.0)

    def _spread(self, con_id: int, half: float) -> None:
        self.book.apply_tick(con_id, TickKind.QUOTE, 1, self.now_ns, 100 - half, 100 + half)

    def _report(self, con_id: int, position: int) -> None:
        report = PositionReport(account=ACCOUNT, con_id=con_id, position=D(position), currency="USD")
        self.book.apply(report, self.now_ns)

    def _link(self, state: LinkState) -> None:
        epoch = self.book.readiness.epoch
        self.book.apply(BrokerStatus(instance="g", state=state, is_leader=True, epoch=epoch), self.now_ns)

    def _day_trades(self, left: str) -> None:
        tag = AccountTag(tag="DayTradesRemaining", value=left, currency="")
        self.book.apply(AccountSnapshot(account=ACCOUNT, currency="USD", values=(tag,)), self.now_ns)

    def _give(self, con_id: int, quantity: int, taken_from: str) -> None:
        move = BookMove(
            account=ACCOUNT, con_id=con_id, taken_from=taken_from, strategy="b", quantity=D(quantity), price=D(100),
            move_id=str(self.number), who="me",
        )  # fmt: skip
        self.book.apply(move, self.now_ns)

    def _work(self, con_id: int, side: str, quantity: int) -> None:
        event = event_of(self.number, OrderState.WORKING, side=side, quantity=quantity, con_id=con_id)
        self.book.apply(event, self.now_ns)

    def _cancel(self, times: int) -> None:
        for _ in range(times):
            self.book.apply(cancel_of(self.number - 1), self.now_ns)

    def _reject(self, con_id: int) -> None:
        self.book.apply(event_of(self.number, OrderState.REJECTED, con_id=con_id), self.now_ns)

    def _halt(self, scope: str, is_on: bool) -> None:
        action = ControlAction.HALT if is_on else ControlAction.RESUME
        self.book.apply(Control(control_id=str(self.number), action=action, scope=scope, who="me"), self.now_ns)

    def _wait(self, ns: int) -> None:
        self.now_ns += ns

    def _limits(self, limits: Limits) -> None:
        self.limits = limits

    def _define(self, con_id: int, tick: str) -> None:
        known = self.book.contract(con_id).info
        assert known is not None
        ladder = (PriceIncrement(low_edge=Decimal(0), increment=Decimal(tick)),)
        self.book.apply(known.model_copy(update={"increments": ladder}), self.now_ns)

    def _worth(self, value: str) -> None:
        tags = [AccountTag(tag=tag, value=value, currency="USD") for tag in ("NetLiquidation", "BuyingPower")]
        self.book.apply(AccountSnapshot(account=ACCOUNT, values=tuple(tags)), self.now_ns)


class NoFives(Rule):
    """A user's rule, which the proof does not know."""

    code = "USER_NO_FIVES"
    scope = Scope.ORDER
    citation = "a test"

    def check(self, case: Case) -> Finding | None:
        return Finding("five is one too many") if case.quantity == 5 else None


@given(limits=limit_sets, taken=st.lists(steps, min_size=1, max_size=25))
def test_the_proof_and_the_rules_answer_the_same(limits: Limits, taken: list[tuple[Any, ...]]) -> None:
    desk = Desk(limits, RULE_BOOK)
    for step in taken:
        desk.take(step)


@given(limits=limit_sets, taken=st.lists(steps, min_size=1, max_size=15))
def test_a_users_rule_is_asked_beside_the_proof(limits: Limits, taken: list[tuple[Any, ...]]) -> None:
    desk = Desk(limits, RuleBook([*RULES, NoFives()]))
    for step in taken:
        desk.take(step)


def test_plain_orders_are_proven_and_what_a_user_forbids_is_not() -> None:
    desk = Desk(limits_with(order_quantity_max=100, exposure_gross_max=10**6, data_age_max_s=60), RULE_BOOK)
    for number in range(20):
        desk.take(("ask", 1, "BUY" if number % 3 else "SELL", 5, None if number % 2 else "100.00", "a", False))
    assert desk.proven == desk.asked == 20
    desk = Desk(desk.limits, RuleBook([*RULES, NoFives()]))
    desk.take(("ask", 1, "BUY", 5, "100.00", "a", False))
    assert desk.proven == 0
    desk.take(("ask", 1, "BUY", 6, "100.00", "a", False))
    assert desk.proven == 1


@pytest.mark.parametrize(
    "troubles",
    [
        [("halt", "contract:1", True)],
        [("link", LinkState.RECONCILING)],
        [("day_trades", "0")],
        [("report", 1, 30), ("wait", 11 * SECOND)],
        [("cross", 1)],
        [("price", 1, 100.0, 3)],
        [("hold", 1, 30, "a"), ("hold", 1, -10, "unassigned")],
    ],
    ids=lambda troubles: str(troubles[0][0]),
)
def test_what_goes_wrong_ends_the_proof(troubles: list[tuple[Any, ...]]) -> None:
    desk = Desk(limits_with(order_quantity_max=100), RULE_BOOK)
    desk.take(("ask", 1, "BUY", 5, "99.95", "a", False))
    assert desk.proven == 1
    for step in troubles:
        desk.take(step)
    desk.take(("ask", 1, "BUY", 5, "99.95", "a", False))
    assert desk.proven == 1 and desk.asked == 2


@pytest.mark.parametrize(
    ("name", "limit", "side"),
    [
        ("position_quantity_max", 104, "BUY"),
        ("strategy_position_quantity_max", 104, "BUY"),
        ("exposure_net_max", 10_400, "BUY"),
        ("exposure_net_max", 9_000, "SELL"),
        ("exposure_gross_max", 10_400, "BUY"),
        ("exposure_gross_max", 9_000, "SELL"),
        ("position_notional_max", 10_400, "BUY"),
        ("strategy_position_notional_max", 10_400, "BUY"),
    ],
)
def test_one_share_too_many_is_not_proven(name: str, limit: int, side: str) -> None:
    desk = Desk(limits_with(**{name: limit}), RULE_BOOK)
    desk.take(("hold", 1, 100, "a"))
    desk.take(("ask", 1, side, 5, "100.00", "a", False))
    assert desk.proven == 0


@given(bound=st.decimals(-1000, 1000, places=6), steps_off=st.integers(-3, 3))
def test_a_float_is_within_a_limit_exactly_if_it_is_within_its_float(bound: Decimal, steps_off: int) -> None:
    most = float_below(bound)
    assert most is not None and most <= bound
    near = float(bound)
    for _ in range(abs(steps_off)):
        near = nextafter(near, inf if steps_off > 0 else -inf)
    assert (near <= most) is (near <= bound)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_is_covered_or_asked_apart(rule: Rule) -> None:
    ways = [
        type(rule) in COVERED, rule.is_about_terms, rule.is_for_trouble, rule.is_for_modifies, rule.is_for_groups,
    ]  # fmt: skip
    assert sum(ways) == 1, "a rule that is covered in two ways, or in none, is a mistake of the proof"


def test_hours_end_what_the_proof_remembers() -> None:
    limits = replace(limits_with(market_closed="refuse"))
    book = market()
    at = NOW - NOW % (86_400 * SECOND) + 22 * 3600 * SECOND + 3590 * SECOND  # 22:59:50, the market closes at 23:00
    set_price(book, 3, 100.0, ts_ns=at)
    intent = intent_of(1, con_id=3, valid_until_ns=at + 100 * SECOND)
    assert decide(intent, book, limits, at).decision.approved
    refused = decide(intent, book, limits, at + 20 * SECOND).decision
    assert refused.code == "RISK_MARKET_CLOSED"

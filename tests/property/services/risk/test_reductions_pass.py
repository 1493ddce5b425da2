"""P7, the other half: a position can always be reduced, in every state of the system and under every rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.breakers import Trip
from services.risk.core.days import Window
from services.risk.core.decide import RuleBook, decide
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits, Stage
from services.risk.core.margins import Margin
from services.risk.core.profiles import broken_limits
from services.risk.core.rules import RULES
from services.risk.core.tripping import DAILY_LOSS, DRAWDOWN, REJECTS, STRATEGY_DRAWDOWN, STRATEGY_LOSS
from services.risk.core.tripping_seen import ANOMALY, ERRORS, LIQUIDATION, UNPROTECTED
from shared.ids import MANUAL
from shared.messages.account import AccountSnapshot, AccountTag, PnlReport, Unexplained
from shared.messages.control import BrokerStatus, Control, ControlAction, HaltStage, LinkState
from shared.messages.orders import OrderState
from tests.risk_desk import (
    ACCOUNT,
    NOW,
    SECOND,
    D,
    decided,
    event_of,
    hold,
    intent_of,
    leg_of,
    limits_with,
    modify_of,
    number_id,
    ready_book,
    report,
    set_price,
)


@dataclass
class Situation:
    """Everything that may be wrong at once."""

    position: int
    working: int
    stage: str
    is_paused: bool
    is_reconciled: bool
    link: LinkState
    is_priced: bool
    age_s: int
    loss: int
    is_limits_broken: bool
    rate_used: bool
    is_unexplained: bool
    has_info: bool
    buying_power: str
    is_tripped: bool
    own_orders: bool
    is_crossed: bool
    is_contested: bool


situations = st.builds(
    Situation,
    position=st.integers(-500, 500).filter(bool),
    working=st.integers(0, 500),
    stage=st.sampled_from(["", *(str(stage) for stage in HaltStage)]),
    is_paused=st.booleans(),
    is_reconciled=st.booleans(),
    link=st.sampled_from(list(LinkState)),
    is_priced=st.booleans(),
    age_s=st.integers(0, 10_000),
    loss=st.integers(0, 1_000_000),
    is_limits_broken=st.booleans(),
    rate_used=st.booleans(),
    is_unexplained=st.booleans(),
    has_info=st.booleans(),
    buying_power=st.sampled_from(["0", "-5", "1000000", "nonsense"]),
    is_tripped=st.booleans(),
    own_orders=st.booleans(),
    is_crossed=st.booleans(),
    is_contested=st.booleans(),
)


def book_in(situation: Situation) -> Book:
    book = ready_book((1,) if situation.has_info else (2,), buying_power=situation.buying_power)
    if situation.is_priced:
        set_price(book, 1, 100.0, ts_ns=NOW - situation.age_s * SECOND)
    hold(book, 1, situation.position)
    if situation.is_contested:  # nobody owns as much against another strategy: the account holds what it held
        hold(book, 1, situation.position, strategy="other", number=901)
        hold(book, 1, -situation.position, strategy="unassigned", number=902)
    if situation.working:
        side = "SELL" if situation.position > 0 else "BUY"
        book.apply(event_of(800, OrderState.WORKING, side=side, quantity=situation.working), NOW)
    book.breakers.set_stage(situation.stage, "drill")
    if situation.is_paused:
        pause = Control(control_id="p", action=ControlAction.PAUSE_STRATEGY, scope="strategy:s", who="me")
        book.apply(pause, NOW)
    if not situation.is_reconciled:
        book.apply(BrokerStatus(instance="g2", state=LinkState.RECONCILING, is_leader=True, epoch=9), NOW)
    else:
        book.apply(BrokerStatus(instance="g1", state=situation.link, is_leader=True, epoch=5), NOW)
    book.apply(PnlReport(account=ACCOUNT, daily=D(-situation.loss)), NOW)
    if situation.is_tripped:
        _go_wrong(book)
    if situation.own_orders:  # of another strategy, at a price the reducing order would trade with
        own = intent_of(810, "BUY" if situation.position > 0 else "SELL", 5, strategy="other")
        decided(own, book, limits_with())
    if situation.is_crossed:
        book.apply_tick(1, 1, 2, NOW, 101.0, 100.0)
    if situation.is_unexplained:
        report(book, 1, situation.position * 2)
        book.apply(Unexplained(account=ACCOUNT, con_id=1, expected=D(situation.position), reported=D(1)), NOW)
    return book


def _go_wrong(book: Book) -> None:
    """Trip every breaker there is, and leave no day trade and no cash."""
    of_strategies = [
        f"{name}:{owner}"
        for name in (STRATEGY_LOSS, STRATEGY_DRAWDOWN, REJECTS, UNPROTECTED)
        for owner in ("s", MANUAL)
    ]
    for name in (DAILY_LOSS, DRAWDOWN, ERRORS, ANOMALY, LIQUIDATION, *of_strategies):
        book.breakers.trip(name, Trip("a drill", "0", "1", "halt"))
    book.readiness.unprepared = ("the checklist was never run",)
    book.contract(1).lendable = D(0)
    book.margins.answers[number_id(1)] = Margin(NOW, "no answer came")
    tags = [AccountTag(tag=tag, value="0") for tag in ("DayTradesRemaining", "TotalCashValue", "NetLiquidation")]
    book.apply(AccountSnapshot(account=ACCOUNT, values=tuple(tags)), NOW)
    for number in range(3):
        book.activity.rejected("s")
        book.activity.approved(intent_of(number), NOW)


def limits_in(situation: Situation) -> Limits:
    if situation.is_limits_broken:
        return broken_limits(["limits.toml, line 3: nonsense"])
    stage = Stage.OBSERVE if situation.is_tripped else Stage.ARMED
    limits = limits_with(
        position_quantity_max=1, position_notional_max=1, strategy_position_quantity_max=1, exposure_gross_max=1,
        order_notional_max=1, buying_power_share=0, open_orders_max=0, open_orders_side_max=0, daily_loss_max=1,
        data_age_max_s=1, price_collar_percent=0, strategy_rate_per_s=0, strategy_rate_burst=0,
        account_rate_per_s=0, account_rate_burst=0, messages_per_s_max=0, delayed_data="refuse",
        order_types=(), tifs=(), strategies=(),
        price_collar_ticks=0, market_slippage_percent=0, exposure_net_max=0, exposure_currency_max=0,
        concentration_percent=0, cash_min=10**12, turnover_day_max=0, trades_day_max=0, orders_per_fill_max=0,
        repeats="refuse", repeats_max=0, duplicates="refuse", duplicate_window_s=10**6, self_cross="refuse",
        drawdown_max=0, strategy_loss_max=0, strategy_drawdown_max=0, rejects_max=0, frozen_data="refuse",
        crossed_quotes="refuse", market_closed="refuse", expiry_days_min=10**6, short_selling="refuse",
        protection="refuse", day_trades="refuse",
        broker_windows=(Window.of("00:00-23:59 UTC"), Window.of("23:59-00:00 UTC")),
        contracts_allowed=(), contracts_restricted=("#1",), short_unavailable="refuse", what_if_margin_percent=0,
        what_if_wait_s=1,
    )  # fmt: skip
    return replace(limits, stage=stage)


@given(situation=situations, part=st.integers(1, 500), strategy=st.sampled_from(["s", MANUAL]), is_market=st.booleans())
def test_no_rule_in_any_state_refuses_an_order_that_reduces(
    situation: Situation, part: int, strategy: str, is_market: bool
) -> None:
    book, limits = book_in(situation), limits_in(situation)
    left = abs(situation.position) - situation.working
    side = "SELL" if situation.position > 0 else "BUY"
    price = None if is_market else "250.00"
    verdict = decide(intent_of(1, side, part, price, strategy=strategy), book, limits, NOW + 3 * SECOND)
    if part <= left:
        assert verdict.decision.approved, verdict.decision.failed
        assert verdict.decision.is_reducing and verdict.command is not None
    else:
        assert not verdict.decision.is_reducing


@given(situation=situations, quantity=st.integers(1, 500))
def test_what_adds_exposure_never_counts_as_reducing(situation: Situation, quantity: int) -> None:
    book, limits = book_in(situation), limits_in(situation)
    side = "BUY" if situation.position > 0 else "SELL"
    verdict = decide(intent_of(1, side, quantity), book, limits, NOW + 3 * SECOND)
    assert not verdict.decision.is_reducing
    assert verdict.command is None


@given(parts=st.lists(st.integers(1, 100), min_size=1, max_size=12), position=st.integers(1, 300))
def test_reductions_together_never_cross_zero(parts: list[int], position: int) -> None:
    book = ready_book()
    hold(book, 1, position)
    book.breakers.set_stage("holding", "drill")
    limits = limits_with()
    passed = [part for at, part in enumerate(parts) if decided(intent_of(at + 1, "SELL", part), book, limits).command]
    assert sum(passed) <= position
    contract = book.contract(1)
    assert contract.total - contract.sells >= 0


@given(old=st.integers(1, 200), new=st.integers(1, 200), is_halted=st.booleans())
def test_an_order_can_be_made_smaller_while_halted_and_not_larger(old: int, new: int, is_halted: bool) -> None:
    book, limits = ready_book(), limits_with()
    decided(intent_of(1, "BUY", old), book, limits)
    book.apply(event_of(1, OrderState.WORKING, quantity=old), NOW)
    if is_halted:
        book.breakers.set_stage("holding", "drill")
    verdict = decide(modify_of(2, 1, "BUY", new), book, limits, NOW)
    assert verdict.decision.approved == (new <= old or not is_halted)


def test_an_oca_pair_that_closes_a_position_reduces_and_a_bracket_never_does() -> None:
    book, limits = ready_book(), limits_with()
    hold(book, 1, 50)
    book.breakers.set_stage("holding", "drill")
    pair = (leg_of("SELL", 50, "110.00"), leg_of("SELL", 50, None, 1))
    assert decide(intent_of(1, legs=pair, group="oca"), book, limits, NOW).decision.is_reducing
    children = (leg_of("SELL", 50), leg_of("BUY", 50, "90.00", 1, parent_leg=0))
    assert not decide(intent_of(2, legs=children, group="bracket"), book, limits, NOW).decision.is_reducing


def test_every_rule_says_who_it_is() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    for rule in RULES:
        assert rule.code.startswith("RISK_") and rule.citation and rule.__doc__


def test_a_modify_may_not_reach_past_zero_together_with_what_works() -> None:
    book, limits = ready_book(), limits_with()
    hold(book, 1, 100)
    for number, quantity in ((1, 60), (2, 30)):
        decided(intent_of(number, "SELL", quantity), book, limits)
        book.apply(event_of(number, OrderState.WORKING, side="SELL", quantity=quantity), NOW)
    book.breakers.set_stage("holding", "drill")
    assert decide(modify_of(3, 2, "SELL", 40), book, limits, NOW).decision.approved
    refused = decide(modify_of(4, 2, "SELL", 41), book, limits, NOW).decision
    assert refused.code == "RISK_HALTED" and not refused.is_reducing


@given(situation=situations, part=st.integers(1, 500))
def test_each_rule_by_itself_lets_a_reduction_pass(situation: Situation, part: int) -> None:
    """Every rule, asked for what it is: those that a reducing order is spared are not asked at all."""
    book, limits = book_in(situation), limits_in(situation)
    part = min(part, abs(situation.position) - situation.working)
    if part <= 0:
        return
    intent = intent_of(1, "SELL" if situation.position > 0 else "BUY", part)
    for rule in RULES:
        assert decide(intent, book, limits, NOW + 3 * SECOND, RuleBook([rule])).decision.approved, rule.code


WORST = Situation(
    position=10, working=0, stage="holding", is_paused=True, is_reconciled=False, link=LinkState.DOWN, is_priced=True,
    age_s=100, loss=10**6, is_limits_broken=False, rate_used=True, is_unexplained=True, has_info=True,
    buying_power="0", is_tripped=True, own_orders=True, is_crossed=True, is_contested=True,
)  # fmt: skip
ELSEWHERE = {
    "RISK_CONTRACT_UNKNOWN", "RISK_DATA_DELAYED", "RISK_DUPLICATE", "RISK_EXPOSURE_CURRENCY_MAX", "RISK_LIMITS_BROKEN",
    "RISK_MARGIN_AFTER", "RISK_MARKET_CLOSED", "RISK_MARKET_SLIPPAGE", "RISK_MONEY_UNKNOWN", "RISK_NEAR_EXPIRY",
    "RISK_ORDER_EFFICIENCY", "RISK_QUOTE_CROSSED", "RISK_SELF_CROSS", "RISK_WOULD_CROSS_ZERO",
}  # fmt: skip
"""Rules that object in another state than this one (no definition, another contract, many orders …): tested apart."""


def test_in_the_worst_state_most_rules_refuse_what_opens() -> None:
    """So that the properties above say something: the rules that a reduction is spared do object in these states."""
    book = book_in(WORST)
    verdict = decide(intent_of(1, "SELL", 500, "50.00"), book, limits_in(WORST), NOW + 3 * SECOND)
    objected = {result.code for result in (*verdict.decision.failed, *verdict.decision.warned)}
    spared = {rule.code for rule in RULES if not rule.applies_to_reducing}
    assert spared - objected <= ELSEWHERE, spared - objected - ELSEWHERE

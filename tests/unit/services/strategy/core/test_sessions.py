from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.strategy.api import Quote, Strategy
from services.strategy.core.ordering import Identity
from services.strategy.core.saved import Commit, Limits
from services.strategy.core.sessions import Session, SessionPlan, SessionRules
from services.strategy.core.unit import Unit
from shared.errors import BadInput
from shared.messages.orders import OrderState, OrderType, Side
from tests.unit.services.strategy.parts import IBM, event, fill

ZONE = ZoneInfo("America/New_York")
NS = 1_000_000_000
MINUTE = 60 * NS
# Monday a regular day, Thursday closed (Thanksgiving), Friday a half-day; the week after is not listed.
LIQUID = (
    "20261123:0930-20261123:1600;20261124:0930-20261124:1600;20261125:0930-20261125:1600;20261126:CLOSED;"
    "20261127:0930-20261127:1300"
)
TRADING = (
    "20261123:0400-20261123:2000;20261124:0400-20261124:2000;20261125:0400-20261125:2000;20261126:CLOSED;"
    "20261127:0400-20261127:1700"
)
STOCK = IBM.model_copy(update={"time_zone": "US/Eastern", "liquid_hours": LIQUID, "trading_hours": TRADING})


def at(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=ZONE).timestamp()) * NS


def plan(session: Session = Session.RTH, **times: str) -> SessionPlan:
    return SessionPlan(SessionRules(session, **times), STOCK)


def span(plan: SessionPlan, text: str) -> tuple[str, str] | None:
    """Return the window that holds a moment as clock times."""
    window = plan.window(at(text))
    if window is None:
        return None
    opened, closed = (datetime.fromtimestamp(ns // NS, ZONE) for ns in (window.open_ns, window.close_ns))
    return f"{opened:%H:%M}", f"{closed:%H:%M}"


@pytest.mark.parametrize(
    "session, moment, expected",
    [
        (Session.RTH, "2026-11-23 09:29", None),
        (Session.RTH, "2026-11-23 09:30", ("09:30", "16:00")),
        (Session.RTH, "2026-11-23 15:59", ("09:30", "16:00")),
        (Session.RTH, "2026-11-23 16:00", None),
        (Session.RTH, "2026-11-26 12:00", None),
        (Session.RTH, "2026-11-27 12:59", ("09:30", "13:00")),
        (Session.RTH, "2026-11-27 13:00", None),
        (Session.RTH, "2026-11-28 12:00", None),
        (Session.RTH, "2026-11-30 12:00", ("09:30", "16:00")),
        (Session.RTH, "2027-07-01 12:00", ("09:30", "16:00")),
        (Session.EXTENDED, "2026-11-23 05:00", ("04:00", "20:00")),
        (Session.EXTENDED, "2026-11-23 20:00", None),
        (Session.OVERNIGHT, "2026-11-23 05:00", ("04:00", "09:30")),
        (Session.OVERNIGHT, "2026-11-23 12:00", None),
        (Session.OVERNIGHT, "2026-11-23 17:00", ("16:00", "20:00")),
        (Session.OVERNIGHT, "2026-11-27 14:00", ("13:00", "17:00")),
    ],
)
def test_sessions_are_those_of_the_brokers_hours(
    session: Session, moment: str, expected: tuple[str, str] | None
) -> None:
    assert span(plan(session), moment) == expected


def test_a_plan_asked_minute_by_minute_changes_at_the_edges() -> None:
    one = plan()
    opened = [minute for minute in range(24 * 60) if one.window(at("2026-11-27 00:00") + minute * MINUTE) is not None]
    assert (opened[0], opened[-1]) == (9 * 60 + 30, 13 * 60 - 1) and len(opened) == opened[-1] - opened[0] + 1


@pytest.mark.parametrize("text", ["15:45", "15 min", "15m"])
def test_times_keep_their_distance_to_an_early_close(text: str) -> None:
    for day, close in (("2026-11-23", "16:00"), ("2026-11-27", "13:00"), ("2026-12-01", "16:00")):
        window = plan(last_entry=text, flat_by=text).window(at(f"{day} 10:00"))
        assert window is not None
        assert window.entries_until_ns == window.flat_ns == at(f"{day} {close}") - 15 * MINUTE


@pytest.mark.parametrize(
    "session, times, words",
    [
        (Session.RTH, {"last_entry": "25:00"}, "last_entry"),
        (Session.RTH, {"flat_by": "soon"}, "flat_by"),
        (Session.EXTENDED, {"flat_by": "15 min"}, "market orders"),
    ],
)
def test_what_is_no_rule_is_a_sentence(session: Session, times: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        SessionRules(session, **times)


def test_the_next_open_is_that_of_the_next_listed_session_and_later_one_to_ask_again() -> None:
    asked = plan(flat_by="15 min")
    assert asked.is_flattening and not plan().is_flattening
    assert asked.next_open_ns(at("2026-11-25 16:00")) == at("2026-11-27 09:30")  # over a holiday
    assert asked.next_open_ns(at("2026-11-27 15:00")) == at("2026-11-27 15:01")


def test_a_contract_without_hours_is_refused() -> None:
    with pytest.raises(BadInput, match="gave no hours"):
        SessionPlan(SessionRules(Session.RTH), IBM)


class Eager(Strategy):
    """Buys ten at every quote, or does what the test says."""

    def __init__(self) -> None:
        super().__init__(self.Params())
        self.script: Any = lambda quote: self.buy(quote.contract, 10)
        self.quotes = 0

    def on_quote(self, quote: Quote) -> None:
        self.quotes += 1
        self.script(quote)


class Day:
    """One unit with rules, told the time."""

    def __init__(self) -> None:
        self.eager = Eager()
        self.seen: set[str] = set()
        plans = {STOCK.con_id: plan(last_entry="15:30", flat_by="15:45")}
        identity = Identity("d", "DUSIM0001", "s", "s/IBM")
        self.unit = Unit(identity, self.eager, {STOCK.con_id: STOCK}, Limits(), sessions=plans)
        self.eager.bind(self.unit)
        self.unit.start(at("2026-11-23 08:00"), at("2026-11-23 08:00"))

    def quote(self, text: str) -> list[Any]:
        now_ns = at(text)
        self.unit.quote(Quote(STOCK, 100.0, 1.0, 100.1, 1.0, now_ns), now_ns, now_ns, "1-1")
        return self.save(now_ns)[0]

    def tick(self, text: str, plus_s: int = 0) -> tuple[list[Any], list[Any]]:
        now_ns = at(text) + plus_s * NS
        self.unit.tick(now_ns)
        return self.save(now_ns)

    def save(self, now_ns: int) -> tuple[list[Any], list[Any]]:
        commit: Commit | None = self.unit.commit(now_ns)
        self.unit.committed(now_ns)
        if commit is None:
            return [], []
        new = [intent for intent in commit.intents if intent.intent_id not in self.seen]  # others: asked again
        self.seen.update(intent.intent_id for intent in new)
        return new, list(commit.cancels)

    def tell(self, intent: Any, state: OrderState, filled: int = 0) -> None:
        self.unit.order_event(event(intent, state, filled=filled), 1, 1, "1-1")

    def filled(self, intent: Any, quantity: int, stem: str) -> None:
        self.unit.fill(fill(intent, quantity, stem=stem), 1, 1, "1-1")
        self.tell(intent, OrderState.FILLED, filled=quantity)


def test_nothing_is_told_or_ordered_outside_of_the_session() -> None:
    day = Day()
    assert day.quote("2026-11-23 09:00") == [] and day.eager.quotes == 0
    assert len(day.quote("2026-11-23 09:30")) == 1
    assert day.quote("2026-11-23 16:00") == [] and day.eager.quotes == 1


def test_after_the_last_entry_only_what_closes_passes() -> None:
    day = Day()
    (bought,) = day.quote("2026-11-23 10:00")
    day.filled(bought, 10, "e1")
    assert day.quote("2026-11-23 15:30") == [] and day.eager.quotes == 2
    day.eager.script = lambda quote: day.eager.sell(quote.contract, 11)
    assert day.quote("2026-11-23 15:31") == [], "it would turn the position"
    day.eager.script = lambda quote: day.eager.close(quote.contract)
    (closing,) = day.quote("2026-11-23 15:32")
    assert (closing.legs[0].side, closing.legs[0].quantity) == (Side.SELL, 10)


def test_the_platform_makes_a_paused_unit_flat_first_the_orders_then_the_position() -> None:
    day = Day()
    (bought,) = day.quote("2026-11-23 10:00")
    day.filled(bought, 10, "e1")
    day.eager.script = lambda quote: day.eager.sell(quote.contract, 10, stop=90)
    (stop,) = day.quote("2026-11-23 10:01")
    day.tell(stop, OrderState.WORKING)
    day.unit.pause("5 errors within a minute")
    assert day.tick("2026-11-23 15:44") == ([], [])
    intents, cancels = day.tick("2026-11-23 15:45")
    assert intents == [] and [one.intent_id for one in cancels] == [stop.intent_id]
    assert day.tick("2026-11-23 15:45") == ([], []), "not at every turn"
    intents, cancels = day.tick("2026-11-23 15:45", 2)
    assert intents == [] and len(cancels) == 1, "asked again, and nothing is closed beside a working exit"
    day.tell(stop, OrderState.CANCELLED)
    ((closing,), cancels) = day.tick("2026-11-23 15:45", 4)
    leg = closing.legs[0]
    assert (leg.side, leg.quantity, leg.order_type) == (Side.SELL, Decimal(10), OrderType.MARKET)
    assert closing.reason == "flat_by" and cancels == []
    day.tell(closing, OrderState.REJECTED)
    ((again,), _) = day.tick("2026-11-23 15:45", 6)
    day.filled(again, 10, "e2")
    assert day.tick("2026-11-23 15:46") == ([], [])
    assert day.unit.position(STOCK.con_id) == 0


def test_a_half_day_is_flat_before_its_own_close() -> None:
    day = Day()
    (bought,) = day.quote("2026-11-27 10:00")
    day.filled(bought, 10, "e1")
    assert day.tick("2026-11-27 12:44") == ([], [])
    ((closing,), _) = day.tick("2026-11-27 12:45")
    assert closing.legs[0].quantity == 10

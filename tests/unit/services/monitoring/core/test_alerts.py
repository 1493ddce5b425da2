from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from services.monitoring.core.alerts import AlertBook, Condition, Limits, Pulse, conditions
from services.monitoring.core.views import StatusView
from shared.messages.account import JournalEntry, JournalKind, PositionReport, Unexplained
from shared.messages.control import Alert, BrokerWindow, WindowPhase
from shared.messages.orders import OrderEvent, OrderState, Side

S = 1_000_000_000
LAG = Condition("lag:intents:risk", "warning", "risk is far behind", patience_s=5.0)


def beat(service: str, instance: str = "", **facts: Any) -> dict[str, Any]:
    return {"service": service, "instance": instance or service, "ready": True, "started_ns": 1, **facts}


def healthy() -> StatusView:
    view = StatusView("sim", "sim")
    view.halt = {"stage": "none"}
    view.heartbeats = [
        beat("gateway", "gateway-1", is_leader=True, epoch=3, link="READY"),
        beat("risk"),
        beat("marketdata", role="leader", silent=[]),
    ]
    return view


def ids(view: StatusView, **limits: Any) -> list[str]:
    return [found.alert_id for found in conditions(view, Pulse(), Limits(**limits), S)]


def test_an_alert_is_raised_once_and_cleared_once() -> None:
    book = AlertBook(clear_after_s=2.0)
    assert book.update([LAG], 0) == []
    assert book.update([LAG], 4 * S) == []
    raised = book.update([LAG], 5 * S)
    assert [(alert.alert_id, alert.is_cleared, alert.ts_init_ns) for alert in raised] == [(LAG.alert_id, False, 5 * S)]
    assert book.update([LAG], 6 * S) == []
    assert book.update([], 7 * S) == []
    cleared = book.update([], 9 * S)
    assert [(alert.alert_id, alert.is_cleared) for alert in cleared] == [(LAG.alert_id, True)]
    assert book.update([], 20 * S) == []


def test_what_flickers_shorter_than_its_patience_is_never_raised() -> None:
    book = AlertBook()
    assert [book.update([LAG] if second % 4 else [], second * S) for second in range(40)] == [[]] * 40


def test_what_comes_back_at_once_is_not_cleared() -> None:
    book = AlertBook(clear_after_s=2.0)
    now = Condition("halted", "warning", "halted")
    assert len(book.update([now], 0)) == 1
    assert [book.update([] if second % 2 else [now], second * S) for second in range(1, 20)] == [[]] * 19


def test_a_restart_repeats_nothing_and_still_clears() -> None:
    book = AlertBook(clear_after_s=0)
    old = Alert(alert_id="halted", severity="warning", text="halted")
    gone = Alert(alert_id="link", severity="error", text="down")
    book.restore([old, gone, gone.model_copy(update={"is_cleared": True})])
    assert book.update([Condition("halted", "warning", "halted")], 0) == []
    assert [alert.alert_id for alert in book.update([], S)] == ["halted"]


def test_a_healthy_system_is_silent() -> None:
    assert ids(healthy()) == []


def _order(state: OrderState, **more: Any) -> OrderEvent:
    content = {"strategy": "s", "account": "a", "con_id": 1, "side": Side.BUY, "quantity": 1, "order_type": "LMT"}
    return OrderEvent.model_validate({"order_ref": "r", "state": state, **content, **more})


def _without_risk(view: StatusView) -> None:
    view.heartbeats = [one for one in view.heartbeats if one["service"] != "risk"]


def _unexplained(view: StatusView) -> None:
    view.apply(Unexplained(account="a", con_id=1, expected=Decimal(1), reported=Decimal(2)))


def _split(view: StatusView) -> None:
    view.open_orders["r"] = _order(OrderState.WORKING)
    view.apply(JournalEntry(account="a", kind=JournalKind.SPLIT, con_id=1, text="split 2:1", orders=("r", "ended")))


def _window(phase: WindowPhase) -> BrokerWindow:
    return BrokerWindow(instance="gateway-1", phase=phase, name="reset")


TROUBLES: dict[str, Callable[[StatusView], object]] = {
    "service:risk": _without_risk,
    "no-leader": lambda view: view.heartbeats[0].update(is_leader=False),
    "link": lambda view: view.heartbeats[0].update(link="DEGRADED"),
    "farms": lambda view: view.heartbeats[0].update(broken_farms=["usfarm"]),
    "halted": lambda view: view.halt.update(stage="holding", who="anna"),
    "dead-letter": lambda view: setattr(view, "dead_letter_count", 1),
    "orders-unknown": lambda view: view.open_orders.update(r=_order(OrderState.UNKNOWN)),
    "unexplained:1": _unexplained,
    "split-orders:1": _split,
    "window-outlived": lambda view: view.apply(_window(WindowPhase.OUTLIVED)),
    "position.unprotected": lambda view: view.positions.update({1: _held()}),
    "lag:intents:risk": lambda view: view.lags.append({"stream": "intents", "reader": "risk", "lag": 1001}),
    "stale:AAPL": lambda view: view.heartbeats[2].update(silent=["AAPL"]),
    "delayed": lambda view: view.prices.append({"contract": "AAPL", "quality": "DELAYED"}),
    "not-ready:risk:risk": lambda view: view.heartbeats[1].update(ready=False, failed={"book": "not restored"}),
}


def _held() -> PositionReport:
    return PositionReport(account="a", con_id=1, position=Decimal(5))


@pytest.mark.parametrize("what", list(TROUBLES))
def test_each_trouble_has_its_alert_and_no_other(what: str) -> None:
    view = healthy()
    TROUBLES[what](view)
    assert ids(view) == [what]


def test_a_link_that_is_down_in_its_window_is_no_news() -> None:
    view = healthy()
    view.heartbeats[0].update(link="DEGRADED")
    view.apply(_window(WindowPhase.WITHIN))
    assert ids(view) == []
    view.apply(_window(WindowPhase.OUTLIVED))
    assert ids(view) == ["link", "window-outlived"]


def test_a_missing_halt_state_means_halted() -> None:
    view = healthy()
    view.halt = {"stage": "missing"}
    assert ids(view) == ["halted"]


def test_a_stop_that_reduces_protects_and_one_that_adds_does_not() -> None:
    view = healthy()
    view.positions[1] = PositionReport(account="a", con_id=1, position=Decimal(5))
    stop = {"order_type": "STP", "stop_price": Decimal(1), "quantity": 5}
    view.open_orders["r"] = _order(OrderState.WORKING, side=Side.SELL, **stop)
    assert ids(view) == []
    view.open_orders["r"] = _order(OrderState.WORKING, side=Side.BUY, **stop)
    assert ids(view) == ["position.unprotected"]
    view.open_orders["r"] = _order(OrderState.WORKING, side=Side.SELL, **{**stop, "quantity": 4})
    assert ids(view) == ["position.unprotected"], "a part is not all of it"


def test_a_process_that_stops_beating_is_missed_until_it_is_back_or_replaced() -> None:
    pulse = Pulse()
    both = [beat("strategy", "one"), beat("strategy", "two")]
    assert pulse.missing(both, 10 * S, 5) == []
    assert pulse.missing(both[:1], 14 * S, 5) == []
    assert pulse.missing(both[:1], 16 * S, 5) == [("strategy", "two")]
    assert pulse.missing(both, 17 * S, 5) == []
    assert pulse.missing(both[:1], 30 * S, 5) == [("strategy", "two")]
    successor = beat("strategy", "three", started_ns=25 * S)
    assert pulse.missing([both[0], successor], 31 * S, 5) == []
    assert pulse.missing([both[0], successor], 40 * S, 5) == []


def test_an_order_of_before_a_split_that_has_ended_is_no_alert_any_more() -> None:
    view = healthy()
    _split(view)
    del view.open_orders["r"]
    assert ids(view) == []

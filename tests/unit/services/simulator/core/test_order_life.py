from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.trade(100.01, 100)
    return driver


def restarted(first: Driver) -> Driver:
    """Return an exchange that starts with what another one stored."""
    second = Driver()
    second.now_ns = first.now_ns
    for kind in ("next_order_id", "order", "execution", "account"):
        for (stored_kind, key), value in first.saved.items():
            if stored_kind == kind:
                second.engine.restore(kind, key, value)
    second.take(second.engine.advance(second.now_ns))
    return second


def test_a_relative_order_follows_its_side_up_to_its_limit(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "REL", lmt_price="100.03", aux_price="0.01"))
    exchange.run()
    working = exchange.engine.orders.book.by_perm[min(exchange.engine.orders.book.by_perm)].working
    assert working.peg == Decimal("100.01")
    exchange.quote(100.05, 100.08)
    assert working.peg == Decimal("100.03"), "its limit"
    exchange.quote(99.98, 100.05)
    exchange.trade(99.99, 300)
    assert exchange.statuses(1, 1)[-1] == "Filled"
    assert exchange.got(1, rs.ExecDetails)[0].price == 99.99


def test_a_midprice_order_trades_in_the_middle(exchange: Driver) -> None:
    exchange.place(1, 1, order("SELL", 100, "MIDPRICE"))
    exchange.run()
    exchange.trade(100.00, 300)
    assert exchange.statuses(1, 1)[-1] == "Submitted", "a trade at the bid is below the middle"
    exchange.trade(100.02, 300)
    assert exchange.got(1, rs.ExecDetails)[0].price == 100.01


def test_outside_rth_is_ignored_for_a_market_order(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, outside_rth=True))
    exchange.run()
    assert 2109 in [each.code for each in exchange.got(1, rs.ErrorMessage) if each.id == 1]
    assert exchange.statuses(1, 1)[-1] == "Filled"


def test_a_short_sale_waits_for_shares_to_lend(exchange: Driver) -> None:
    exchange.engine.floor.hard_to_borrow["AAPL"] = 2.0
    exchange.place(1, 1, order("SELL", 100))
    exchange.run(1)
    assert exchange.errors(1) == [(1, 404)]
    assert exchange.got(1, rs.OrderStatus)[-1].why_held == "locate"
    exchange.run(1.2)
    assert exchange.statuses(1, 1)[-1] == "Filled"
    exchange.place(1, 2, order("BUY", 200))
    exchange.run()
    exchange.place(1, 3, order("SELL", 100))
    exchange.run()
    assert exchange.statuses(1, 3)[-1] == "Filled", "what is held needs no locating"


def test_a_change_that_the_fill_overtakes_is_refused(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 300, "LMT", lmt_price="99.99"))
    exchange.run()
    exchange.place(1, 1, order("BUY", 150, "LMT", lmt_price="99.99"))
    exchange.quote(99.98, 99.99, ask_size=200)
    exchange.run()
    assert (1, 201) in exchange.errors(1)
    last = exchange.got(1, rs.OrderStatus)[-1]
    assert (last.status, last.filled, last.remaining) == ("Submitted", Decimal(200), Decimal(100))


def test_a_market_order_on_its_way_survives_a_restart(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 5000))
    exchange.place(1, 2, order("BUY", 100, "LMT", lmt_price="90.00", transmit=False))
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Submitted"
    second = restarted(exchange)
    session = second.connect(1)
    second.quote(100.00, 100.02, ask_size=9000)
    second.run()
    assert {each["order_id"]: each["status"] for each in second.truth()["orders"]}[1] == "Filled"
    second.ask(session, rq.CancelOrder(2))
    assert (2, 10148) in second.errors(session), "what was not transmitted is gone with the restart"


def test_a_day_order_that_ended_while_nobody_ran_is_cancelled(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="90.00"))
    exchange.place(1, 2, order("BUY", 100, "LMT", lmt_price="90.00", tif="GTC"))
    exchange.run()
    exchange.now_ns += 2 * 86_400 * 1_000_000_000
    second = restarted(exchange)
    second.run()
    states = {each["order_id"]: each["status"] for each in second.truth()["orders"]}
    assert states == {1: "Cancelled", 2: "Submitted"}


def test_a_halted_contract_trades_nothing() -> None:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    book = driver.engine.floor.book(265598)
    book.is_halted = True
    driver.place(1, 1, order("BUY", 100))
    driver.run()
    assert driver.got(1, rs.ExecDetails) == []
    book.is_halted = False
    driver.quote(100.00, 100.02)
    assert driver.statuses(1, 1)[-1] == "Filled"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"oca_group": "other"}, 10326),
        ({"oca_type": 1}, 10327),
        ({"parent_id": 77}, 10341),
        ({"lmt_price": "99.005"}, 110),
        ({"tif": "GTC"}, 105),
    ],
)
def test_refused_changes_keep_the_original(exchange: Driver, fields: dict[str, object], code: int) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="99.00"))
    exchange.run()
    changed = {"lmt_price": "99.10", **fields}
    exchange.place(1, 1, order("BUY", 100, "LMT", **changed))
    exchange.run()
    assert exchange.errors(1) == [(1, code)]
    [kept] = [each for each in exchange.truth()["orders"] if each["order_id"] == 1]
    assert (kept["limit"], kept["status"]) == ("99.00", "Submitted")


def test_a_child_names_a_parent_that_is_gone(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="100.02", transmit=False))
    exchange.place(1, 2, order("SELL", 100, "LMT", lmt_price="105.00", parent_id=1))
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled"
    exchange.place(1, 2, order("SELL", 100, "LMT", lmt_price="104.00", parent_id=1))
    assert (2, 135) in exchange.errors(1)
    exchange.place(1, 2, order("SELL", 100, "LMT", lmt_price="104.00"))
    exchange.run()
    assert exchange.got(1, rs.OpenOrder)[-1].order.lmt_price == Decimal("104.00")


def test_an_opening_order_for_a_currency_pair_is_not_supported(exchange: Driver) -> None:
    euro = TwsContract(symbol="EUR", sec_type="CASH", currency="USD", exchange="IDEALPRO")
    exchange.place(1, 1, order("BUY", 20000, "MOC"), euro)
    assert exchange.errors(1) == [(1, 387)]


def test_a_change_on_its_way_survives_the_exchange(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="90", tif="GTC"))
    exchange.run()
    exchange.place(1, 1, order("BUY", 200, "LMT", lmt_price="91", tif="GTC"))
    second = restarted(exchange)  # the change has been taken, and not yet applied
    second.connect(1)
    second.run()
    (kept,) = second.engine.orders.book.by_perm.values()
    assert kept.change is None and kept.order.total_quantity == 200 and kept.order.lmt_price == 91


def test_what_has_no_effect_is_said(exchange: Driver) -> None:
    placed = order("BUY", 100, algo_strategy="Adaptive", hedge_type="D", min_qty=50, discretionary_amt=Decimal("0.1"))
    exchange.place(1, 1, placed)
    exchange.run()
    told = [each.text for each in exchange.got(1, rs.ErrorMessage) if each.code == 399]
    assert [name in text for name, text in zip(("Adaptive", "hedge D", "discretionary"), told, strict=True)]
    assert all("no effect" in text for text in told) and exchange.statuses(1, 1)[-1] == "Filled"
    exchange.place(1, 2, order("BUY", 100))
    exchange.run()
    assert len([each for each in exchange.got(1, rs.ErrorMessage) if each.code == 399]) == len(told)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"cash_qty": Decimal(500)}, "cash quantity"),
        ({"volatility": Decimal("0.3")}, "volatility"),
        ({"duration": 60}, "duration"),
        ({"randomize_price": True}, "randomised"),
        ({"active_start_time": "20261123 10:00:00 US/Eastern"}, "active times"),
    ],
)
def test_nothing_of_an_order_is_ignored_in_silence(exchange: Driver, fields: dict[str, Any], name: str) -> None:
    exchange.place(1, 1, order("BUY", 100, **fields))
    (told,) = [each.text for each in exchange.got(1, rs.ErrorMessage) if each.code == 399]
    assert name in told


def test_a_minimum_quantity_and_a_discretion_are_carried_out_also_after_a_restart(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="90", min_qty=60, discretionary_amt=Decimal("0.1")))
    exchange.run()
    assert not [each for each in exchange.got(1, rs.ErrorMessage) if each.code == 399]
    second = restarted(exchange)
    second.connect(1)
    second.run()
    second.quote(90.00, 90.08, ask_size=59)
    assert second.truth()["orders"][-1]["filled"] == "0"
    second.quote(90.00, 90.08, ask_size=60)
    assert second.truth()["orders"][-1]["filled"] == "60"
    assert second.engine.executions.all[-1].price == Decimal("90.08")


def test_a_stop_may_be_triggered_by_the_quote(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "STP", aux_price="105", trigger_method=4))
    exchange.place(1, 2, order("BUY", 100, "STP", aux_price="105"))
    exchange.run()
    exchange.quote(105.00, 105.02)
    exchange.run()
    assert exchange.statuses(1, 1)[-1] == "Filled" and exchange.statuses(1, 2)[-1] == "PreSubmitted"

from __future__ import annotations

import pytest

from services.simulator.core.commands import BadFault
from services.simulator.core.floor import AbandonSession, CloseSession, SetListening
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order

IBM = TwsContract(symbol="IBM", sec_type="STK", exchange="SMART", currency="USD")


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    return driver


def codes(driver: Driver, session: int = 1) -> list[int]:
    return [each.code for each in driver.got(session, rs.ErrorMessage)]


def test_half_open_and_cut_choose_their_session(exchange: Driver) -> None:
    exchange.connect(2)
    exchange.fault("half_open", client_id=2)
    exchange.fault("cut", client_id=1, abrupt=True)
    assert exchange.effects == [AbandonSession(2), CloseSession(1, abrupt=True)]


def test_the_login_ends_until_somebody_logs_in(exchange: Driver) -> None:
    exchange.fault("login_lockout")
    assert exchange.effects[-1] == SetListening(on=False)
    exchange.run(86_400)
    assert SetListening(on=True) not in exchange.effects
    exchange.fault("login")
    assert exchange.effects[-1] == SetListening(on=True)


def test_the_later_refusal_counts(exchange: Driver) -> None:
    exchange.fault("refuse", seconds=5)
    exchange.run(3)
    exchange.fault("refuse", seconds=5)
    exchange.run(3)
    assert SetListening(on=True) not in exchange.effects
    exchange.run(2.1)
    assert exchange.effects[-1] == SetListening(on=True)


def test_an_auto_restart_loses_what_just_came_and_gives_its_ids_again(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, "LMT", lmt_price="90", order_ref="old"))
    exchange.run(5)
    exchange.place(1, 2, order("BUY", 100, "LMT", lmt_price="90", order_ref="lost"))
    exchange.fault("auto_restart", seconds=1, lose_s=0.5)
    exchange.run(2)
    assert [each["order_ref"] for each in exchange.truth()["orders"]] == ["old"]
    assert CloseSession(1, abrupt=True) in exchange.effects
    assert exchange.saved[("order", "1250000002")] is None
    exchange.disconnect(1)
    second = exchange.connect(1)
    assert exchange.got(second, rs.NextValidId)[0].order_id == 2


def test_one_feed_stalls_and_the_other_goes_on(exchange: Driver) -> None:
    exchange.ask(1, rq.ReqMktData(901, IBM))
    ibm = exchange.engine.floor.universe.by_symbol("IBM")
    assert ibm is not None
    exchange.fault("data_stall", seconds=5, symbol="AAPL")
    before = len(exchange.got(1, rs.TickPrice))
    exchange.quote(101.00, 101.02)
    assert len(exchange.got(1, rs.TickPrice)) == before
    exchange.quote(221.00, 221.02, con_id=ibm.con_id)
    assert len(exchange.got(1, rs.TickPrice)) == before + 2
    exchange.place(1, 1, order("BUY", 100))
    exchange.run()
    assert exchange.got(1, rs.ExecDetails)[0].price == 101.02, "the market goes on, unseen"
    exchange.run(5)
    exchange.quote(101.01, 101.03)
    assert len(exchange.got(1, rs.TickPrice)) > before + 2
    with pytest.raises(BadFault, match="not listed"):
        exchange.fault("data_stall", symbol="NOPE")


def test_a_competing_session_takes_every_subscription(exchange: Driver) -> None:
    exchange.fault("competing_session", seconds=5, burst=10)
    errors = [each for each in exchange.got(1, rs.ErrorMessage) if each.code == 10197]
    assert [each.id for each in errors] == [900] * 10
    before = len(exchange.got(1, rs.TickPrice))
    exchange.quote(102.00, 102.02)
    assert len(exchange.got(1, rs.TickPrice)) == before


def test_orders_in_an_outage_are_kept_or_refused(exchange: Driver) -> None:
    exchange.fault("outage", seconds=5, keep_orders=False, code=1101)
    exchange.place(1, 1, order("BUY", 100))
    assert (1, 10328) in exchange.errors(1)
    exchange.run(6)
    assert codes(exchange)[-1] == 1101
    exchange.fault("outage", seconds=5)
    exchange.place(1, 2, order("BUY", 100))
    exchange.run(4)
    assert exchange.statuses(1, 2) == []
    exchange.run(2)
    assert exchange.statuses(1, 2)[-1] == "Filled"


def test_an_outage_may_be_noticed_late(exchange: Driver) -> None:
    exchange.fault("outage", seconds=5, unnoticed_s=2, repeat_s=60)
    exchange.place(1, 1, order("BUY", 100))
    exchange.run(1.9)
    assert 1100 not in codes(exchange) and exchange.statuses(1, 1) == [], "it is lost all the same"
    exchange.run(0.2)
    assert codes(exchange)[-1] == 1100
    exchange.run(4)
    assert codes(exchange)[-1] == 1102 and exchange.statuses(1, 1)[-1] == "Filled"


@pytest.mark.parametrize("code, goes_on", [(1101, False), (1102, True)])
def test_market_data_go_on_after_an_outage_unless_they_are_said_to_be_lost(
    exchange: Driver, code: int, *, goes_on: bool
) -> None:
    exchange.fault("outage", seconds=5, code=code)
    exchange.run(6)
    before = len(exchange.got(1, rs.TickPrice))
    exchange.quote(102.00, 102.02)
    assert (len(exchange.got(1, rs.TickPrice)) > before) is goes_on
    exchange.ask(1, rq.ReqMktData(902, AAPL))
    exchange.quote(103.00, 103.02)
    assert any(each.req_id == 902 for each in exchange.got(1, rs.TickPrice))


def test_clear_ends_everything(exchange: Driver) -> None:
    for name, parameters in (
        ("outage", {"seconds": 100}), ("stall", {"seconds": 100}), ("hang", {}), ("slow", {"seconds": 100}),
        ("lose_orders", {}), ("duplicate_message", {}), ("login_lockout", {}),
    ):  # fmt: skip
        exchange.fault(name, **parameters)
    exchange.fault("clear")
    now = exchange.engine.floor.faults.now()
    assert not any(value for value in now.values()), now
    assert exchange.effects[-1] == SetListening(on=True)

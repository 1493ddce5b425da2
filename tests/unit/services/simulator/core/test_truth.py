from __future__ import annotations

import json

import pytest

from shared.tws import requests as rq
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver(accounts=("DUSIM0001", "DUSIM0002"))
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    return driver


def test_the_books_do_not_depend_on_what_was_sent(exchange: Driver) -> None:
    exchange.fault("stall", seconds=100)
    exchange.place(1, 1, order("BUY", 100, order_ref="a", account="DUSIM0002"))
    exchange.run()
    truth = exchange.truth()
    assert [(each["status"], each["filled"], each["account"]) for each in truth["orders"]] == [
        ("Filled", "100", "DUSIM0002")
    ]
    assert truth["accounts"]["DUSIM0002"]["positions"]["265598"]["quantity"] == "100"
    assert truth["accounts"]["DUSIM0001"]["positions"] == {}
    assert truth["simulated"] is True and truth["faults"]["silent_until_ns"] > 0


def test_orders_sent_twice_are_named(exchange: Driver) -> None:
    for number in (1, 2):
        exchange.place(1, number, order("BUY", 100, order_ref="same", account="DUSIM0001"))
    exchange.run()
    truth = exchange.truth()
    assert truth["orders_sent_twice"] == {"same": 2} and truth["counts"]["orders_sent_twice"] == 1


def test_a_short_answer_has_no_lists_and_all_of_it_is_json(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100, transmit=False, account="DUSIM0001"))
    short = exchange.engine.truth(exchange.now_ns, with_orders=False)
    assert "orders" not in short and short["counts"]["orders"] == 1
    whole = json.loads(json.dumps(exchange.truth()))
    assert whole["orders"][0]["status"] == "Held" and whole["sessions"][0]["client_id"] == 1

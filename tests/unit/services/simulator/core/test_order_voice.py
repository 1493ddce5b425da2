from __future__ import annotations

import json

from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import Driver, order


def test_owner_and_master_are_told_and_only_the_owner_gets_errors() -> None:
    driver = Driver(master_client_id=9)
    owner, stranger, master = driver.connect(1), driver.connect(2), driver.connect(9)
    driver.place(owner, 1, order("BUY", 100, "LMT", lmt_price="90", order_ref="a"))
    driver.run()
    [made] = driver.engine.orders.book.by_perm.values()
    voice = driver.engine.orders.life.voice
    voice.error(made, 399, "a warning")
    driver.run()
    assert driver.got(owner, rs.OrderStatus) == driver.got(master, rs.OrderStatus) != []
    assert driver.got(stranger, rs.OrderStatus) == driver.got(stranger, rs.OpenOrder) == []
    assert driver.errors(owner) == [(1, 399)] and driver.errors(master) == []


def test_the_ledger_knows_states_that_nobody_was_told() -> None:
    driver = Driver()
    driver.place(driver.connect(1), 1, order("BUY", 100, "LMT", lmt_price="90", order_ref="a"))
    [made] = driver.engine.orders.book.by_perm.values()
    driver.engine.orders.life.voice.log(made, "Odd", reason="why")
    entry = json.loads(driver.engine.floor.ledger.lines[-1])
    assert (entry["kind"], entry["state"], entry["order_ref"], entry["reason"]) == ("order_state", "Odd", "a", "why")

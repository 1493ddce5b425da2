from __future__ import annotations

from decimal import Decimal

from services.simulator.core.floor import Save
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver, order


def filled() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.engine._watch(driver.engine.floor.universe.by_symbol("AAPL"))  # type: ignore[arg-type]
    driver.quote(100, 100.02)
    driver.place(1, 1, order("BUY", 100), AAPL)
    driver.run()
    return driver


def test_what_a_turn_changed_is_stored_with_it() -> None:
    driver = filled()
    kinds = {kind for kind, _ in driver.saved}
    assert kinds == {"order", "execution", "account", "next_order_id"}
    turn = driver.engine.advance(driver.now_ns)
    assert not [each for each in turn.effects if isinstance(each, Save)], "nothing changed since"


def test_what_was_stored_comes_back() -> None:
    first = filled()
    second = Driver()
    for (kind, key), value in first.saved.items():
        second.engine.restore(kind, key, value)
    account = second.engine.accounts["DUSIM0001"]
    assert account.quantity(AAPL_ID) == 100 and account.cash == first.engine.accounts["DUSIM0001"].cash
    assert second.engine.floor.sessions.next_order_id(1) == 2
    assert [each.exec_id for each in second.engine.executions.all] == [
        each.exec_id for each in first.engine.executions.all
    ]
    assert second.engine._synthetic.is_watched(AAPL_ID)
    assert account.commissions == Decimal(1)


def test_an_exchange_that_keeps_nothing_stores_nothing() -> None:
    driver = filled()
    driver.engine._keeper._is_on = False
    driver.place(1, 2, order("BUY", 100), AAPL)
    before = dict(driver.saved)
    driver.run()
    assert driver.saved == before and not driver.engine.orders.book.dirty

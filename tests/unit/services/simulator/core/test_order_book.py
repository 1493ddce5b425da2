from __future__ import annotations

from services.simulator.core.order_book import FIRST_PERM_ID, OrderBook
from services.simulator.core.orders import BrokerOrder
from tests.unit.services.simulator.exchange_support import Driver, order


def taken(*placed: tuple[int, dict[str, object]]) -> tuple[OrderBook, list[BrokerOrder]]:
    """Return a book with orders of client 1 that no market touches."""
    driver = Driver()
    session = driver.connect(1)
    for order_id, fields in placed:
        driver.place(session, order_id, order("BUY", 100, "LMT", lmt_price="1.00", **fields))
    driver.run()
    book = driver.engine.orders.book
    return book, list(book.by_perm.values())


def test_orders_are_found_by_every_key() -> None:
    book, [first, second] = taken((4, {}), (5, {}))
    assert (first.perm_id, second.perm_id) == (FIRST_PERM_ID, FIRST_PERM_ID + 1)
    assert book.of_client(1, 4) is first and book.of_client(2, 4) is None
    assert book.working(first.instrument.con_id) == [first, second] == list(book.open_orders())


def test_families() -> None:
    held: dict[str, object] = {"transmit": False}
    book, [parent, one, two] = taken((1, held), (2, {**held, "parent_id": 1}), (3, {**held, "parent_id": 1}))
    assert book.children(parent) == [one, two]
    assert book.oca_siblings(one) == [two], "children of a bracket are a group"
    assert book.held_group(two) == [parent, one, two]
    book, [a, b, c] = taken((1, {"oca_group": "g"}), (2, {"oca_group": "g"}), (3, {"oca_group": "h"}))
    assert book.oca_siblings(a) == [b] and book.oca_siblings(c) == []


def test_what_is_done_does_not_trade_and_stays_known() -> None:
    book, [only] = taken((1, {}))
    book.remove_working(only)
    assert book.by_contract == {} and list(book.open_orders()) == [] and book.by_perm[only.perm_id] is only


def test_a_forgotten_order_is_nowhere() -> None:
    book, [parent, child] = taken((1, {}), (2, {"parent_id": 1, "oca_group": "g"}))
    book.forget(child)
    assert book.of_client(1, 2) is None and child.perm_id not in book.by_perm
    assert book.children(parent) == [] and book.take_dirty() == []
    assert book.next_perm_id() == child.perm_id + 1, "its permId is not given again"

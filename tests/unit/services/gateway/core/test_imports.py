from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.core.imports import execution_of, missing_of, why_not_import
from shared.messages.control import ImportedFill
from shared.messages.orders import Side

D = Decimal


def fill(number: int, quantity: int, con_id: int = 1) -> ImportedFill:
    side = Side.BUY if quantity > 0 else Side.SELL
    return ImportedFill(
        exec_id=f"e.{number}.01", con_id=con_id, side=side, quantity=D(abs(quantity)), price=D(5), ts_ns=7,
        order_ref="cqref",
    )  # fmt: skip


def test_only_what_is_missing_and_explains_the_difference_is_taken() -> None:
    fills = [fill(1, 10), fill(2, -4), fill(2, -4)]
    missing = missing_of(fills, lambda stem: stem == "e.1")
    assert missing == [fill(2, -4)]
    assert why_not_import(missing, 1, D(-4)) == ""
    assert "add up to -4, the books differ by 0" in why_not_import(missing, 1, D(0))
    assert "not of contract 2" in why_not_import(missing, 2, D(-4))
    assert "already" in why_not_import([], 1, D(0))


def test_it_is_an_execution_as_the_broker_would_have_shown_it() -> None:
    made = execution_of(fill(2, -4), "DU1")
    assert (made.account, made.side, made.shares, made.order_ref) == ("DU1", Side.SELL, 4, "cqref")
    assert not made.perm_id, "an order by hand is not matched by a number that only looks alike"


@given(
    st.lists(st.integers(-9, 9).filter(bool), max_size=8), st.sets(st.integers(0, 7)), st.integers(-20, 20)
)  # fmt: skip
def test_after_an_import_the_books_and_the_broker_agree(quantities: list[int], published: set[int], gap: int) -> None:
    fills = [fill(number, quantity) for number, quantity in enumerate(quantities)]
    missing = missing_of(fills, lambda stem: int(stem[2:]) in published)
    if not why_not_import(missing, 1, D(gap)):
        assert sum(each.quantity * each.side.sign for each in missing) == gap
        assert not any(int(each.exec_id.split(".")[1]) in published for each in missing)

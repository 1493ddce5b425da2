"""A contract's worst case is the largest position that any subset of its orders can make."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.positions import SETTLE_NS, ContractExposure

amounts = st.integers(0, 300)


@given(
    total=st.integers(-300, 300),
    broker=st.integers(-300, 300),
    buys=amounts,
    sells=amounts,
    more=amounts,
    settled=st.booleans(),
)
def test_the_worst_case(total: int, broker: int, buys: int, sells: int, more: int, settled: bool) -> None:
    contract = ContractExposure(1)
    contract.move("s", Decimal(total), 1)
    contract.report(Decimal(broker), 1)
    contract.add_work("s", Decimal(buys), Decimal(sells), 1, 1)
    if settled:
        contract.settle(SETTLE_NS + 2)
    contract.recount()
    held = {total, broker} if contract.is_mismatched else {total}
    assert contract.is_mismatched == (settled and total != broker)
    assert contract.worst() == max(max(abs(one + buys), abs(one - sells), abs(one)) for one in held)
    assert contract.worst(Decimal(more)) == max(max(abs(one + buys + more), abs(one - sells)) for one in held)
    assert contract.held_quantity == max(abs(one) for one in held)


def test_a_difference_that_ends_is_forgotten() -> None:
    contract = ContractExposure(1)
    contract.move("s", Decimal(10), 1)
    contract.report(Decimal(7), 1)
    assert contract.settle(SETTLE_NS + 2) and contract.position == 7 and contract.bounds == (7, 10)
    contract.report(Decimal(10), SETTLE_NS + 3)
    assert not contract.is_mismatched and contract.position == 10

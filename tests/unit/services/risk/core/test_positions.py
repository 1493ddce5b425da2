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
    # 0 is what the position was before, so a broker that shows it is only behind.
    held = {total, broker} if contract.is_mismatched or broker != 0 else {total}
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


def test_a_position_that_we_never_had_counts_at_once_and_one_that_is_merely_old_does_not() -> None:
    contract = ContractExposure(1)
    contract.move("s", Decimal(10), 1)
    contract.report(Decimal(0), 2)
    assert contract.bounds == (10, 10)  # our fill came first
    contract.report(Decimal(-5), 3)
    assert contract.bounds == (-5, 10) and not contract.is_mismatched and contract.position == 10
    contract.move("s", Decimal(-15), 4)
    assert contract.bounds == (-5, -5)


def test_after_a_loss_the_worse_of_both_counts_until_a_report_agrees() -> None:
    contract = ContractExposure(1)
    contract.move("s", Decimal(10), 1)
    contract.report(Decimal(0), 2)
    contract.doubt()
    assert contract.bounds == (0, 10)
    contract.move("s", Decimal(-10), 3)
    assert contract.bounds == (0, 0)
    contract.move("s", Decimal(10), 4)
    assert contract.bounds == (0, 10)  # agreed by chance, not because the broker said so
    contract.report(Decimal(10), 5)
    contract.move("s", Decimal(5), 6)
    assert contract.bounds == (15, 15)


@given(moves=st.lists(st.tuples(st.sampled_from(["a", "b", "manual", "unassigned"]), st.integers(-3, 3)), max_size=12))
def test_what_nobody_owns_stands_against_a_strategy_or_it_does_not(moves: list[tuple[str, int]]) -> None:
    contract, held = ContractExposure(1), dict.fromkeys(("a", "b", "manual", "unassigned"), 0)
    for owner, change in moves:
        contract.give(owner, Decimal(change))
        held[owner] += change
        against = [held[one] for one in ("a", "b") if held[one] * held["unassigned"] < 0]
        assert contract.is_contested is bool(against)
        assert dict(contract.owned()) == {one: held[one] for one in ("a", "b") if held[one]}
    successor = ContractExposure(1)
    successor.take_positions({owner: Decimal(quantity) for owner, quantity in held.items()})
    assert successor.is_contested is contract.is_contested

"""Rows of a statement name what the journal could not, and nothing counts twice."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.control import ImportedCash
from shared.statement import Retained, retained

D = Decimal
DAY_NS = 24 * 3600 * 10**9


def moved(amount: str, *, currency: str = "USD", day: int = 1, **more: object) -> JournalEntry:
    kind = JournalKind.CREDIT if D(amount) > 0 else JournalKind.DEBIT
    fields = {"kind": kind, "amount": D(amount), "currency": currency, "ts_init_ns": day * DAY_NS + 1}
    return JournalEntry.model_validate({"account": "DU1", **fields, **more})


def row(cash_id: str, amount: str, *, currency: str = "USD", day: int = 1, con_id: int = 265598) -> ImportedCash:
    return ImportedCash(
        cash_id=cash_id, kind=JournalKind.FEE, amount=D(amount), currency=currency, day=f"202611{day:02d}",
        ts_ns=day * DAY_NS, con_id=con_id,
    )  # fmt: skip


def journal(*entries: JournalEntry) -> Retained:
    made = Retained()
    for number, entry in enumerate(entries):
        made.told(f"{number}-0", entry)
    return made


def names(found: Retained, *rows: ImportedCash) -> list[tuple[str, list[str]]]:
    return [(each.movement.entry_id, [row.cash_id for row in each.rows]) for each in found.namings(rows)]


def test_a_row_names_the_movement_of_its_amount_the_nearest_in_time() -> None:
    found = journal(moved("-10"), moved("5"), moved("-10", currency="EUR"))
    rows = (row("far", "-10", day=6), row("near", "-10", day=2), row("other", "4"), row("euro", "-10", currency="EUR"))
    assert names(found, *rows) == [("0-0", ["near"]), ("2-0", ["euro"])]
    assert names(found, row("late", "-10", day=20)) == []


def test_a_dividend_and_its_tax_are_one_movement_of_their_day() -> None:
    rows = (row("dividend", "10"), row("tax", "-1.50"), row("fee", "-2", day=3))
    (naming,) = journal(moved("8.50")).namings(rows)
    assert names(journal(moved("8.50")), *rows, row("fee", "-4", con_id=0)) == [("0-0", ["dividend", "tax"])]
    assert names(journal(moved("6")), row("a", "5"), row("b", "1", con_id=0)) == [("0-0", ["a", "b"])]
    assert [each.cash_id for each in naming.rows] == ["dividend", "tax"] and naming.amount == D("8.50")


def test_what_was_named_or_taken_before_is_not_again() -> None:
    back = moved("10", names="0-0")
    taken = moved("-10", statement_id="a", kind=JournalKind.FEE)
    found = journal(moved("-10"), back, taken, moved("-10"))
    assert list(found.known) == ["a"] and names(found, row("a", "-10"), row("b", "-10")) == [("3-0", ["b"])]
    known_kind = moved("7", kind=JournalKind.DIVIDEND)
    assert names(journal(known_kind), row("c", "7")) == []


amounts = st.lists(st.sampled_from(["-10", "-5", "5", "8.50", "10"]), max_size=6)


@given(amounts, amounts)
def test_the_journal_adds_up_as_before_and_each_row_is_taken_once(movements: list[str], rows: list[str]) -> None:
    found = journal(*[moved(each) for each in movements])
    made = found.namings([row(str(number), each) for number, each in enumerate(rows)])
    taken = [each.cash_id for naming in made for each in naming.rows]
    assert len(taken) == len(set(taken)) and len({naming.movement.entry_id for naming in made}) == len(made)
    assert all(abs(naming.amount - naming.movement.amount) < D("0.015") for naming in made)


async def test_the_journal_is_read_over_whatever_else_the_stream_has() -> None:
    server = MemoryServer()
    bus = MemoryBus(server, Keys("sim"))
    for number in range(600):
        server.add(bus.keys.account, {"type": b"account_values", "body": b"x", "id": str(number).encode()})
    await bus.append(bus.keys.account, moved("-10"), source="t")
    server.add(bus.keys.account, {"type": b"journal", "body": b"\xff"})
    await bus.append(bus.keys.account, moved("-11").model_copy(update={"account": "DU2"}), source="t")
    await bus.append(bus.keys.account, moved("3", statement_id="a", kind=JournalKind.FEE), source="t")
    found = await retained(bus, "DU1")
    assert list(found.known) == ["a"]
    assert [each.rows[0].cash_id for each in found.namings([row("b", "-10"), row("c", "-11")])] == ["b"]

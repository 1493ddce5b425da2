"""`cq account --journal` and `cq reconcile show`: what happened without an order."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from shared.messages.account import JournalEntry, JournalKind
from tests.unit.copilot_quant.cli.conftest import APPLE, Typed, World

Cq = Callable[..., Typed]


def put(world: World, *entries: JournalEntry) -> None:
    for entry in entries:
        world.put(lambda bus, entry=entry: bus.append(world.keys.account, entry, source="gateway:1"))  # type: ignore[misc]


def split() -> JournalEntry:
    return JournalEntry(
        account="DUSIM0001", kind=JournalKind.SPLIT, con_id=APPLE.con_id, contract="AAPL", quantity=Decimal(20),
        text="split 3:1: 10 became 30", orders=("cq-1",), ts_init_ns=100 * 10**9,
    )  # fmt: skip


def fee() -> JournalEntry:
    return JournalEntry(
        account="DUSIM0001", kind=JournalKind.DEBIT, amount=Decimal("-4.5"), currency="USD", text="not said why"
    )


def test_the_journal_is_shown_oldest_first(world: World, cq: Cq) -> None:
    put(world, split(), fee())
    first, second = cq("account", "--journal", "--json").json
    assert (first["kind"], first["contract"], first["quantity"], first["orders"]) == ("split", "AAPL", "20", ["cq-1"])
    assert first["when"].startswith("1970-01-01T00:01:40") and first["amount"] == ""
    assert (second["kind"], second["amount"], second["currency"]) == ("debit", "-4.5", "USD")


def test_reconcile_shows_it_below_the_differences(world: World, cq: Cq) -> None:
    put(world, split())
    shown = cq("reconcile", "show").out
    assert "every position is explained" in shown and "split" in shown and "journal" in shown


def test_an_empty_journal_says_so(cq: Cq) -> None:
    assert "the journal is empty" in cq("account", "--journal").out
    assert cq("account", "--journal", "--json").json == []


def test_the_values_are_shown_without_the_option(world: World, cq: Cq) -> None:
    put(world, fee())
    assert "not said why" not in cq("account").out

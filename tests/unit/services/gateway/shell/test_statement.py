"""A statement's rows go into the journal, what they name is taken back, and a repeat changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal

from services.gateway.shell.outbox import Outbox
from services.gateway.shell.statement import StatementDesk
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import LeaseView
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.codec import decode_fields
from shared.messages.control import CashImport, Control, ControlAction, ImportedCash

D = Decimal


def asked(*rows: ImportedCash, text: str = "") -> Control:
    return Control(
        control_id="c", action=ControlAction.IMPORT_CASH, who="anna", reason="cash.xml",
        text=text or CashImport(rows=rows).model_dump_json(),
    )  # fmt: skip


def row(cash_id: str, kind: JournalKind, amount: str, con_id: int = 265598) -> ImportedCash:
    return ImportedCash(
        cash_id=cash_id, kind=kind, amount=D(amount), currency="USD", day="20261124", ts_ns=5, con_id=con_id
    )


async def test_what_moved_gets_its_reason_once_and_the_sum_stays() -> None:
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    token = await bus.lease_acquire("gateway", "a", LeaseView(), at_least_epoch=1)
    assert token is not None
    await bus.raise_fence(token)
    outbox = Outbox(bus, "gateway:a")
    outbox.open()
    running = asyncio.get_running_loop().create_task(outbox.run(token, lambda: True))
    account = bus.keys.account
    moved = JournalEntry(account="DU1", kind=JournalKind.CREDIT, amount=D("8.50"), currency="USD", ts_init_ns=9)
    entry_id = await bus.append(account, moved, source="t")
    desk = StatementDesk(bus, outbox, "DU1")
    rows = (
        row("1", JournalKind.DIVIDEND, "10"),
        row("2", JournalKind.TAX, "-1.50"),
        row("3", JournalKind.FEE, "-4", 0),
    )
    for control in (asked(text="what"), asked(*rows), asked(*rows)):
        desk.ask(control)
    await desk.turn()
    made = [decode_fields(each.fields).message for each in await bus.read_range(account)][1:]
    journal = [each for each in made if isinstance(each, JournalEntry)]
    assert [(each.kind, each.amount, each.names, each.statement_id) for each in journal] == [
        (JournalKind.CREDIT, D("-8.50"), entry_id, ""),
        (JournalKind.DIVIDEND, D(10), "", "1"),
        (JournalKind.TAX, D("-1.50"), "", "2"),
    ]
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

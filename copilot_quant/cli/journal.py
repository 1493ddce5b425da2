"""The account's journal for `cq account` and `cq reconcile show`: what happened without an order."""

from __future__ import annotations

from copilot_quant.desk import Desk
from shared.clock import iso_utc
from shared.errors import BadInput
from shared.messages import decode_fields
from shared.messages.account import JournalEntry

COLUMNS = ["when", "kind", "contract", "quantity", "amount", "currency", "text"]
_LOOK_BACK = 5000


async def journal_rows(desk: Desk) -> list[dict[str, object]]:
    """Return the retained entries of the journal, oldest first."""
    rows: list[dict[str, object]] = []
    for entry in await desk.bus.read_last(desk.keys.account, _LOOK_BACK):
        if entry.fields.get(b"type") != JournalEntry.TYPE.encode():
            continue
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput:
            continue  # the account's readers dead-letter it
        if isinstance(message, JournalEntry):
            rows.append(journal_row(message))
    return rows


def journal_row(message: JournalEntry) -> dict[str, object]:
    """Return an entry as a row; what has no meaning for its kind is left empty."""
    return {
        "when": iso_utc(message.ts_init_ns), "kind": str(message.kind),
        "contract": message.contract or (f"#{message.con_id}" if message.con_id else ""),
        "quantity": message.quantity or "", "amount": message.amount or "", "currency": message.currency,
        "text": message.text, "orders": list(message.orders),
    }  # fmt: skip

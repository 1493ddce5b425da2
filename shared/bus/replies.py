"""Read what Redis answers (RESP2: bytes, ints, flat lists) into our types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.bus.ports import ClaimResult, Entry, LedgerRow, UnitRecord
from shared.errors import BusUnavailable, DecodeError


def unit_record(stored: Mapping[str, bytes]) -> UnitRecord:
    """Return a unit's record from its hash."""
    cursors = {
        name.removeprefix("cursor:"): value.decode() for name, value in stored.items() if name.startswith("cursor:")
    }
    return UnitRecord(
        commit=int(stored.get("commit", b"0")),
        state=stored.get("state", b""),
        cursors=cursors,
        timers=stored.get("timers", b""),
        owner=stored.get("owner", b"").decode(),
        epoch=int(stored.get("epoch", b"0")),
        past=stored.get("past", b""),
    )


def info_value(text: bytes, name: str) -> str:
    """Return one value of an INFO section.

    Raises:
        BusUnavailable: it is not there; a server that does not say who it is cannot be trusted with order flow.
    """
    for line in text.decode().splitlines():
        if line.startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise BusUnavailable(f"the server's INFO has no {name}")


def as_text(value: Any) -> str:
    """Return a bytes or int reply as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def as_hash(reply: Any) -> dict[str, bytes]:
    """Return an HGETALL reply."""
    return {as_text(reply[i]): reply[i + 1] for i in range(0, len(reply), 2)}


def flat(fields: Mapping[str, str | bytes] | Mapping[str, bytes]) -> list[str | bytes]:
    """Return fields as XADD and HSET take them."""
    flattened: list[str | bytes] = []
    for name, value in fields.items():
        flattened += [name, value]
    return flattened


def entries_of(stream: str, rows: Any) -> list[Entry]:
    """Return stream entries; one that was deleted while pending has no fields."""
    found = []
    for entry_id, values in rows or []:
        values = values or []
        found.append(Entry(stream, entry_id.decode(), dict(zip(values[::2], values[1::2], strict=True))))
    return found


def ledger_row(text: bytes) -> LedgerRow:
    """Return a row as the claim scripts write it.

    Raises:
        DecodeError: the ledger is damaged.
    """
    try:
        leg, result, client_id, order_id, epoch, is_new = text.decode().split("|")
        return LedgerRow(int(leg), ClaimResult(result), int(client_id), int(order_id), int(epoch), is_new == "1")
    except ValueError as e:
        raise DecodeError(f"a row of the ledger cannot be read: {text[:60]!r}") from e

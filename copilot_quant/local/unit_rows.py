"""Read what the workers write about their units, and what each unit made."""

from __future__ import annotations

import json
from typing import Any

from copilot_quant.desk import Desk
from copilot_quant.local.unit_profits import price_in, profit_of
from shared.errors import BadInput
from shared.messages import decode_fields
from shared.messages.orders import Commission


async def rows_of(desk: Desk) -> list[dict[str, Any]]:
    """Return the rows that the workers write, sorted by unit."""
    stored = await desk.bus.hash_get_all(desk.keys.strategies)
    return [json.loads(text) for _, text in sorted(stored.items())]


async def rows_with_profits(desk: Desk) -> list[dict[str, Any]]:
    """Return the rows with the result of each unit as `pnl` (`unit_profits.py`)."""
    rows = await rows_of(desk)
    if not rows:
        return rows
    infos = {info.con_id: info for info in await desk.known_contracts()}
    commissions = await _commissions(desk)
    traded = {con_id for row in rows if row.get("positions") for con_id in row.get("contracts") or ()}
    prices = {}
    for con_id in sorted(traded):
        price = price_in(await desk.last_price(con_id))
        if price is not None:
            prices[con_id] = price
    return [{**row, "pnl": profit_of(row, infos, prices, commissions).as_json()} for row in rows]


async def _commissions(desk: Desk) -> list[Commission]:
    """Return the retained commissions, each execution's once, as it was told last."""
    found: dict[str, Commission] = {}
    for entry in await desk.bus.read_range(desk.keys.fills):
        if entry.fields.get(b"type") != Commission.TYPE.encode():
            continue
        try:
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
        except BadInput:
            continue  # its reader dead-letters it; here it can only not be counted
        if isinstance(message, Commission):
            found[message.exec_id] = message
    return list(found.values())

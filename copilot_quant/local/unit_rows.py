"""Read what the workers write about their units."""

from __future__ import annotations

import json
from typing import Any

from copilot_quant.desk import Desk


async def rows_of(desk: Desk) -> list[dict[str, Any]]:
    """Return the rows that the workers write, sorted by unit."""
    stored = await desk.bus.hash_get_all(desk.keys.strategies)
    return [json.loads(text) for _, text in sorted(stored.items())]

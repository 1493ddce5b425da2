"""What the tests of the journal ask the account about."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.simulator.core.universe import default_universe
from shared.messages.account import JournalEntry, JournalKind, PositionReport, Unexplained
from shared.messages.codec import decode_body
from tests.support import eventually

AAPL = 265598
FOUND_S = 60.0
"""P11: a difference is found within a minute."""


async def journal(desk: Any) -> list[JournalEntry]:
    return [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, JournalEntry)]


async def entry(desk: Any, kind: JournalKind, count: int = 1) -> JournalEntry:
    async def is_there() -> bool:
        return sum(each.kind is kind for each in await journal(desk)) >= count

    try:
        await eventually(is_there, FOUND_S)
    except AssertionError:
        seen = [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained)]
        raise AssertionError(f"no {kind} in {await journal(desk)}; unexplained: {seen}") from None
    return [each for each in await journal(desk) if each.kind is kind][-1]


async def held(desk: Any, con_id: int = AAPL) -> dict[str, int]:
    stored = await desk.bus.hash_get_all(desk.bus.keys.positions)
    found = decode_body("position", stored[str(con_id)]) if str(con_id) in stored else None
    return {each.strategy: int(each.quantity) for each in found.shares} if isinstance(found, PositionReport) else {}


async def holding(desk: Any, con_id: int, **shares: int) -> None:
    async def is_so() -> bool:
        return await held(desk, con_id) == shares

    try:
        await eventually(is_so, FOUND_S)
    except AssertionError:
        raise AssertionError(f"{con_id}: {await held(desk, con_id)} is not {shares}") from None


async def unexplained(desk: Any) -> list[Unexplained]:
    return [each for each in await desk.messages(desk.bus.keys.account) if isinstance(each, Unexplained)]


def listed(right: str) -> tuple[int, str]:
    """Return conId and local symbol of the AAPL option of the lowest strike, as the exchange lists it."""
    options = [
        each
        for each in default_universe(datetime.now(ZoneInfo("America/New_York")).date())
        if each.sec_type == "OPT" and each.symbol == "AAPL" and each.right == right
    ]
    lowest = min(options, key=lambda each: (each.expiry, each.strike))
    return lowest.con_id, lowest.local_symbol

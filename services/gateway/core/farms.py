"""Know how IB's data farms do, by the notices that TWS sends to every client.

| codes | say that a farm of market data, of history, of contract definitions |
|---|---|
| 2103, 2105, 2157 | is broken |
| 2104, 2106, 2158 | is OK; so says TWS of each right after a client connects |
| 2107, 2108 | (history, market data) is inactive: not connected, and available upon demand |

Invariants:
1. What is told again is no news; the first word on a farm is.
2. A farm that broke is `lost` until it is OK: inactive in between, it has not brought the data back.

Source: ib-facts A.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from shared.messages.control import FarmCondition, FarmKind

_CODES: dict[int, tuple[FarmKind, FarmCondition]] = {
    2103: (FarmKind.MARKET, FarmCondition.BROKEN),
    2105: (FarmKind.HISTORY, FarmCondition.BROKEN),
    2157: (FarmKind.CONTRACTS, FarmCondition.BROKEN),
    2104: (FarmKind.MARKET, FarmCondition.OK),
    2106: (FarmKind.HISTORY, FarmCondition.OK),
    2158: (FarmKind.CONTRACTS, FarmCondition.OK),
    2107: (FarmKind.HISTORY, FarmCondition.INACTIVE),
    2108: (FarmKind.MARKET, FarmCondition.INACTIVE),
}
_NAME = re.compile(r"(?::|demand\.)\s*([\w.-]+)\s*$")
"""TWS writes `… is broken:usfarm`, and `… available upon demand.usfarm` with no colon."""


@dataclass(frozen=True, slots=True)
class Farm:
    """One farm as it was told of last."""

    name: str
    kind: FarmKind
    condition: FarmCondition
    code: int
    text: str
    was_lost: bool = False
    """It had broken, and this is the first time since that it is OK."""
    is_lost: bool = False


class Farms:
    """The farms that one session was told of."""

    def __init__(self) -> None:
        self._farms: dict[str, Farm] = {}

    def __iter__(self) -> Iterator[Farm]:
        """Yield every farm that is known."""
        return iter(list(self._farms.values()))

    @property
    def broken(self) -> list[str]:
        """Return the names of those that are down now."""
        return [farm.name for farm in self if farm.condition is FarmCondition.BROKEN]

    def clear(self) -> None:
        """Forget what a session was told: the next one is told anew."""
        self._farms.clear()

    def told(self, code: int, text: str) -> Farm | None:
        """Take a notice; return the farm if that is news, None for a repetition or another code."""
        if code not in _CODES:
            return None
        kind, condition = _CODES[code]
        found = _NAME.search(text)
        name = found.group(1) if found else str(kind)
        before = self._farms.get(name)
        if before is not None and before.condition is condition:
            return None
        was_lost = before is not None and before.is_lost
        is_ok = condition is FarmCondition.OK
        is_lost = condition is FarmCondition.BROKEN or (was_lost and not is_ok)
        farm = Farm(name, kind, condition, code, text, was_lost=was_lost and is_ok, is_lost=is_lost)
        self._farms[name] = farm
        return farm

"""Wait for what a running system is to show, and no longer than it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from shared.errors import CqError


async def until(what: str, limit_s: float, look: Callable[[], Awaitable[Any]], *, every_s: float = 0.05) -> Any:
    """Return the first true answer of `look`; what is away meanwhile is asked again.

    Raises:
        TimeoutError: `what` did not happen within `limit_s`.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            found = await look()
            if found:
                return found
        except CqError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {limit_s:g} s")
        await asyncio.sleep(every_s)

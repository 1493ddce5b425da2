"""The turn to claim orders and write them: one command at a time, and none while it is held back.

`async with sending:` is for who must know that nothing is between a claim and the socket, a halt above all: that waits
for one command at most. `async with sending.turn():` is for the commands, which wait while they are held back, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Sending:
    """A lock that can be kept from some of those who ask for it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._is_free = asyncio.Event()
        self._is_free.set()

    async def acquire(self) -> None:
        """Take it for good: nothing is claimed any more."""
        await self._lock.acquire()

    async def __aenter__(self) -> None:
        """Wait until nothing is between a claim and the socket."""
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        """Let the next one begin."""
        self._lock.release()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn to claim and to write."""
        while True:
            await self._is_free.wait()
            async with self:
                if self._is_free.is_set():
                    yield
                    return

    @asynccontextmanager
    async def held_back(self) -> AsyncIterator[None]:
        """Let no command have its turn; halts are not kept waiting."""
        async with self:
            self._is_free.clear()  # what was claimed is written
        try:
            yield
        finally:
            self._is_free.set()

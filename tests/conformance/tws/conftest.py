"""ib_insync asks for the current event loop when a client is made; every test here has one, whatever ran before."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _current_loop() -> Iterator[None]:
    # An asyncio.run() in an earlier test leaves the thread without one.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()

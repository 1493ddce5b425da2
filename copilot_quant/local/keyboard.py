"""Read single keys from the terminal without waiting for Enter."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from collections.abc import AsyncIterator


async def read_keys() -> AsyncIterator[str]:
    """Yield each key as it is typed; the terminal's settings are put back when the reader stops."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    keys: asyncio.Queue[str] = asyncio.Queue(maxsize=64)
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        for key in os.read(descriptor, 64).decode(errors="ignore"):
            if not keys.full():
                keys.put_nowait(key)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, on_readable)
    try:
        while True:
            yield await keys.get()
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import AsyncIterator, Iterator

import pytest

from copilot_quant.local.keyboard import read_keys
from tests.support import eventually


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal in the place of stdin; what is written to the descriptor is typed."""
    typing, terminal = os.openpty()
    file = os.fdopen(terminal, "r")
    monkeypatch.setattr(sys, "stdin", file)
    yield typing
    file.close()
    os.close(typing)


async def first_key(keys: AsyncIterator[str], keyboard: int, typed: bytes) -> str:
    """Type once the terminal is read key by key (what was typed before is discarded), and return the first key."""
    waiting = asyncio.ensure_future(anext(keys))
    await eventually(lambda: not termios.tcgetattr(sys.stdin.fileno())[3] & termios.ICANON)
    os.write(keyboard, typed)
    return await waiting


async def test_keys_come_without_enter_and_the_terminal_is_put_back(keyboard: int) -> None:
    before = termios.tcgetattr(sys.stdin.fileno())
    keys = read_keys()
    async with asyncio.timeout(5):
        assert [await first_key(keys, keyboard, b"fn"), await anext(keys)] == ["f", "n"]
        os.write(keyboard, b"q")
        assert await anext(keys) == "q"
    await keys.aclose()  # type: ignore[attr-defined]
    assert termios.tcgetattr(sys.stdin.fileno())[3] == before[3]


async def test_keys_that_nobody_reads_do_not_pile_up(keyboard: int) -> None:
    keys = read_keys()
    async with asyncio.timeout(5):
        assert await first_key(keys, keyboard, b"a") == "a"
        for _ in range(4):
            os.write(keyboard, b"x" * 64)
            await asyncio.sleep(0.05)
        assert [await anext(keys) for _ in range(64)] == ["x"] * 64
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await anext(keys)

"""Memory shared with the sentinel: which handler of which unit runs right now, and whose handlers take the memory.

Layout (little endian): calls u64, flags u8, length u8, measure u8, length of the greediest u8, then at 16 `unit NUL
event` and at 272 the greediest unit, in UTF-8, cut at 240 bytes. The sentinel writes `measure` alone, the worker the
rest. A reader may see half of a change: what it acts on has to last.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

_HEAD = struct.Struct("<QBB")
_FLAGS, _MEASURE, _GREEDY_LENGTH, _TEXT, _GREEDY, _LONGEST = 8, 10, 11, 16, 272, 240
RUNNING, STUCK, DEBUGGED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What the mark shows: the number of the call, whose it is or was, whether it still runs, who takes most memory."""

    calls: int
    unit: str
    event: str
    is_running: bool
    is_stuck: bool
    is_debugged: bool
    greediest: str = ""


class Mark:
    """Written by the worker, read by its sentinel; make it before the fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 512)
        self._texts: dict[tuple[str, str], bytes] = {}
        self._calls = 0
        self._unit = ""
        self._before = -1
        self._grown: dict[str, int] = {}

    def begin(self, unit: str, event: str) -> None:
        """Note that a handler begins."""
        text = self._texts.get((unit, event))
        if text is None:
            text = self._texts[unit, event] = f"{unit}\0{event}".encode()[:_LONGEST]
        self._calls += 1
        memory = self._memory
        memory[_TEXT : _TEXT + len(text)] = text
        _HEAD.pack_into(memory, 0, self._calls, RUNNING, len(text))
        if memory[_MEASURE]:
            self._unit, self._before = unit, pages_of(os.getpid())

    def end(self) -> None:
        """Note that it returned; whose it was stays."""
        self._memory[_FLAGS] = 0
        if self._before >= 0:
            grown = self._grown
            grown[self._unit] = grown.get(self._unit, 0) + pages_of(os.getpid()) - self._before
            self._before = -1
            text = max(grown, key=lambda unit: grown[unit]).encode()[:_LONGEST]
            self._memory[_GREEDY : _GREEDY + len(text)] = text
            self._memory[_GREEDY_LENGTH] = len(text)

    def measure(self) -> None:
        """Have the worker measure from now on what each handler takes: some microseconds for each."""
        self._memory[_MEASURE] = 1

    def flag(self, flags: int) -> None:
        """Say more of the handler that runs: STUCK or DEBUGGED, 0 for neither."""
        if self._memory[_FLAGS] & RUNNING:
            self._memory[_FLAGS] = RUNNING | flags

    def read(self) -> Seen:
        """Return what stands there."""
        calls, flags, length = _HEAD.unpack_from(self._memory, 0)
        unit, _, event = self._memory[_TEXT : _TEXT + length].decode(errors="replace").partition("\0")
        greediest = self._memory[_GREEDY : _GREEDY + self._memory[_GREEDY_LENGTH]].decode(errors="replace")
        return Seen(calls, unit, event, bool(flags & RUNNING), bool(flags & STUCK), bool(flags & DEBUGGED), greediest)


def pages_of(pid: int) -> int:
    """Return how many pages of memory a process holds, 0 where the system does not show it."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1])
    except OSError:
        return 0

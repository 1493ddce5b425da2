"""Load the Lua scripts and pack what they read.

Every script starts with `lua/preamble.lua`; its own head says KEYS, ARGV, what it returns and what is atomic. Scripts
run by their SHA1; after a restart of the server they are loaded again when it says NOSCRIPT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

LEDGER_KEEP_S = 8 * 24 * 3600
"""Claims, decisions and the fill index are kept eight days: longer than IB shows executions (architecture §4)."""

WITH_OOM = frozenset(
    {
        *("lease_acquire", "lease_renew", "lease_release", "raise_fence"),
        *("decide", "pass_cancel", "claim", "cancel_first", "publish_fills"),
        *("append", "set_hash"),
    }
)
"""Leases, halts and outcomes work when Redis is out of memory (architecture §4).

`publish` does for the gateway and risk, whose entries are outcomes; unit commits and ticks wait for memory.
"""


@dataclass(frozen=True, slots=True)
class Script:
    """One script: its text and the SHA1 it runs under."""

    name: str
    text: str
    sha: str


@cache
def script(name: str, *, allow_oom: bool = False) -> Script:
    """Return a script of `shared/bus/lua` with the preamble in front; those of `WITH_OOM` always allow it."""
    folder = resources.files("shared.bus") / "lua"
    head = "#!lua flags=allow-oom\n" if allow_oom or name in WITH_OOM else "#!lua\n"
    text = head + (folder / "preamble.lua").read_text() + (folder / f"{name}.lua").read_text()
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def pack_entry(fields: Mapping[str, bytes] | None) -> list[bytes]:
    """Return an entry as the scripts read it: the field count, then names and values; None packs to `0`."""
    if fields is None:
        return [b"0"]
    packed = [str(len(fields)).encode()]
    for name, value in fields.items():
        packed += [name.encode(), value]
    return packed


def pack_entries(entries: Sequence[Mapping[str, bytes] | None]) -> list[bytes]:
    """Return several packed entries, one after the other."""
    return [part for entry in entries for part in pack_entry(entry)]

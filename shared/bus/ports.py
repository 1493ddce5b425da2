"""What services may ask of the bus: entries, appends, readers, leases and the fenced scripts.

`redis_client.py` with `writer.py` (Redis) and `memory.py` (in memory) implement these and pass one conformance suite.

Invariants of every fenced act:
1. It happens only if the lease key holds the token's owner, epoch and incarnation, the fence equals its epoch, and the
   server's incarnation, read inside the script, is the token's. Otherwise `Fenced` is raised and nothing was written.
2. Effect and cursor move together or not at all.
3. A reply that did not come is `OutcomeUnknown`: the caller resolves it by reading, never by assuming. Every fenced act
   is idempotent by the ids it carries, so that the same call with the same ids may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shared.bus.keys import Keys
from shared.messages.base import Message
from shared.messages.control import GapEvent
from shared.messages.orders import CancelCommand, Command, Commission, Decision, Fill, Intent, OrderEvent

FIRST = "0-0"
"""A new cursor starts here, not at `$`: what was written before the reader came still counts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A raw stream entry; decode it with `shared.messages.decode_fields`."""

    stream: str
    entry_id: str
    fields: Mapping[bytes, bytes]


def entry_order(entry_id: str) -> tuple[int, int]:
    """Return an entry id as numbers that sort in the stream's order."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


@dataclass(frozen=True, slots=True)
class LeaseToken:
    """Proof of leadership that every fenced script checks."""

    role: str
    owner: str
    epoch: int
    incarnation: str


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A lease as stored: what a candidate watches (by value, on its own clock) and compares-and-sets against."""

    owner: str = ""
    epoch: int = 0
    incarnation: str = ""
    counter: int = 0


class ClaimResult(StrEnum):
    """The one final result of a claim per intent and leg."""

    CLAIMED = "claimed"
    REFUSED_HALTED = "refused:halted"
    REFUSED_EXPIRED = "refused:expired"
    REFUSED_CANCELLED_FIRST = "refused:cancelled_first"
    REFUSED_STALE = "refused:stale"
    REFUSED_WINDOW = "refused:window"
    REFUSED_SCOPE_HALTED = "refused:scope_halted"
    """The order's strategy or contract is halted, or its strategy paused."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A stored claim result of one leg. `order_id` and `client_id` are 0 unless claimed."""

    leg: int
    result: ClaimResult
    client_id: int = 0
    order_id: int = 0
    epoch: int = 0
    is_new: bool = False
    """Whether this very call wrote the row (else it had been final before)."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Everything the claim script needs for one command.

    `order_ids` reserves one id per leg under `client_id`. `if_claimed` and `if_refused` are the order events written in
    the same script: one `claimed` event per leg, or per leg one final event, chosen by the result
    (`if_refused[result][leg]`). `now_ns` is the leader's wall time, compared with the command's `not_after_ns`.
    """

    intent_id: str
    legs: int
    client_id: int
    order_ids: tuple[int, ...]
    not_after_ns: int
    now_ns: int
    is_reducing: bool
    made_in: str
    """The incarnation the command was made in; another one ends `refused:stale`."""
    cursor_entry: str
    """The entry of `commands` that this claim consumes."""
    if_claimed: tuple[OrderEvent, ...]
    if_refused: Mapping[ClaimResult, tuple[OrderEvent, ...]] = field(default_factory=dict)
    is_in_window: bool = False
    """The broker is about to go, or away, as planned: what adds exposure ends `refused:window`."""
    strategy: str = ""
    con_id: int = 0
    """Whose order it is and in what; halted or paused ones end `refused:scope_halted` if they add exposure."""


@dataclass(frozen=True, slots=True)
class UnitCommit:
    """One commit of a strategy unit: state, cursors, timers and intents together (P9)."""

    unit_id: str
    commit: int
    """The number of this commit, one more than the last; a repeated number is the same commit and does nothing."""
    state: bytes
    cursors: Mapping[str, str]
    timers: bytes
    intents: tuple[Intent, ...] = ()
    cancels: tuple[Message, ...] = ()
    past: bytes | None = None
    """The larger part of the state, which changes seldom; None: it is as the last commit that had one left it."""


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """A unit as last committed."""

    commit: int = 0
    state: bytes = b""
    cursors: Mapping[str, str] = field(default_factory=dict)
    timers: bytes = b""
    owner: str = ""
    epoch: int = 0
    """The worker that owns the unit, and the epoch of its lease; only it may commit."""
    past: bytes = b""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Pending entries taken over from consumers that stopped.

    `trimmed` are ids whose entries are gone: they were dropped from the pending list and cannot be handled any more.
    """

    entries: tuple[Entry, ...]
    trimmed: tuple[str, ...]
    next_start: str


class Renewal(Protocol):
    """A blocking way to renew one lease, for a thread of its own."""

    def renew(self) -> None:
        """Count the lease up.

        Raises:
            Fenced: the lease is another's, or the incarnation changed.
            BusUnavailable: not known to be renewed.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Bus(Protocol):
    """One connection to the order-flow server (and the tick server, which may be the same), for one deployment.

    Every method raises `BusUnavailable` when the server is away; a write whose reply was lost raises `OutcomeUnknown`.
    """

    @property
    def keys(self) -> Keys:
        """Names of this deployment."""
        ...

    async def incarnation(self) -> str:
        """Return the server's incarnation (`run_id` + replication id)."""
        ...

    async def server_facts(self) -> dict[str, str]:
        """Return what the order-flow server says of itself (INFO): version, memory policy, files, replicas."""
        ...

    async def append(self, stream: str, message: Message, *, source: str, epoch: int = 0) -> str:
        """Append one message without a lease (intents of people, control, queries, heartbeats); return its entry id."""
        ...

    async def read(
        self,
        cursors: Mapping[str, str],
        *,
        count: int = 500,
        block_ms: int | None = None,
        beside: Mapping[str, str] | None = None,
    ) -> dict[str, list[Entry]]:
        """Return entries after each cursor, in order; block one slice of at most `block_ms` (None: not at all).

        Streams `beside` are read right after those of `cursors`, but nothing is waited for in them: whoever writes to
        them does not wake this reader, and whoever wakes it has it read them as well.
        """
        ...

    async def read_range(
        self, stream: str, *, first: str = "-", last: str = "+", count: int | None = None
    ) -> list[Entry]:
        """Return entries from `first` to `last`, both included."""
        ...

    async def read_last(self, stream: str, count: int) -> list[Entry]:
        """Return the last `count` entries, oldest first."""
        ...

    async def last_id(self, stream: str) -> str:
        """Return the last generated id of a stream, `0-0` if it has never had an entry."""
        ...

    async def gap_after(self, stream: str, cursor: str) -> GapEvent | None:
        """Return the gap between a cursor and the first retained entry, if entries in between were trimmed."""
        ...

    async def get_cursor(self, stream_name: str) -> str:
        """Return the committed cursor of a single fenced reader, e.g. of `intents`."""
        ...

    async def dead_letter(self, entry: Entry, *, consumer: str, error: str) -> None:
        """Keep what could not be decoded or handled, with the error; the original fields are kept as they are."""
        ...

    # -- plain snapshots that people look at

    async def hash_set(self, key: str, values: Mapping[str, str | bytes], *, expire_s: float | None = None) -> None:
        """Set fields of a hash."""
        ...

    async def hash_get_all(self, key: str) -> dict[str, bytes]:
        """Return a hash, empty when missing."""
        ...

    async def hash_delete(self, key: str, fields: Sequence[str]) -> None:
        """Delete fields of a hash."""
        ...

    async def set_text(self, key: str, value: str | bytes, *, expire_s: float | None = None) -> None:
        """Set a string."""
        ...

    async def get_text(self, key: str) -> bytes | None:
        """Return a string, None when missing."""
        ...

    async def scan(self, pattern: str) -> list[str]:
        """Return the keys that match a glob pattern, sorted."""
        ...

    # -- leases

    async def lease_view(self, role: str) -> LeaseView:
        """Return the stored lease."""
        ...

    async def lease_acquire(self, role: str, owner: str, seen: LeaseView, *, at_least_epoch: int) -> LeaseToken | None:
        """Replace the lease if it still equals `seen`; the new epoch exceeds stored, fence and `at_least_epoch`."""
        ...

    async def lease_renew(self, token: LeaseToken) -> LeaseView:
        """Count the lease up.

        Raises:
            Fenced: the lease is another's, or the incarnation changed.
        """
        ...

    def open_renewal(self, token: LeaseToken, *, limit_s: float) -> Renewal:
        """Return a blocking connection of its own that renews this lease; for the elector's thread."""
        ...

    async def lease_release(self, token: LeaseToken) -> None:
        """Give the lease up if it is still ours, so that a candidate need not wait."""
        ...

    async def raise_fence(self, token: LeaseToken) -> None:
        """From now on only this epoch of the role publishes.

        Raises:
            Fenced: the lease is not the token's, or a higher fence stands.
        """
        ...

    # -- fenced acts

    async def publish(self, token: LeaseToken, entries: Sequence[tuple[str, Message]], *, source: str) -> list[str]:
        """Append messages to streams under a lease, all or none, in order."""
        ...

    async def publish_ticks(self, token: LeaseToken, batches: Sequence[tuple[int, bytes]], *, source: str) -> None:
        """Append packed batches `(partition, body)` to the tick streams under a lease, in one round trip."""
        ...

    async def decide(
        self, token: LeaseToken, *, entry_id: str, decision: Decision, command: Command | None, source: str
    ) -> bool:
        """Write the one decision of an intent, its command if approved, and move the cursor of `intents`.

        Returns False if the intent had been decided before: then only the cursor moves.
        """
        ...

    async def pass_cancel(
        self, token: LeaseToken, *, entry_id: str, command: CancelCommand | None, source: str
    ) -> None:
        """Write a cancel command (None: the request was unreadable) and move the cursor of `cancels`."""
        ...

    async def claim(self, token: LeaseToken, request: ClaimRequest, *, source: str) -> list[LedgerRow]:
        """Write the one final result per leg with its order events and move the cursor of `commands`."""
        ...

    async def skip_entry(self, token: LeaseToken, stream_name: str, entry_id: str) -> None:
        """Move the cursor of a single fenced reader past an entry that was dead-lettered or needs no effect."""
        ...

    async def ledger_rows(self, intent_id: str) -> list[LedgerRow]:
        """Return the stored claim results of an intent."""
        ...

    async def cancel_first(
        self,
        token: LeaseToken,
        *,
        intent_id: str,
        legs: Sequence[int],
        events: Sequence[OrderEvent],
        entry_id: str,
        source: str,
    ) -> list[LedgerRow]:
        """Close unclaimed legs as `cancelled_first`, with their final events, and move the cursor."""
        ...

    async def publish_fills(self, token: LeaseToken, fills: Sequence[Fill | Commission], *, source: str) -> list[bool]:
        """Append executions not yet in the index (account, stem → revision); True per entry that was new (P3).

        A Commission is deduplicated by its execId on its own.
        """
        ...

    # -- strategy units

    async def load_unit(self, unit_id: str) -> UnitRecord:
        """Return a unit as last committed, an empty record for a new one."""
        ...

    async def take_unit(self, token: LeaseToken, unit_id: str, *, seen: UnitRecord) -> bool:
        """Become a unit's owner if its owner is still the one seen; False if another was faster.

        When to take a unit from another is the caller's decision (its owner's lease is gone, or it gave the unit up).
        """
        ...

    async def release_unit(self, token: LeaseToken, unit_id: str) -> bool:
        """Give a unit up, so that another worker may take it at once; False if it is another's already."""
        ...

    async def commit_unit(self, token: LeaseToken, commit: UnitCommit, *, source: str) -> bool:
        """Save a unit's commit and append its intents; False if this commit number was already saved."""
        ...

    # -- consumer groups: work that any of several may take; use `shared.bus.consumer.GroupReader`

    async def group_ensure(self, stream: str, group: str) -> None:
        """Create the group (and the stream) if missing; a new group starts at the first retained entry."""
        ...

    async def group_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        """Return entries delivered to this consumer and not acknowledged, after an id; trimmed ones have no fields.

        Raises:
            GroupMissing: there is no such group.
        """
        ...

    async def group_new(
        self, stream: str, group: str, consumer: str, *, count: int, block_ms: int | None
    ) -> list[Entry]:
        """Return entries never delivered before, and note them as pending; block one slice of at most `block_ms`.

        Raises:
            GroupMissing: there is no such group.
        """
        ...

    async def group_claim(
        self, stream: str, group: str, consumer: str, *, idle_ms: int, start: str, count: int
    ) -> Claimed:
        """Take over entries that have been pending with any consumer for `idle_ms`.

        Raises:
            GroupMissing: there is no such group.
        """
        ...

    async def group_ack(self, stream: str, group: str, entry_ids: Sequence[str]) -> None:
        """Acknowledge entries: they are handled and leave the pending list."""
        ...

    async def answer(self, client: str, message: Message, *, source: str, epoch: int = 0) -> None:
        """Append to a client's answer stream, which is short and expires by itself."""
        ...

    async def stream_length(self, stream: str) -> int:
        """Return how many entries a stream holds."""
        ...

    async def count_after(self, stream: str, cursor: str, *, limit: int = 100_000) -> int:
        """Return how many entries (at most `limit`) lie after a cursor: a reader's lag."""
        ...

    async def trim(self, stream: str, *, before: str) -> int:
        """Delete entries with an id below `before`; return how many."""
        ...

    async def load_functions(self) -> None:
        """Load the function library; needs an administrator's user."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...

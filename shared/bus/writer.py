"""The fenced acts on Redis: every one is a single script that checks lease, fence and incarnation first.

Encoding happens here; what is atomic, and what each script checks, stands at the head of its Lua file.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.bus.keys import Keys, Role
from shared.bus.ports import (
    ClaimRequest,
    ClaimResult,
    LeaseToken,
    LedgerRow,
    UnitCommit,
    UnitRecord,
)
from shared.bus.redis_link import RedisLink
from shared.bus.replies import as_hash, as_text, ledger_row, unit_record
from shared.bus.scripts import LEDGER_KEEP_S, pack_entries, pack_entry
from shared.clock import SYSTEM_CLOCK, random_token
from shared.messages.base import Message
from shared.messages.codec import encode_fields
from shared.messages.market import TICKS_TYPE
from shared.messages.orders import CancelCommand, Command, Commission, Decision, Fill, OrderEvent

TICK_STREAM_ENTRIES = 100_000
"""About how many batches a tick stream keeps."""
_TICKS = TICKS_TYPE.encode()
_MARK = "mark"
"""The ledger's field that tells whose call claimed."""
_CLAIM_ORDER = (
    ClaimResult.CLAIMED,
    ClaimResult.REFUSED_HALTED,
    ClaimResult.REFUSED_EXPIRED,
    ClaimResult.REFUSED_CANCELLED_FIRST,
    ClaimResult.REFUSED_STALE,
    ClaimResult.REFUSED_WINDOW,
    ClaimResult.REFUSED_SCOPE_HALTED,
)
_OUTCOME_ROLES = (Role.GATEWAY, Role.RISK)


class FencedWriter:
    """The part of `RedisBus` that acts under a lease.

    Args:
        keys: names of the deployment.
        link: the order-flow server.
        ticks: the server of `ticks:<p>` and `bars:<p>`; the same object when there is one server.
    """

    def __init__(self, keys: Keys, link: RedisLink, ticks: RedisLink) -> None:
        self._keys = keys
        self._link = link
        self._ticks = ticks
        self._mark, self._marks = random_token(12), 0

    @property
    def has_own_tick_server(self) -> bool:
        """Return whether ticks live on a second server."""
        return self._ticks is not self._link

    def _link_of(self, stream: str) -> RedisLink:
        name = stream.split(":", 2)[-1]
        return self._ticks if name.startswith(("ticks:", "bars:")) else self._link

    def _fenced(self, token: LeaseToken) -> tuple[list[str], list[str | bytes | int]]:
        keys = [self._keys.lease(token.role), self._keys.fence(token.role)]
        return keys, [token.owner, token.epoch, token.incarnation]

    @staticmethod
    def _encode(message: Message | None, token: LeaseToken, source: str) -> dict[str, bytes] | None:
        if message is None:
            return None
        return encode_fields(message, source=source, epoch=token.epoch, now_ns=SYSTEM_CLOCK.wall_ns())

    async def publish(self, token: LeaseToken, entries: Sequence[tuple[str, Message]], *, source: str) -> list[str]:
        """Append messages to streams under a lease, all or none, in order.

        Streams of the tick server (bars) are fenced there and go in a second round trip.
        """
        if not entries:
            return []
        own = [entry for entry in entries if self._link_of(entry[0]) is self._link]
        if len(own) != len(entries):
            others = [entry for entry in entries if self._link_of(entry[0]) is not self._link]
            batches = [(stream, self._encode(message, token, source)) for stream, message in others]
            await self._append_to_ticks(token, batches)
        if not own:
            return []
        keys, args = self._fenced(token)
        keys += [stream for stream, _ in own]
        args += pack_entries([self._encode(message, token, source) for _, message in own])
        is_outcome = token.role in _OUTCOME_ROLES
        reply = await self._link.run("publish", keys, args, allow_oom=is_outcome)
        return [as_text(entry_id) for entry_id in reply]

    async def publish_ticks(self, token: LeaseToken, batches: Sequence[tuple[int, bytes]], *, source: str) -> None:
        """Append packed batches `(partition, body)` to the tick streams under a lease, in one round trip."""
        epoch = str(token.epoch).encode()
        origin = source.encode()
        entries: list[tuple[str, dict[str, bytes] | None]] = [
            (self._keys.ticks(partition), {"type": _TICKS, "source": origin, "epoch": epoch, "body": body})
            for partition, body in batches
        ]
        await self._append_to_ticks(token, entries)

    async def _append_to_ticks(self, token: LeaseToken, entries: Sequence[tuple[str, dict[str, bytes] | None]]) -> None:
        if not entries:
            return
        keys, args = self._fenced(token)
        keys += [stream for stream, _ in entries]
        args += [TICK_STREAM_ENTRIES, "fence" if self.has_own_tick_server else "lease"]
        for _, fields in entries:
            args += pack_entry(fields)
        await self._ticks.run("publish_ticks", keys, args)

    async def decide(
        self, token: LeaseToken, *, entry_id: str, decision: Decision, command: Command | None, source: str
    ) -> bool:
        """Write the one decision of an intent, its command if approved, and move the cursor of `intents`."""
        keys, args = self._fenced(token)
        names = self._keys
        keys += [names.cursor("intents"), names.decided(decision.intent_id), names.decisions, names.commands]
        args += [entry_id, LEDGER_KEEP_S, command.incarnation if command is not None else ""]
        args += pack_entry(self._encode(decision, token, source)) + pack_entry(self._encode(command, token, source))
        return bool(await self._link.run("decide", keys, args))

    async def pass_cancel(
        self, token: LeaseToken, *, entry_id: str, command: CancelCommand | None, source: str
    ) -> None:
        """Write a cancel command (None: the request was unreadable) and move the cursor of `cancels`."""
        keys, args = self._fenced(token)
        keys += [self._keys.cursor("cancels"), self._keys.cancel_commands]
        args += [entry_id, *pack_entry(self._encode(command, token, source))]
        await self._link.run("pass_cancel", keys, args)

    async def skip_entry(self, token: LeaseToken, stream_name: str, entry_id: str) -> None:
        """Move the cursor of a single fenced reader past an entry that needs no effect."""
        keys, args = self._fenced(token)
        keys += [self._keys.cursor(stream_name), self._keys.dead_letter]
        await self._link.run("pass_cancel", keys, [*args, entry_id, b"0"])

    async def claim(self, token: LeaseToken, request: ClaimRequest, *, source: str) -> list[LedgerRow]:
        """Write the one final result per leg with its order events and move the cursor of `commands`.

        An order waits for this, so the usual case goes ahead with nothing but what it needs: the events of `claimed`
        alone, and an answer that is not behind those of the readers whom they wake. Whatever else comes of it, and
        every repetition, takes the whole script.
        """
        rows = await self._claim_at_once(token, request, source)
        if rows:
            return rows
        keys, args = self._claim_script(token, request, mark="")
        for result in _CLAIM_ORDER:
            events: Sequence[OrderEvent | None] = (
                request.if_claimed if result is ClaimResult.CLAIMED else request.if_refused.get(result, ())
            )
            if result is ClaimResult.REFUSED_STALE and request.made_in == token.incarnation:
                events = ()  # the script compares the same two texts
            args += self._pack_legs(token, request, events, source)
        return [ledger_row(text) for text in await self._link.run("claim", keys, args)]

    async def _claim_at_once(self, token: LeaseToken, request: ClaimRequest, source: str) -> list[LedgerRow]:
        """Claim every leg, or write nothing and return no rows; a mark in the ledger tells whether this call did."""
        self._marks += 1
        mark = f"{self._mark}{self._marks}"
        keys, args = self._claim_script(token, request, mark=mark)
        args += self._pack_legs(token, request, request.if_claimed, source)
        is_done = ("HGET", self._keys.ledger(request.intent_id), _MARK)
        if await self._link.run_silently("claim", keys, args, is_done) != mark.encode():
            return []
        return [
            LedgerRow(leg, ClaimResult.CLAIMED, request.client_id, order_id, token.epoch, is_new=True)
            for leg, order_id in enumerate(request.order_ids)
        ]

    def _claim_script(
        self, token: LeaseToken, request: ClaimRequest, *, mark: str
    ) -> tuple[list[str], list[str | bytes | int]]:
        keys, args = self._fenced(token)
        names = self._keys
        ledger = names.ledger(request.intent_id)
        keys += [names.cursor("commands"), ledger, names.halt, names.order_ids, names.orders]
        args += [request.cursor_entry, LEDGER_KEEP_S, request.legs, request.client_id, int(request.is_reducing)]
        is_late = request.now_ns > request.not_after_ns
        args += [request.made_in, 1 if is_late else 2 * request.is_in_window, mark, request.strategy, request.con_id]
        args += request.order_ids
        return keys, args

    def _pack_legs(
        self, token: LeaseToken, request: ClaimRequest, events: Sequence[OrderEvent | None], source: str
    ) -> list[bytes]:
        padded = [*events, *([None] * request.legs)][: request.legs]
        return pack_entries([self._encode(event, token, source) for event in padded])

    async def ledger_rows(self, intent_id: str) -> list[LedgerRow]:
        """Return the stored claim results of an intent, by leg."""
        stored = as_hash(await self._link.call("HGETALL", self._keys.ledger(intent_id), writes=False))
        rows = [ledger_row(f"{leg}|{row.decode()}|0".encode()) for leg, row in stored.items() if leg != _MARK]
        return sorted(rows, key=lambda row: row.leg)

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
        keys, args = self._fenced(token)
        names = self._keys
        keys += [names.cursor("cancel-commands"), names.ledger(intent_id), names.orders]
        args += [entry_id, LEDGER_KEEP_S, len(legs)]
        padded: list[OrderEvent | None] = [*events, *([None] * len(legs))][: len(legs)]
        for leg, event in zip(legs, padded, strict=True):
            args += [leg, *pack_entry(self._encode(event, token, source))]
        return [ledger_row(text) for text in await self._link.run("cancel_first", keys, args)]

    async def publish_fills(self, token: LeaseToken, fills: Sequence[Fill | Commission], *, source: str) -> list[bool]:
        """Append executions not yet in the index; True per entry that was new."""
        if not fills:
            return []
        keys, args = self._fenced(token)
        keys.append(self._keys.fills)
        args.append(LEDGER_KEEP_S)
        for fill in fills:
            stem = fill.exec_stem if isinstance(fill, Fill) else f"commission:{fill.exec_id}"
            keys.append(self._keys.fill_index(fill.account, stem))
            args.append(fill.revision if isinstance(fill, Fill) else 1)
            args += pack_entry(self._encode(fill, token, source))
        return [bool(answer) for answer in await self._link.run("publish_fills", keys, args)]

    # -- strategy units

    async def load_unit(self, unit_id: str) -> UnitRecord:
        """Return a unit as last committed."""
        return unit_record(as_hash(await self._link.call("HGETALL", self._keys.unit(unit_id), writes=False)))

    async def take_unit(self, token: LeaseToken, unit_id: str, *, seen: UnitRecord) -> bool:
        """Become a unit's owner if its owner is still the one seen; False if another was faster."""
        keys, args = self._fenced(token)
        keys.append(self._keys.unit(unit_id))
        return bool(await self._link.run("take_unit", keys, [*args, seen.owner, seen.epoch]))

    async def release_unit(self, token: LeaseToken, unit_id: str) -> bool:
        """Give a unit up; False if it is another's already."""
        keys, args = self._fenced(token)
        keys.append(self._keys.unit(unit_id))
        return bool(await self._link.run("release_unit", keys, args))

    async def commit_unit(self, token: LeaseToken, commit: UnitCommit, *, source: str) -> bool:
        """Save a unit's commit and append its intents; False if this commit number was already saved by us."""
        keys, args = self._fenced(token)
        keys += [self._keys.unit(commit.unit_id), self._keys.intents, self._keys.cancels]
        args += [commit.commit, commit.state, commit.timers, commit.past or b"", len(commit.cursors)]
        for stream, cursor in commit.cursors.items():
            args += [stream, cursor]
        args += [len(commit.intents), *pack_entries([self._encode(one, token, source) for one in commit.intents])]
        args += [len(commit.cancels), *pack_entries([self._encode(one, token, source) for one in commit.cancels])]
        return bool(await self._link.run("commit_unit", keys, args))

"""Keep the books while leading: read what is on the bus, compare with the broker, say what does not add up.

It reads `fills` and `orders` back from the bus, so that it counts what every other reader counts, and keeps its state
in the `books` hash together with the entries up to which it counts: a successor reads the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import assert_never

from pydantic import ValidationError

from services.gateway import metrics
from services.gateway.core.book_effects import Adopted, AskBroker, BooksEffect, Reassigned, Renamed, Told
from services.gateway.core.books import Books, books_of
from services.gateway.core.evidence import BrokerCommission
from services.gateway.core.imports import execution_of, missing_of, why_not_import
from services.gateway.core.recognition import Recognised
from services.gateway.shell.account import AccountDesk
from services.gateway.shell.journal import JournalDesk
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.statement import StatementDesk
from services.gateway.shell.trading import Trading
from shared.bus.dead_letter import decode_or_keep
from shared.bus.ports import FIRST, Bus, Entry
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.ids import UNASSIGNED, exec_stem
from shared.logs import get_logger
from shared.messages.account import BookMove, PositionShare, Unexplained
from shared.messages.base import Message
from shared.messages.codec import decode_fields
from shared.messages.control import Control, FillImport, PositionMove
from shared.messages.orders import Commission, Fill, OrderEvent
from shared.money import ZERO

EVERY_S = 1.0
PAGE = 500
_KEEP_FILLS = 50_000


class BooksDesk:
    """The leader's books."""

    def __init__(
        self, bus: Bus, outbox: Outbox, account: AccountDesk, trading: Trading, journal: JournalDesk, *,
        account_id: str, source: str, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self.books = Books()
        self._bus = bus
        self._outbox = outbox
        self._account = account
        self._trading = trading
        self._journal = journal
        self.statement = StatementDesk(bus, outbox, account_id, clock=clock)
        self._account_id = account_id
        self._source = source
        self._clock = clock
        self._fills: dict[str, dict[int, Fill]] = {}
        self._changed: dict[int, None] = {}
        self._rounds_seen = 0
        self._stored = ""
        account.books = self.shown

    def shown(self, con_id: int) -> tuple[tuple[PositionShare, ...], Decimal]:
        """Return whose a position is, and what of it is unexplained."""
        shares = self.books.shares(con_id)
        return tuple(PositionShare(strategy=name, quantity=shares[name]) for name in sorted(shares)), self.books.gap(
            con_id
        )

    # -- the loop

    async def run(self) -> None:
        """Look every second until cancelled."""
        while True:
            try:
                self.books = await self._restored()
                self._changed.update(dict.fromkeys(self.books.con_ids()))  # reports of before know no owners
                break
            except TransientError:
                await self._clock.sleep(0.2)
        while True:
            try:
                await self.turn()
            except TransientError as e:
                get_logger().warning("books.not_read", error=str(e))
            await self._clock.sleep(EVERY_S)

    async def _restored(self) -> Books:
        stored = (await self._bus.hash_get_all(self._bus.keys.books)).get("snapshot")
        if stored is None:
            return Books()
        try:
            books = books_of(stored)
            self._journal.restore(books.beside.get("cash", {}))
            return books
        except BadInput as e:
            # Begun anew from what the bus retains; what it does not explain is raised, for `is_begun` is set.
            get_logger().error("books.unreadable", error=str(e))
            return Books(is_begun=True)

    async def turn(self) -> None:
        """Take what is new, compare, and keep the result."""
        await self._read()
        if self._trading.rounds != self._rounds_seen:
            self._rounds_seen = self._trading.rounds
            self._account.ask_again()
        reported = self._account.reported()
        if reported is not None and self._trading.can_send:
            facts = await self._journal.facts(dict.fromkeys([*self.books.con_ids(), *reported]))
            effects = self.books.judge(
                reported, rounds=self._trading.rounds, now_ns=self._clock.monotonic_ns(),
                wall_ns=self._clock.wall_ns(), facts=facts, today=self._journal.today(),
            )  # fmt: skip
            self._carry_out(effects)
            for effect in effects:
                if isinstance(effect, Renamed):
                    await self._journal.renamed(effect)
            self._journal.turn()
        self._keep()
        await self.statement.turn()

    def _keep(self) -> None:
        self._account.refresh(self._changed)
        self._changed.clear()
        metrics.BOOKS_UNEXPLAINED.set(len(self.books.unexplained))
        self.books.beside["cash"] = self._journal.stored()
        text = self.books.to_json()
        if text != self._stored:
            self._stored = text
            self._outbox.put_hash(self._bus.keys.books, {"snapshot": text})

    async def _read(self) -> None:
        """Read both streams to their ends."""
        keys, books = self._bus.keys, self.books
        while True:
            found = await self._bus.read({keys.fills: books.fills_at, keys.orders: books.orders_at}, count=PAGE)
            for entry in found.get(keys.fills, ()):
                self._note_change(await self._fill(entry))
                books.fills_at = entry.entry_id
            for entry in found.get(keys.orders, ()):
                if entry.fields.get(b"id", b"").isdigit():  # only orders that are not ours are named by their permId
                    self._note_change(await self._order(entry))
                books.orders_at = entry.entry_id
            if not any(len(page) == PAGE for page in found.values()):
                return
            await self._clock.sleep(0)

    def _note_change(self, con_id: int) -> None:
        if con_id:
            self._changed[con_id] = None

    async def _fill(self, entry: Entry) -> int:
        message = await self._decoded(entry)
        if isinstance(message, BookMove) and message.account == self._account_id:
            return self.books.moved(message)
        if isinstance(message, Commission) and message.account == self._account_id:
            self._journal.commission(message)
        if not isinstance(message, Fill) or message.account != self._account_id:
            return 0
        replaces = await self._replaced(message, entry.entry_id)
        self._note(message)
        await self._journal.fill(message, replaces)
        return self.books.fill(message, replaces.quantity if replaces is not None else ZERO)

    def _note(self, fill: Fill) -> None:
        self._fills.setdefault(fill.exec_stem, {})[fill.revision] = fill
        while len(self._fills) > _KEEP_FILLS:
            del self._fills[next(iter(self._fills))]

    async def _replaced(self, fill: Fill, entry_id: str) -> Fill | None:
        """Return the revision that a correction replaces, read back from the stream if it was before our time."""
        if fill.revision <= 1:
            return None
        if fill.exec_stem not in self._fills:
            await self._read_back(fill.exec_stem, entry_id)
        earlier = self._fills.get(fill.exec_stem, {})
        below = [at for at in earlier if at < fill.revision]
        return earlier[max(below)] if below else None

    async def _read_back(self, stem: str, before: str) -> None:
        cursor, stream = FIRST, self._bus.keys.fills
        while True:
            page = (await self._bus.read({stream: cursor}, count=PAGE)).get(stream, [])
            for entry in page:
                cursor = entry.entry_id
                if cursor == before:
                    return
                exec_id = entry.fields.get(b"id", b"").decode(errors="replace")
                if entry.fields.get(b"type") == b"fill" and exec_stem(exec_id)[0] == stem:
                    message = decode_fields(entry.fields, entry_id=cursor, stream=stream).message
                    if isinstance(message, Fill):
                        self._note(message)
            if len(page) < PAGE:
                return

    async def _decoded(self, entry: Entry) -> Message | None:
        """Return the message; one that cannot be read is kept, and the broker asked for what it may have said (P10)."""
        try:
            envelope = await decode_or_keep(self._bus, entry, consumer=self._source)
        except OutcomeUnknown as e:
            get_logger().error("dead_letter.failed", error=str(e))
            envelope = None
        if envelope is not None:
            return envelope.message
        get_logger().error("entry.dead_lettered", stream=entry.stream, entry_id=entry.entry_id)
        self._trading.ask("an entry that the books read back is unreadable")
        return None

    async def _order(self, entry: Entry) -> int:
        message = await self._decoded(entry)
        return self.books.order(message) if isinstance(message, OrderEvent) else 0

    # -- what follows

    def accept(self, control: Control) -> None:
        """Take a person's word that a difference is right; the audit of it is the control itself."""
        con_id = _con_id_of(control.scope)
        if not con_id:
            get_logger().warning("books.accept_ignored", scope=control.scope, who=control.who)
            return
        effects = self.books.accept(con_id, control.who, control.reason, given_wall_ns=control.ts_init_ns)
        if not effects:
            get_logger().warning("books.accept_ignored", scope=control.scope, who=control.who)
        self._carry_out(effects)
        self._keep()

    def assign(self, control: Control) -> None:
        """Move a quantity between owners because a person says so; it counts when `fills` is read back."""
        try:
            move = PositionMove.model_validate_json(control.text)
        except ValidationError as e:
            get_logger().warning("books.move_refused", scope=control.scope, who=control.who, text=str(e)[:200])
            return
        con_id = _con_id_of(control.scope)
        refusal = self.books.why_not_move(con_id, move.taken_from, move.given_to, move.quantity)
        if refusal:
            get_logger().warning("books.move_refused", scope=control.scope, who=control.who, text=refusal)
            return
        get_logger().warning(
            "books.moved", con_id=con_id, quantity=str(move.quantity), taken_from=move.taken_from,
            given_to=move.given_to, who=control.who, reason=control.reason,
        )  # fmt: skip
        self._outbox.put(
            self._bus.keys.fills,
            BookMove(
                ts_init_ns=self._clock.wall_ns(), account=self._account_id, con_id=con_id, strategy=move.given_to,
                quantity=move.quantity, who=control.who, reason=control.reason, taken_from=move.taken_from,
                move_id=control.control_id, price=move.price,
            ),
        )  # fmt: skip

    def import_fills(self, control: Control) -> None:
        """Publish executions of IB's own report, where they explain what the books lack."""
        try:
            brought = FillImport.model_validate_json(control.text)
        except ValidationError as e:
            get_logger().warning("books.import_refused", scope=control.scope, who=control.who, text=str(e)[:200])
            return
        con_id, desk = _con_id_of(control.scope), self._trading.desk
        missing = missing_of(brought.fills, desk.book.is_published)
        refusal = why_not_import(missing, con_id, self.books.gap(con_id))
        if refusal:
            get_logger().warning("books.import_refused", scope=control.scope, who=control.who, text=refusal)
            return
        get_logger().warning("books.imported", con_id=con_id, count=len(missing), who=control.who, file=control.reason)
        now_ns = self._clock.wall_ns()
        for fill in missing:
            execution = execution_of(fill, self._account_id)
            desk.publish(desk.book.executed(execution, now_ns, is_late=True, origin="flex"))
            if fill.commission_currency:
                desk.commission(BrokerCommission(fill.exec_id, fill.commission, fill.commission_currency))

    def _carry_out(self, effects: Iterable[BooksEffect]) -> None:
        for effect in effects:
            self._note_change(effect.con_id)
            match effect:
                case AskBroker():
                    self._trading.ask(f"the books differ from the broker's position in {effect.con_id}")
                    self._account.ask_again()
                case Adopted():
                    self._adopted(effect)
                case Told():
                    self._told(effect)
                case Recognised():
                    self._journal.happened(effect)
                case Reassigned():
                    self._reassigned(effect)
                case Renamed():
                    pass  # asks the broker: the turn sees to it
                case _:
                    assert_never(effect)

    def _adopted(self, effect: Adopted) -> None:
        get_logger().warning(
            "books.adopted", con_id=effect.con_id, quantity=str(effect.quantity), who=effect.who, reason=effect.reason
        )
        self._outbox.put(
            self._bus.keys.account,
            BookMove(
                ts_init_ns=self._clock.wall_ns(), account=self._account_id, con_id=effect.con_id, strategy=UNASSIGNED,
                quantity=effect.quantity, who=effect.who, reason=effect.reason,
            ),
        )  # fmt: skip

    def _reassigned(self, effect: Reassigned) -> None:
        self._outbox.put(
            self._bus.keys.fills,
            BookMove(
                ts_init_ns=self._clock.wall_ns(), account=self._account_id, con_id=effect.con_id, strategy=effect.owner,
                quantity=effect.quantity, who="gateway", reason=effect.reason, taken_from=UNASSIGNED,
                move_id=effect.move_id,
            ),
        )  # fmt: skip

    def _told(self, effect: Told) -> None:
        if effect.expected == effect.reported:
            get_logger().warning("books.explained", con_id=effect.con_id, text=effect.text)
        else:
            get_logger().error(
                "books.unexplained", con_id=effect.con_id, expected=str(effect.expected),
                reported=str(effect.reported), text=effect.text,
            )  # fmt: skip
        self._outbox.put(
            self._bus.keys.account,
            Unexplained(
                ts_init_ns=self._clock.wall_ns(), account=self._account_id, con_id=effect.con_id,
                expected=effect.expected, reported=effect.reported, text=effect.text,
            ),
        )  # fmt: skip


def _con_id_of(scope: str) -> int:
    """Return the conId of the scope `contract:<conId>`, 0 of any other."""
    kind, _, text = scope.partition(":")
    return int(text) if kind == "contract" and text.isdigit() else 0

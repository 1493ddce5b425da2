"""Name movements of the cash journal by rows of IB's own statement, when a person brings it (`cq import flex`).

What is named is decided in `shared.statement`, from what `account` retains: this desk has no state of its own that a
successor would need. Each naming is one turn of entries: the rows, and what takes the nameless entry back.
"""

from __future__ import annotations

from pydantic import ValidationError

from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.logs import get_logger
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.control import CashImport, Control
from shared.statement import Naming, retained


class StatementDesk:
    """The leader's ear for statements."""

    def __init__(self, bus: Bus, outbox: Outbox, account_id: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._bus = bus
        self._outbox = outbox
        self._account_id = account_id
        self._clock = clock
        self._asked: list[Control] = []

    def ask(self, control: Control) -> None:
        """Take what a person brings; it is looked at in the next turn."""
        self._asked.append(control)

    async def turn(self) -> None:
        """Name what can be named."""
        while self._asked:
            control = self._asked[0]
            try:
                brought = CashImport.model_validate_json(control.text)
            except ValidationError as e:
                get_logger().warning("statement.refused", who=control.who, text=str(e)[:200])
            else:
                await self._name(brought, control)
            self._asked.pop(0)

    async def _name(self, brought: CashImport, control: Control) -> None:
        namings = (await retained(self._bus, self._account_id)).namings(brought.rows)
        for naming in namings:
            self._write(naming)
        get_logger().warning(
            "statement.imported", rows=len(brought.rows), named=sum(len(each.rows) for each in namings),
            who=control.who, file=control.reason,
        )  # fmt: skip
        await self._outbox.flushed()  # the next statement must find them

    def _write(self, naming: Naming) -> None:
        movement, now_ns = naming.movement, self._clock.wall_ns()
        kind = JournalKind.CREDIT if movement.amount > 0 else JournalKind.DEBIT
        entries = [
            JournalEntry(
                ts_init_ns=now_ns, account=self._account_id, kind=kind, amount=-naming.amount,
                currency=movement.currency, text="IB's statement says what it was", names=movement.entry_id,
            )
        ]  # fmt: skip
        entries += [
            JournalEntry(
                ts_init_ns=now_ns, account=self._account_id, kind=row.kind, con_id=row.con_id, contract=row.contract,
                amount=row.amount, currency=row.currency, text=f"{row.day} {row.text}", statement_id=row.cash_id,
            )
            for row in naming.rows
        ]  # fmt: skip
        for entry in entries:
            self._outbox.put(self._bus.keys.account, entry)

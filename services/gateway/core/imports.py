"""Judge executions that a person brings from IB's own report: they are taken only where they explain a difference.

Invariant: what is taken adds up to exactly what the books lack of that contract. So nothing counts twice that counts
already under another name: a holding of the first start, a difference that a person accepted, an order by hand that was
shown filled without its executions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from services.gateway.core.evidence import BrokerExecution
from shared.ids import exec_stem
from shared.messages.control import ImportedFill
from shared.money import ZERO


def missing_of(fills: Sequence[ImportedFill], is_published: Callable[[str], bool]) -> list[ImportedFill]:
    """Return the executions that `fills` does not have, each once."""
    found = {fill.exec_id: fill for fill in fills if not is_published(exec_stem(fill.exec_id)[0])}
    return list(found.values())


def why_not_import(missing: Sequence[ImportedFill], con_id: int, gap: Decimal) -> str:
    """Return why these executions cannot be taken, or nothing."""
    if not missing:
        return "every execution is on the bus already"
    if any(fill.con_id != con_id for fill in missing):
        return f"an execution is not of contract {con_id}"
    total = sum((fill.quantity * fill.side.sign for fill in missing), ZERO)
    return "" if total == gap else f"they add up to {total}, the books differ by {gap}"


def execution_of(fill: ImportedFill, account: str) -> BrokerExecution:
    """Return an execution as the broker would have shown it."""
    return BrokerExecution(
        exec_id=fill.exec_id, account=account, con_id=fill.con_id, side=fill.side, shares=fill.quantity,
        price=fill.price, ts_ns=fill.ts_ns, order_ref=fill.order_ref, currency=fill.currency, exchange=fill.exchange,
        contract=fill.contract,
    )  # fmt: skip

"""Compare what the bus says with the simulator's own books: the judge of every demo and drill.

The simulator's truth is written when things happen, whatever was sent to clients; nothing here trusts our own side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

from copilot_quant.desk import Desk
from shared.errors import BrokerUnavailable

CASH_TOLERANCE = Decimal("0.01")
"""The account's cash is reported in cents; sums of exact commissions may differ by a rounding."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison at one moment.

    `orders` counts orders that reached the broker, `order_refs` their different orderRefs, `sent_twice` orderRefs with
    more than one order there, `executions` the broker's executions, `fills_lost` those missing in `fills`,
    `fills_twice` those there more than once or unknown
    to the broker. `differences` says in sentences what does not add up.
    """

    orders: int = 0
    order_refs: int = 0
    sent_twice: int = 0
    executions: int = 0
    fills_lost: int = 0
    fills_twice: int = 0
    dead_letters: int = 0
    cash_broker: Decimal | None = None
    cash_bus: Decimal | None = None
    differences: tuple[str, ...] = field(default=())
    missing: frozenset[str] = frozenset()
    """The execIds behind `fills_lost`: in a running system some may only be on their way."""

    @property
    def is_clean(self) -> bool:
        """Return whether nothing is wrong (it may still be that nothing happened)."""
        return not (self.sent_twice or self.fills_lost or self.fills_twice or self.dead_letters or self.differences)


async def fetch_truth(simulator_http: str) -> dict[str, Any]:
    """Return the simulator's books.

    Raises:
        BrokerUnavailable: it does not answer.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(f"{simulator_http}/truth") as reply,
        ):
            content: dict[str, Any] = await reply.json()
            return content
    except (aiohttp.ClientError, TimeoutError) as e:
        raise BrokerUnavailable(f"the simulator at {simulator_http} does not answer: {e}") from e


async def judge(desk: Desk, simulator_http: str) -> Verdict:
    """Compare orders, executions, positions and cash of the bus with the simulator's books."""
    truth = await fetch_truth(simulator_http)
    published: dict[str, int] = {}
    for fill in await desk.fills_with_repeats():
        published[fill.exec_id] = published.get(fill.exec_id, 0) + 1
    executions = [str(row["exec_id"]) for row in truth["executions"]]
    known = set(executions)
    missing = frozenset(one for one in executions if one not in published)
    differences: list[str] = []
    _compare_positions(truth, {report.con_id: report.position for report in await desk.positions()}, differences)
    values = await desk.account_values()
    cash_broker = round(Decimal(str(_own_account(truth)["cash"].get("USD", "0"))), 2)
    cash_text = values.get("CashBalance:USD") or values.get("TotalCashValue:USD") or values.get("TotalCashValue")
    cash_bus = Decimal(cash_text) if cash_text else None
    if cash_bus is None or abs(cash_bus - cash_broker) > CASH_TOLERANCE:
        differences.append(f"cash: broker {cash_broker}, bus {cash_bus}")
    return Verdict(
        orders=len(truth["orders"]),
        order_refs=len({str(row["order_ref"]) for row in truth["orders"]}),
        sent_twice=int(truth["counts"]["orders_sent_twice"]),
        executions=len(executions),
        fills_lost=len(missing),
        fills_twice=sum(1 for one, times in published.items() if times > 1 or one not in known),
        dead_letters=len(await desk.bus.read_range(desk.keys.dead_letter)),
        cash_broker=cash_broker,
        cash_bus=cash_bus,
        differences=tuple(differences),
        missing=missing,
    )


def _compare_positions(truth: Mapping[str, Any], bus: Mapping[int, Decimal], differences: list[str]) -> None:
    holdings = _own_account(truth)["positions"]
    broker = {int(con_id): Decimal(str(holding["quantity"])) for con_id, holding in holdings.items()}
    for con_id in sorted({*broker, *bus}):
        ours, theirs = bus.get(con_id, Decimal(0)), broker.get(con_id, Decimal(0))
        if ours != theirs:
            differences.append(f"position of #{con_id}: broker {theirs}, bus {ours}")


def _own_account(truth: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the books of the simulator's first account: a local system trades exactly one."""
    account: Mapping[str, Any] = next(iter(truth["accounts"].values()))
    return account

"""Judge a run from two accounts that know nothing of each other: the broker's own books, and what was on the bus.

Every check is a plain function of its evidence, so that each has a test in which it fails. What the bus lost with a
Redis is taken from who had read it before (the recorder): a lost entry is no missing approval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.ids import ORDER_REF_LENGTH, parse_order_ref
from shared.messages.account import PositionReport
from shared.messages.orders import Decision, Fill, Intent, OrderEvent, OrderState
from tests.chaos.recorder import Seen

CASH_TOLERANCE = Decimal("0.01")


@dataclass
class Findings:
    """What is wrong, each item in a sentence; empty lists are what a run must end with."""

    duplicates: list[str] = field(default_factory=list)
    lost_fills: list[str] = field(default_factory=list)
    fills_twice: list[str] = field(default_factory=list)
    unapproved: list[str] = field(default_factory=list)
    unended: list[str] = field(default_factory=list)
    epoch_order: list[str] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    cash: list[str] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Say whether nothing is wrong."""
        return not any(vars(self).values())

    def counts(self) -> dict[str, int]:
        """Return how many there are of each."""
        return {name: len(found) for name, found in vars(self).items()}


def duplicates(ledger: Iterable[Mapping[str, Any]]) -> list[str]:
    """Find orderRefs under which the broker received more than one new order (P2)."""
    times = Counter(
        str(entry["order_ref"])
        for entry in ledger
        if entry["kind"] == "order_received" and entry.get("order_ref") and entry.get("accepted", True)
    )
    return [f"{ref}: sent {count} times" for ref, count in times.items() if count > 1]


def lost_fills(truth: Mapping[str, Any], now: Iterable[Seen]) -> list[str]:
    """Find executions of the broker that `fills` does not show (P3)."""
    published = {seen.message.exec_id for seen in now if isinstance(seen.message, Fill)}
    return [
        f"{row['exec_id']} of {row['order_ref']}: {row['side']} {row['shares']} {row['symbol']}"
        for row in truth["executions"]
        if row["exec_id"] not in published
    ]


def fills_twice(truth: Mapping[str, Any], now: Iterable[Seen]) -> list[str]:
    """Find executions that `fills` shows twice, or that the broker knows nothing of (P3)."""
    known = {str(row["exec_id"]) for row in truth["executions"]}
    times = Counter(seen.message.exec_id for seen in now if isinstance(seen.message, Fill))
    twice = [f"{one}: published {count} times" for one, count in times.items() if count > 1]
    return twice + [f"{one}: unknown to the broker" for one in times if one not in known]


def unapproved(truth: Mapping[str, Any], ever: Iterable[Seen]) -> list[str]:
    """Find orders at the broker that carry no approval of risk (P1)."""
    approved = {seen.message.intent_id for seen in ever if isinstance(seen.message, Decision) and seen.message.approved}
    found = []
    for row in truth["orders"]:
        ours = parse_order_ref(str(row["order_ref"]))
        if not row["is_manual"] and (ours is None or ours[1] not in approved):
            found.append(f"order {row['order_id']} of client {row['client_id']}: {row['order_ref'] or 'no orderRef'}")
    return found


def lost_by_broker(ledger: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the orderRefs of orders that the broker had shown and then lost, as TWS can in its restart.

    Nothing it shows can end them: they stay `unknown`, visibly and counted as working, which is what P4 says.
    """
    lost = (entry for entry in ledger if entry["kind"] == "order_state" and entry.get("state") == "Lost")
    return {str(entry["order_ref"])[:ORDER_REF_LENGTH] for entry in lost}


def unended(now: Sequence[Seen], lost: Set[str] = frozenset()) -> list[str]:
    """Find intents on the bus without an outcome of each leg or a refusal (P4), after everything was cancelled.

    What the broker itself lost may be `unknown`, and nothing else.
    """
    legs: dict[str, set[int]] = {}
    states: dict[tuple[str, int], str] = {}
    refused: set[str] = set()
    for seen in now:
        message = seen.message
        if isinstance(message, Intent):
            legs.setdefault(message.intent_id, {leg.leg for leg in message.legs})
        elif isinstance(message, Decision) and not message.approved:
            refused.add(message.intent_id)
        elif isinstance(message, OrderEvent) and message.intent_id:
            is_lost = message.state is OrderState.UNKNOWN and message.order_ref in lost
            has_ended = message.state.is_final or is_lost
            states[message.intent_id, message.leg] = "" if has_ended else message.state.value
    found = []
    for intent, numbers in legs.items():
        for leg in sorted(numbers):
            state = states.get((intent, leg), "" if intent in refused else "no word")
            if state:
                found.append(f"{intent} leg {leg}: {state}")
    return found


def epoch_order(now: Iterable[Seen]) -> list[str]:
    """Find entries of an older epoch after one of a newer, by stream and role (P5)."""
    highest: dict[tuple[str, str], int] = {}
    found = []
    for seen in now:
        key = (seen.stream, seen.source.split(":")[0])
        if seen.epoch and seen.epoch < highest.get(key, 0):
            found.append(f"{seen.stream} {seen.entry_id}: epoch {seen.epoch} of {seen.source} after {highest[key]}")
        highest[key] = max(highest.get(key, 0), seen.epoch)
    return found


def positions(truth: Mapping[str, Any], reports: Iterable[PositionReport]) -> list[str]:
    """Find positions on the bus that are not the broker's, and books that do not add up (P11)."""
    holdings = next(iter(truth["accounts"].values()))["positions"]
    broker = {int(con_id): Decimal(str(holding["quantity"])) for con_id, holding in holdings.items()}
    ours = {report.con_id: report for report in reports}
    found = []
    for con_id in sorted({*broker, *ours}):
        theirs = broker.get(con_id, Decimal(0))
        report = ours.get(con_id)
        if (report.position if report else Decimal(0)) != theirs:
            found.append(f"#{con_id}: broker {theirs}, bus {report.position if report else 0}")
        if report is not None and report.unexplained:
            found.append(f"#{con_id}: {report.unexplained} unexplained")
    return found


def cash(truth: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    """Compare the account's cash with what the bus shows (P11)."""
    theirs = round(Decimal(str(next(iter(truth["accounts"].values()))["cash"].get("USD", "0"))), 2)
    text = values.get("CashBalance:USD") or values.get("TotalCashValue:USD") or values.get("TotalCashValue")
    ours = Decimal(text) if text else None
    return [f"broker {theirs}, bus {ours}"] if ours is None or abs(ours - theirs) > CASH_TOLERANCE else []


def judge(
    truth: Mapping[str, Any],
    ledger: Iterable[Mapping[str, Any]],
    *,
    ever: Sequence[Seen],
    now: Sequence[Seen],
    reports: Iterable[PositionReport],
    values: Mapping[str, str],
    dead_letters: Sequence[str],
) -> Findings:
    """Return everything that is wrong; `now` is what the bus has at the end, `ever` what it had at any time."""
    ledger = list(ledger)
    return Findings(
        duplicates=duplicates(ledger),
        lost_fills=lost_fills(truth, now),
        fills_twice=fills_twice(truth, now),
        unapproved=unapproved(truth, [*ever, *now]),
        unended=unended(now, lost_by_broker(ledger)),
        epoch_order=epoch_order(now),
        positions=positions(truth, reports),
        cash=cash(truth, values),
        dead_letters=list(dead_letters),
    )

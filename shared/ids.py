"""Name every id by its owner, and derive the ids that must be the same after a retry.

Invariants:
1. An intent id is a function of (deployment, unit, commit number, index): a retried commit makes the same ids.
2. An order reference is 32 printable ASCII characters and starts with its deployment's tag, so that an order of
   another deployment on the same login is told apart (P8) and IB's own suffixes do not hide it (prefix match).
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import NewType

ConId = NewType("ConId", int)
"""IB's contract id; the identity of a contract in every message and key."""
StrategyId = NewType("StrategyId", str)
UnitId = NewType("UnitId", str)
"""A strategy's unit of work: `<strategy>/<group>`."""
IntentId = NewType("IntentId", str)
OrderRef = NewType("OrderRef", str)
"""Ours: deployment tag, intent id and leg; echoed by the broker as orderRef."""
OrderId = NewType("OrderId", int)
"""The broker's API order id; unique only per (login, client id)."""
PermId = NewType("PermId", int)
"""The broker's account-wide order key."""
ExecId = NewType("ExecId", str)
ClientId = NewType("ClientId", int)
AccountId = NewType("AccountId", str)
Epoch = NewType("Epoch", int)
Incarnation = NewType("Incarnation", str)
"""`run_id` and replication id of the order-flow Redis; another one means another history."""
EntryId = NewType("EntryId", str)
"""A stream entry's id, `<milliseconds>-<sequence>`."""

UNASSIGNED = StrategyId("unassigned")
"""What no strategy owns: holdings at the first start, orders by hand, assignments, liquidations."""
MANUAL = StrategyId("manual")
"""Orders that a person gives through `cq order` or the web page without naming a strategy."""

INTENT_ID_LENGTH = 20
DEPLOYMENT_TAG_LENGTH = 6
ORDER_REF_LENGTH = 32
_ORDER_REF = re.compile(r"cq([a-z2-7]{6})-([a-z2-7]{20})-(\d{2})")


def _short_hash(text: str, length: int) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=20).digest()
    return base64.b32encode(digest).decode().lower()[:length]


@lru_cache(maxsize=8)
def deployment_tag(deployment_id: str) -> str:
    """Return the six characters of [a-z2-7] that mark this deployment's orders at the broker."""
    return _short_hash(f"deployment:{deployment_id}", DEPLOYMENT_TAG_LENGTH)


def intent_id(deployment_id: str, unit: str, commit: int, index: int) -> IntentId:
    """Return the id of the `index`-th intent of a unit's commit (20 characters, 100 bits).

    The commit number makes a retry idempotent (architecture §4, strategy units).
    """
    return IntentId(_short_hash(f"{deployment_id}\n{unit}\n{commit}\n{index}", INTENT_ID_LENGTH))


def order_ref(deployment_id: str, intent: IntentId, leg: int) -> OrderRef:
    """Return the orderRef of one leg of an intent.

    Raises:
        ValueError: the intent id has another length, or `leg` is outside 0..99.
    """
    if len(intent) != INTENT_ID_LENGTH or not 0 <= leg <= 99:
        raise ValueError(f"no orderRef for intent {intent!r}, leg {leg}: 20 characters and leg 0..99 are needed")
    return OrderRef(f"cq{deployment_tag(deployment_id)}-{intent}-{leg:02d}")


def parse_order_ref(text: str) -> tuple[str, IntentId, int] | None:
    """Return (deployment tag, intent id, leg) of an orderRef of ours, or None for anything else.

    Matches by prefix: IB and its presets may append to an orderRef (ib-facts A.5).
    """
    match = _ORDER_REF.match(text)
    return (match[1], IntentId(match[2]), int(match[3])) if match else None


def exec_stem(exec_id: str) -> tuple[str, int]:
    """Split an execId into its stem and revision: corrections differ only after the last period (ib-facts A.6)."""
    stem, dot, last = exec_id.rpartition(".")
    if dot and last.isdigit():
        return stem, int(last)
    return exec_id, 1

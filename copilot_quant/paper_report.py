"""What `cq paper-check` found: each assumption about IB that the system relies on, and whether this TWS bears it out.

Pure. The text of a report has no account number and no address in it, so that it can be sent to others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from shared.logs import mask_account

Outcome = Literal["as assumed", "differs", "not seen"]

ASSUMPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "order_ref": "An orderRef as long as ours comes back in the open order, in the list of all orders and in the "
        "execution, whole or as a prefix.",
        "id_in_use": "A second session under a client id in use is refused with 326.",
        "id_release": "A client id is free again within 15 s of its session's end.",
        "owner_returns": "Under the same client id a new session is shown the order, same permId, and may cancel it.",
        "stranger_sees": "Another client id sees the order in the list of all orders.",
        "stranger_cannot": "Another client id cannot cancel the order.",
        "next_id_grows": "nextValidId of a client id is above every id it used, also after connecting again.",
        "execution_owner": "The client id that ordered is shown its execution when it asks, also in a new session.",
        "execution_stranger": "Another client id is not shown that execution.",
        "commission": "The commission comes with the execId of its execution.",
        "position": "The position shows the execution.",
        "two_sessions_data": "Two sessions of the login have prices of the same contract at once.",
        "gtc_restart": "A GTC order is there with its permId and orderRef after a restart of TWS.",
    }
)
"""Every assumption that is tried, in order, and why the system may rely on it (docs/explanation/failover.md)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One assumption and what was seen of it."""

    key: str
    outcome: Outcome
    evidence: str


def is_as_assumed(found: Sequence[Seen]) -> bool:
    """Return whether nothing differs; what could not be seen is no difference."""
    return all(one.outcome != "differs" for one in found)


def redacted(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a text without account numbers and without what else is named."""
    for secret in secrets:
        text = text.replace(secret, "…") if secret else text
    return mask_account(text)


def as_markdown(found: Sequence[Seen], facts: Mapping[str, str], secrets: Sequence[str] = ()) -> str:
    """Return the report."""
    lines = ["# Paper check", "", "What one TWS or IB Gateway did, beside what the system relies on.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", "| | assumption | seen |", "|---|---|---|"]
    lines += [f"| {one.outcome} | {ASSUMPTIONS[one.key]} | {_cell(one.evidence)} |" for one in found]
    counts = {
        outcome: sum(one.outcome == outcome for one in found) for outcome in ("as assumed", "differs", "not seen")
    }
    lines += ["", ", ".join(f"{number} {outcome}" for outcome, number in counts.items()) + "."]
    if counts["differs"]:
        lines += [
            "",
            "Each difference is a mistake of the simulator, or of the system: please report it with this page.",
        ]
    return redacted("\n".join(lines) + "\n", secrets)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())

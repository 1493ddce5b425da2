"""The checklist before real money: what has to be so, and what of it is missing.

1. Every item has one entry in a result: checked by the program, or answered by a person, with its date.
2. `missing` is empty only if every item of the list is in order, recent enough, and of this mode and account.
3. A result that cannot be read counts as none.

Pure but for `read_result` and `write_result`. Any service may ask; `cq preflight` makes the results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from shared.clock import NS_PER_S

State = Literal["ok", "bad", "open"]
DAY_NS = 86_400 * NS_PER_S
CHECKED_DAYS, ANSWERED_DAYS = 7, 90


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the list; `question` is asked where the program cannot see it."""

    key: str
    title: str
    question: str = ""


ITEMS: tuple[Item, ...] = (
    Item("paper_month", "a month of paper trading", "Was everything tested on paper for a month at least?"),
    Item("errors", "errors are handled: nothing unreadable, nothing unexplained, every service ready"),
    Item("pacing", "requests are paced within IB's limits"),
    Item("limits", "position limits and risk controls are in force"),
    Item("stops", "stop orders", "Does whatever opens a position place its stop, too?"),
    Item("credentials", "credentials are kept out of the code, .env is yours alone"),
    Item("two_factor", "two-factor login", "Is two-factor authentication on for the IB user?"),
    Item("api_access", "the API answers this machine or trusted addresses only",
         "Does TWS admit its own machine or trusted IPs only?"),
    Item("monitoring", "logs and alerts"),
    Item("emergency_stop", "the emergency stop was tried"),
    Item("rules_tested", "the risk rules were seen to refuse"),
    Item("account_alerts", "alerts of the account at IB", "Are alerts set in IB's Client Portal?"),
    Item("small_sizes", "it starts small"),
    Item("manual_override", "a person can take over by hand"),
    Item("code_review", "reviewed code", "Has somebody read all strategies for bugs?"),
    Item("shutdown_plan", "a plan to shut down", "Is it written down how to stop everything, and who does it?"),
)  # fmt: skip
"""The pre-live checklist of docs/guide.md, in its order."""
BY_KEY: Mapping[str, Item] = MappingProxyType({item.key: item for item in ITEMS})


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one item; `at_ns` is when it was checked or answered, by this machine's clock."""

    key: str
    state: State
    by: Literal["checked", "answered", ""]
    at_ns: int
    text: str

    @property
    def good_days(self) -> int:
        """Return for how many days it counts."""
        return ANSWERED_DAYS if self.by == "answered" else CHECKED_DAYS


@dataclass(frozen=True, slots=True)
class Result:
    """One run of the checklist."""

    mode: str
    account: str
    at_ns: int
    entries: tuple[Entry, ...]

    def entry(self, key: str) -> Entry | None:
        """Return the entry of an item."""
        return next((one for one in self.entries if one.key == key), None)


def missing(result: Result | None, *, mode: str, account: str, now_ns: int) -> list[str]:
    """Return what still stands between this account and real money, a sentence per item; empty if nothing does."""
    if result is None:
        return ["the checklist was never gone through: `cq preflight`"]
    if (result.mode, result.account) != (mode, account):
        return [f"the checklist was gone through for another account or mode ({result.mode}): `cq preflight`"]
    return [text for item in ITEMS if (text := _why_not(item, result.entry(item.key), now_ns))]


def _why_not(item: Item, entry: Entry | None, now_ns: int) -> str:
    if entry is None or entry.state == "open":
        return f"{item.title}: {entry.text if entry and entry.text else 'not answered'}"
    if entry.state == "bad":
        return f"{item.title}: {entry.text}"
    age_days = (now_ns - entry.at_ns) // DAY_NS
    if age_days >= entry.good_days:
        return f"{item.title}: {entry.by or 'looked at'} {age_days} days ago, again after {entry.good_days}"
    return ""


def result_file(directory: Path, deployment: str) -> Path:
    """Return where the result of a deployment is kept, beside what else it knows."""
    return directory / ".cq" / f"preflight-{deployment}.json"


def read_result(path: Path) -> Result | None:
    """Return a stored result; None where there is none, or none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(Entry(**one) for one in content.pop("entries"))
        return Result(**content, entries=entries)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def write_result(path: Path, result: Result) -> None:
    """Store a result whole or not at all, for its owner's eyes: it has the account in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    new.replace(path)

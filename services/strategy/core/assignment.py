"""Spread units over live workers, evenly: rendezvous hashing with an equal share for each worker.

Invariants:
1. The answer depends on the names of units and live workers only: every worker computes the same one.
2. No worker has more than one unit more than another, but for units that an operator moved: a worker that was added
   never stays idle.
3. Few units move when workers come or go: a unit stays with the worker that it prefers most and that has room.

Known limit: workers that loaded different lists (while a changed TOML file is rolled out) may each take a unit for the
other's; it waits until they agree. Two never run it: taking a unit is a compare-and-set on its record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


def score(unit: str, worker: str) -> int:
    """Return how much a worker is preferred for a unit (64 bits)."""
    digest = hashlib.blake2b(f"{unit}\n{worker}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def assign(units: Iterable[str], workers: Iterable[str], pins: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Return worker → its units, each list sorted; every live worker is a key.

    A unit of `pins` goes to the worker named there while that one lives, whatever its share. Of the others the best
    matching pairs are settled first, each worker up to an equal share.
    """
    live = sorted(set(workers))
    plan: dict[str, list[str]] = {worker: [] for worker in live}
    wanted = sorted(set(units))
    if not live:
        return plan
    placed: set[str] = set()
    for unit in wanted:
        pinned = (pins or {}).get(unit, "")
        if pinned in plan:
            plan[pinned].append(unit)
            placed.add(unit)
    sharing, share, larger_shares = _shares(len(wanted), {worker: len(mine) for worker, mine in plan.items()})
    for _, unit, worker in sorted(
        ((score(unit, worker), unit, worker) for unit in wanted for worker in sharing), reverse=True
    ):
        load = len(plan[worker])
        if unit in placed or load > share or (load == share and not larger_shares):
            continue
        larger_shares -= load == share
        placed.add(unit)
        plan[worker].append(unit)
    return {worker: sorted(mine) for worker, mine in plan.items()}


def _shares(count: int, loads: Mapping[str, int]) -> tuple[list[str], int, int]:
    """Return the workers that share what is not pinned, how many units each has, and how many may have one more.

    A worker with more pinned units than an equal share takes no others, and the shares of the rest grow smaller.
    """
    sharing = list(loads)
    while True:
        share, larger = divmod(count, len(sharing))
        over = [worker for worker in sharing if loads[worker] > share + (larger > 0)]
        if not over or len(over) == len(sharing):
            return sharing, share, max(0, larger - sum(loads[worker] == share + 1 for worker in sharing))
        count -= sum(loads[worker] for worker in over)
        sharing = [worker for worker in sharing if worker not in over]


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """What a worker's lease shows now: who holds it (empty: released), its epoch and renewal counter."""

    owner: str
    epoch: int
    counter: int


@dataclass(slots=True)
class _Seen:
    lease: LeaseSeen
    since_ns: int
    until_ns: int


class Watch:
    """Say which workers live, by watching their leases on our own monotonic clock.

    A worker is live until its lease has shown the same values for a whole lease time, or was released. A lease seen for
    the first time counts as live: wrongly waiting costs a lease time, wrongly taking would cost a hand-over.
    """

    def __init__(self, ttl_ns: int) -> None:
        self._ttl_ns = ttl_ns
        self._seen: dict[str, _Seen] = {}

    def observed(self, worker: str, lease: LeaseSeen, asked_ns: int, answered_ns: int) -> None:
        """Note a worker's lease; `asked_ns` is when the question was sent, `answered_ns` when the reply came."""
        before = self._seen.get(worker)
        if before is None or before.lease != lease:
            self._seen[worker] = _Seen(lease, answered_ns, answered_ns)
        else:
            before.until_ns = max(before.until_ns, asked_ns)

    def knows(self, worker: str) -> bool:
        """Return whether a worker's lease was seen before."""
        return worker in self._seen

    def known(self) -> list[str]:
        """Return every worker whose lease was seen."""
        return list(self._seen)

    def forget(self, worker: str) -> None:
        """Stop watching a worker that left the list."""
        self._seen.pop(worker, None)

    def is_live(self, worker: str) -> bool:
        """Return whether a worker has to be taken for alive, by what was observed so far."""
        seen = self._seen.get(worker)
        return seen is not None and bool(seen.lease.owner) and seen.until_ns - seen.since_ns < self._ttl_ns

    def may_hold(self, worker: str, epoch: int) -> bool:
        """Return whether what a worker owned under `epoch` may still be its: it lives, in that very epoch."""
        seen = self._seen.get(worker)
        return seen is not None and self.is_live(worker) and seen.lease.epoch == epoch

    def silent_ns(self, worker: str) -> int:
        """Return for how long a worker's lease was seen unchanged."""
        seen = self._seen.get(worker)
        return 0 if seen is None else seen.until_ns - seen.since_ns

    def live(self) -> list[str]:
        """Return the live workers, sorted."""
        return sorted(worker for worker in self._seen if self.is_live(worker))

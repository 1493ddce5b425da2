"""Judge hand-overs from the streams alone: what the gateway published against what the units say they were told.

It knows nothing of workers, commits or leases. A unit's orders must come in the order of their numbers, each once, and
each must carry the count and the checksum of exactly the quotes and executions that its streams hold up to there. Two
workers with one unit would give a number twice; a skipped or repeated event gives another checksum from there on.

Invariants checked:
1. no event skipped or doubled: counts and checksums of quotes and executions, in every order and in the last state;
2. no intent doubled or missing: the numbers of a unit's orders are every, 2·every, 3·every …, one intent id each;
3. one worker at a time: in a unit's orders no worker comes back under an epoch below one of its that was seen, and
   (by 2) no two workers go on from the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.chain import fill_link, quote_link

WRONG_KEPT = 50


def order_of(entry_id: str) -> tuple[int, int]:
    """Return an entry id as numbers."""
    first, _, second = entry_id.partition("-")
    return int(first), int(second or 0)


@dataclass(slots=True)
class Account:
    """What a unit says it was told: how many quotes and executions, and their checksums."""

    quotes: int
    quote_sum: int
    fills: int
    fill_sum: int

    @classmethod
    def of(cls, text: str) -> Account:
        """Read what stands in an order's reason."""
        return cls(*(int(part) for part in text.split(":")))


@dataclass(slots=True)
class _Unit:
    con_id: int
    began: Mapping[str, str] | None = None
    quotes: int = 0
    quote_sum: int = 0
    fills: int = 0
    fill_sum: int = 0
    due: int = 0
    """Number of the last order seen."""
    quote_sums: dict[int, int] = field(default_factory=dict)
    fill_sums: dict[int, int] = field(default_factory=lambda: {0: 0})
    waiting: list[tuple[str, str, tuple[object, ...]]] = field(default_factory=list)
    """Events before it is known where the unit began."""
    claims: list[tuple[str, Account]] = field(default_factory=list)
    """Orders whose quotes or executions were not read yet."""
    worker: str = ""
    epochs: dict[str, int] = field(default_factory=dict)


class HandoverChecker:
    """Takes entries of the streams in any interleaving, each stream in its own order.

    Args:
        units: unit → conId.
        every: how many quotes lie between two orders of a unit.
        strategy: whose executions count.
    """

    def __init__(self, units: Mapping[str, int], every: int, strategy: str) -> None:
        self._units = {unit: _Unit(con_id) for unit, con_id in units.items()}
        self._of_con = {con_id: self._units[unit] for unit, con_id in units.items()}
        self._every = every
        self._strategy = strategy
        self._ids: set[str] = set()
        self._stems: set[str] = set()
        self.quotes = 0
        self.fills = 0
        self.intents = 0
        self.repeated = 0
        """Entries of intents that were appended again with the same id, until answered: no second intent."""
        self.moves = 0
        """How often the orders of a unit came from another worker, or another life of it, than the one before."""
        self.wrong: list[str] = []

    def _complain(self, sentence: str) -> None:
        if len(self.wrong) < WRONG_KEPT:
            self.wrong.append(sentence)

    @property
    def without_beginning(self) -> list[str]:
        """Return the units of which it is not known yet where they began."""
        return [name for name, unit in self._units.items() if unit.began is None]

    def began(self, name: str, cursors: Mapping[str, str]) -> None:
        """Learn after which entries a unit began; what was read before is counted now."""
        unit = self._units[name]
        if unit.began is not None:
            return
        unit.began = dict(cursors)
        waiting, unit.waiting = unit.waiting, []
        for stream, entry_id, event in waiting:
            self._count(unit, stream, entry_id, event)

    def quote(
        self, stream: str, entry_id: str, con_id: int, quote: tuple[int, float, float, float, float]
    ) -> None:  # fmt: skip
        """Take a quote: event time, bid, its size, ask, its size."""
        self._event(con_id, stream, entry_id, quote)

    def fill(self, stream: str, entry_id: str, con_id: int, strategy: str, stem: str, exec_id: str) -> None:
        """Take an execution; a further entry of the same one does not count."""
        if strategy == self._strategy and stem not in self._stems:
            self._stems.add(stem)
            self._event(con_id, stream, entry_id, (exec_id,))

    def _event(self, con_id: int, stream: str, entry_id: str, event: tuple[object, ...]) -> None:
        unit = self._of_con.get(con_id)
        if unit is None:
            return
        if unit.began is None:
            unit.waiting.append((stream, entry_id, event))
        else:
            self._count(unit, stream, entry_id, event)

    def _count(self, unit: _Unit, stream: str, entry_id: str, event: tuple[object, ...]) -> None:
        if order_of(entry_id) <= order_of((unit.began or {}).get(stream, "0-0")):
            return
        if len(event) == 1:
            unit.fills += 1
            unit.fill_sum = fill_link(unit.fill_sum, str(event[0]))
            unit.fill_sums[unit.fills] = unit.fill_sum
            self.fills += 1
        else:
            unit.quotes += 1
            unit.quote_sum = quote_link(unit.quote_sum, *event)  # type: ignore[arg-type]
            self.quotes += 1
            if unit.quotes % self._every == 0:
                unit.quote_sums[unit.quotes] = unit.quote_sum
        unit.claims = [claim for claim in unit.claims if not self._is_settled(unit, *claim)]

    def intent(self, name: str, intent_id: str, reason: str, worker: str, epoch: int) -> None:
        """Take an entry of `intents`."""
        if intent_id in self._ids:
            self.repeated += 1
            return
        self._ids.add(intent_id)
        unit = self._units.get(name)
        if unit is None:
            self._complain(f"{intent_id} is of {name}, which is no unit of the drill")
            return
        self.intents += 1
        if epoch < unit.epochs.get(worker, 0):
            self._complain(f"{name}: {worker} ordered under epoch {epoch} after {unit.epochs[worker]}")
        unit.epochs[worker] = epoch
        life = f"{worker}@{epoch}"
        self.moves += unit.worker not in ("", life)
        unit.worker = life
        said = Account.of(reason)
        if said.quotes != unit.due + self._every:
            self._complain(f"{name}: order at quote {said.quotes} after the one at {unit.due} ({life})")
        unit.due = said.quotes
        if not self._is_settled(unit, name, said):
            unit.claims.append((name, said))

    def _is_settled(self, unit: _Unit, name: str, said: Account) -> bool:
        """Compare what a unit said with the streams; False while they are not read so far."""
        if unit.began is None or said.quotes > unit.quotes or said.fills > unit.fills:
            return False
        quote_sum = unit.quote_sums.pop(said.quotes, None)
        if quote_sum != said.quote_sum:
            self._complain(f"{name}: at quote {said.quotes} it had seen others than the stream holds")
        if unit.fill_sums.get(said.fills) != said.fill_sum:
            self._complain(f"{name}: at fill {said.fills} it had seen others than the stream holds")
        return True

    def end(self, name: str, said: Account) -> None:
        """Compare a unit's last saved state with everything that was published, once the market has stopped."""
        unit = self._units[name]
        if (said.quotes, said.quote_sum) != (unit.quotes, unit.quote_sum):
            self._complain(f"{name}: saw {said.quotes} quotes, {unit.quotes} were published for it")
        if (said.fills, said.fill_sum) != (unit.fills, unit.fill_sum):
            self._complain(f"{name}: saw {said.fills} executions, {unit.fills} were published for it")
        if unit.claims:
            self._complain(f"{name}: {len(unit.claims)} orders speak of events that no stream holds")
        last = unit.quotes // self._every * self._every
        if unit.due != last:
            self._complain(f"{name}: its last order is at quote {unit.due}, due was {last}")

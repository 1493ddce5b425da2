"""Run units over entries that somebody recorded: no bus, no clock, the same core and the same way of handing out.

Invariants:
1. Time is the entries' own; timers fire at their time between them. The same entries give the same intents.
2. Each unit begins where it began when it was recorded, anew, and reads on from there.
3. The n-th intent of a unit carries the id of its n-th recorded one, so that the recorded answers of risk and the
   broker find it. Where the two differ the answers after it belong to what was ordered then: `Result.difference`.

Known limits: live timers fire after the entries of a read, here before the first entry past their time; an intent
that a slow worker dropped as out of date is made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.strategy.core.history import closed_bar_of
from services.strategy.core.ordering import Identity
from services.strategy.core.saved import Limits
from services.strategy.core.sessions import SessionPlan
from services.strategy.core.unit import Unit
from services.strategy.shell.feed import Dispatcher, RunningUnit, streams_of
from services.strategy.shell.loader import DeclaredUnit
from services.strategy.shell.making import make_strategy
from shared.bus.keys import Keys
from shared.bus.ports import FIRST, Entry, entry_order
from shared.clock import NS_PER_MS
from shared.errors import BadInput
from shared.messages.market import ContractInfo
from shared.messages.orders import Intent
from shared.messages.requests import BarsAnswer

IGNORED = frozenset({"ts_init_ns", "incarnation", "valid_until_ns"})
"""Fields of an intent that depend on when it was made, not on what was decided."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a unit begins, entries after these ids and at this time (wall ns), and where it ends: with these ids.

    Without `until` it takes everything, and what was recorded beyond its last intent is no difference.
    """

    cursors: Mapping[str, str] = field(default_factory=dict)
    at_ns: int = 0
    until: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """What one unit did: its intents, the recorded ones, and the first difference as a sentence."""

    unit: str
    intents: list[Intent] = field(default_factory=list)
    recorded: Sequence[Intent] = ()
    is_whole: bool = True
    events: int = 0
    errors: int = 0
    error: str = ""
    paused: str = ""

    @property
    def difference(self) -> str:
        """Return where the intents part from the recorded ones, empty if nowhere."""
        for number, (made, was) in enumerate(zip(self.intents, self.recorded, strict=False), start=1):
            if essence(made) != essence(was):
                return f"intent {number} was {sentence(was)} and is {sentence(made)}"
        if len(self.intents) > len(self.recorded) or (self.is_whole and len(self.intents) < len(self.recorded)):
            return f"{len(self.recorded)} intents were recorded and {len(self.intents)} made"
        return ""


def essence(intent: Intent) -> dict[str, object]:
    """Return what an intent decides."""
    return intent.model_dump(mode="json", exclude=set(IGNORED))


def sentence(intent: Intent) -> str:
    """Return an intent for people."""
    legs = []
    for leg in intent.legs:
        price = leg.limit_price if leg.limit_price is not None else leg.stop_price
        legs.append(f"{leg.side} {leg.quantity} {leg.order_type}" + ("" if price is None else f" {price}"))
    why = intent.reason or "no reason given"
    return f"{intent.action} {' + '.join(legs)} {intent.contract} ({why}, after {intent.cause_id or 'a timer'})"


class OfflineUnit:
    """One unit over entries."""

    def __init__(
        self,
        keys: Keys,
        declared: DeclaredUnit,
        contracts: Sequence[ContractInfo],
        identity: Mapping[str, str],
        *,
        begin: Begin,
        recorded: Sequence[Intent] = (),
        limits: Limits | None = None,
    ) -> None:
        spec = declared.strategy
        strategy = make_strategy(spec)
        by_id = {info.con_id: info for info in contracts}
        who = Identity(identity.get("id", ""), identity.get("account", ""), spec.name, declared.unit_id)
        plans = {} if spec.rules is None else {info.con_id: SessionPlan(spec.rules, info) for info in contracts}
        needs = dict(spec.history)
        self._unit = Unit(
            who,
            strategy,
            by_id,
            limits or Limits(),
            history_needs=needs,
            on_bar_intervals=spec.bars,
            sessions=plans,
        )
        strategy.bind(self._unit)
        streams = streams_of(keys, by_id, spec.reads)
        self._after = {stream: entry_order(begin.cursors.get(stream, FIRST)) for stream in streams}
        self._unit.cursors = {stream: begin.cursors.get(stream, FIRST) for stream in streams}
        self._dispatcher = Dispatcher(keys, [RunningUnit(declared, self._unit, strategy, streams, is_joined=True)])
        self._begin_ns = begin.at_ns
        self._until = {stream: entry_order(entry_id) for stream, entry_id in begin.until.items()}
        last = max(self._until.values(), default=None)
        if last is not None:  # the recording may know of intents that came after the unit was last seen
            recorded = [one for one in recorded if not one.cause_id or entry_order(one.cause_id) <= last]
        self._recorded = recorded
        self._is_started = False
        self._made: set[str] = set()
        self.result = Result(declared.unit_id, recorded=recorded, is_whole=bool(begin.until))

    def load_history(self, answers: Iterable[BarsAnswer]) -> None:
        """Take the recorded bars that the unit was given to look back on.

        Raises:
            BadInput: none were recorded for something it needs.
        """
        history = self._unit.history
        found = set()
        for answer in answers:
            if answer.con_id in self._unit.contracts and answer.bar_size in history.needs:
                history.load(answer.con_id, answer.bar_size, [closed_bar_of(bar) for bar in answer.bars])
                found.add((answer.con_id, answer.bar_size))
        for con_id, info in self._unit.contracts.items():
            for size in history.needs:
                if (con_id, size) not in found:
                    raise BadInput(f"{self.result.unit} looks back on {size!r} bars of {info.name}: none were recorded")

    def handle(self, entry: Entry) -> None:
        """Take the next entry of any stream."""
        after = self._after.get(entry.stream)
        order = entry_order(entry.entry_id)
        if after is None or order <= after or order > self._until.get(entry.stream, order):
            return
        now_ns = order[0] * NS_PER_MS
        if not self._is_started:
            self._start(self._begin_ns or now_ns)
        self._timers(now_ns)
        self._dispatcher.handle(entry, now_ns)
        self._unit.advance(entry.stream, entry.entry_id)
        self.result.events += 1
        self._commit(now_ns)

    def _start(self, now_ns: int) -> None:
        self._is_started = True
        self._unit.history.begin(now_ns)
        self._number_intents()
        self._unit.start(now_ns, now_ns)
        self._commit(now_ns, force=True)

    def _timers(self, now_ns: int) -> None:
        while True:
            due = min((at for at, _ in self._unit.timers.due.values()), default=None)
            if due is None or due > now_ns:
                return
            self._unit.tick(due)
            self._commit(due)

    def _commit(self, now_ns: int, *, force: bool = False) -> None:
        commit = self._unit.commit(now_ns, force=force)
        if commit is None:
            return
        new = [intent for intent in commit.intents if intent.intent_id not in self._made]  # others: asked again
        self._made.update(intent.intent_id for intent in new)
        self.result.intents += new
        self._unit.committed(now_ns)
        self._number_intents()
        self.result.errors = self._unit.saved.errors
        self.result.error = str(self._unit.recent_errors[-1]) if self._unit.recent_errors else ""
        self.result.paused = self._unit.why_not_trading

    def _number_intents(self) -> None:
        self._unit.outbox.given_ids = [one.intent_id for one in self._recorded[len(self.result.intents) :]]


def run_offline(
    units: Sequence[OfflineUnit], entries: Iterable[Entry], tell: Callable[[int], None] | None = None
) -> list[Result]:
    """Hand entries to units and return what each did; `tell` hears the time of an entry now and then."""
    for number, entry in enumerate(entries):
        for unit in units:
            unit.handle(entry)
        if tell is not None and number % 1000 == 0:
            tell(entry_order(entry.entry_id)[0] * NS_PER_MS)
    return [unit.result for unit in units]

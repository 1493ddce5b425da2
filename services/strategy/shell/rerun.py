"""Run a kept failure again: the same saved state, the same entries, the code as it is now; nothing leaves.

The code is run twice. The first time finds the call that raises, or, where the mistake was mended meanwhile, the last
call of the handler that the event caused; the second time stops there, for a person or for nobody.

Known limit: live timers fire after the entries of a read, here before the first entry past their time.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from services.strategy.api import Strategy
from services.strategy.core.history import ClosedBar, checked_needs
from services.strategy.core.ordering import Identity
from services.strategy.core.sessions import Session, SessionPlan, SessionRules
from services.strategy.core.unit import Unit
from services.strategy.core.usercode import RAISED, text_of
from services.strategy.shell.failures import Failure
from services.strategy.shell.feed import Dispatcher, RunningUnit, streams_of
from services.strategy.shell.guide import is_guide_shape, on_data_strategy
from services.strategy.shell.loader import Declared, DeclaredUnit, import_file
from services.strategy.shell.making import make_strategy
from shared.bus.keys import Keys
from shared.bus.ports import entry_order
from shared.clock import NS_PER_MS
from shared.errors import BadInput
from shared.ids import UnitId
from shared.messages.orders import Intent

Run = Callable[..., object]
"""Calls a handler with its arguments: where a debugger comes in."""


@dataclass(slots=True)
class Rerun:
    """What happened: the call that was looked at, how it ended, and what it would have ordered."""

    unit: str
    event_id: str
    handler: str
    calls: int = 0
    call: int = 0
    raised: str = ""
    trace: str = ""
    intents: list[Intent] = field(default_factory=list)


class _Watched(Unit):
    """A unit that counts the calls of its handlers and lets one of them be run by somebody else."""

    def follow(self, failure: Failure, stop_at: int, run: Run | None) -> None:
        """Begin to count; the call `stop_at` is run by `run`."""
        self.seen = Rerun(failure.unit, failure.event_id, failure.handler)
        self._stop_at, self._run = stop_at, run

    def _call(self, event: str, handler: Callable[..., object], *arguments: object) -> None:
        seen, moment = self.seen, self.outbox.moment
        seen.calls += 1
        number, run = seen.calls, self._run
        event_id = moment.cause_id or f"at-{moment.now_ns}"
        is_it = event == seen.handler and (event_id == seen.event_id or event in ("on_timer", "on_start", "on_stop"))

        def call(*given: object) -> object:
            try:
                is_looked_at = run is not None and number == self._stop_at
                return run(handler, *given) if is_looked_at and run is not None else handler(*given)
            except RAISED as e:
                if not seen.raised and is_it:
                    seen.raised = text_of(e)
                    seen.trace = "".join(traceback.format_exception(e))
                    seen.call = number
                raise

        mark = self.outbox.mark()
        super()._call(event, call, *arguments)
        if is_it and (not seen.raised or seen.call == number):
            seen.call = number
            seen.intents = list(self.outbox.intents[mark[0] :])


def rerun(failure: Failure, run: Run | None = None) -> Rerun:
    """Return what the code of today does with a kept failure.

    Args:
        failure: as it was kept.
        run: calls the handler at the event that failed, the second time; None only looks.

    Raises:
        BadInput: the code does not import, its class is gone, or parameters or state do not fit any more.
    """
    first = _once(failure, 0, None)
    return first if run is None or not first.call else _once(failure, first.call, run)


def _once(failure: Failure, stop_at: int, run: Run | None) -> Rerun:
    unit, dispatcher = _unit_of(failure)
    unit.follow(failure, stop_at, run)
    if failure.handler == "on_start":
        unit.start(failure.at_ns, failure.at_ns)
        return unit.seen
    unit.saved.is_started = True
    for entry in failure.found_entries():
        now_ns = entry_order(entry.entry_id)[0] * NS_PER_MS
        _fire(unit, now_ns)
        dispatcher.handle(entry, now_ns)
        unit.advance(entry.stream, entry.entry_id)
    _fire(unit, failure.at_ns)
    if failure.handler == "on_stop":
        unit.stop(failure.at_ns, failure.at_ns)
    return unit.seen


def _fire(unit: _Watched, until_ns: int) -> None:
    while True:
        due = min((at for at, _ in unit.timers.due.values()), default=None)
        if due is None or due > until_ns:
            return
        unit.tick(due)


def _unit_of(failure: Failure) -> tuple[_Watched, Dispatcher]:
    keys = Keys(failure.deployment, failure.partitions)
    cls = getattr(import_file(Path(failure.file)), failure.class_name, None)
    if cls is not None and is_guide_shape(cls) and failure.bars:
        cls = on_data_strategy(cls, failure.bars[0])
    if not isinstance(cls, type) or not issubclass(cls, Strategy):
        raise BadInput(f"{failure.file} has no strategy class {failure.class_name!r} any more")
    try:
        params = cls.Params.model_validate(failure.params)
    except ValueError as e:
        raise BadInput(f"the parameters of {failure.unit} do not fit {failure.class_name}.Params any more: {e}") from e
    contracts = {info.con_id: info for info in failure.contract_infos()}
    rules = None
    if failure.rules is not None:
        rules = SessionRules(Session(failure.rules[0]), failure.rules[1], failure.rules[2])
    plans = {} if rules is None else {con_id: SessionPlan(rules, info) for con_id, info in contracts.items()}
    name = failure.unit.partition("/")[0]
    identity = Identity(failure.deployment_id, failure.account, name, failure.unit)
    needs = checked_needs(failure.needs)
    spec = Declared(
        name, cls, params, tuple(failure.bars), failure.file, rules=rules, history=tuple(needs.items())
    )  # fmt: skip
    strategy = make_strategy(spec)
    unit = _Watched(
        identity, strategy, contracts, history_needs=needs, on_bar_intervals=tuple(failure.bars), sessions=plans
    )
    strategy.bind(unit)
    unit.follow(failure, 0, None)
    record = failure.record()
    unit.restore(
        commit=record.commit, state=record.state, timers=record.timers, cursors=record.cursors, past=record.past
    )
    for key, rows in failure.history.items():
        con_id, _, size = key.partition(":")
        unit.history.load(int(con_id), size, [ClosedBar(int(row[0]), *row[1:]) for row in rows])
    declared = DeclaredUnit(UnitId(failure.unit), spec, tuple(info.name for info in contracts.values()))
    streams = streams_of(keys, contracts, spec.reads)
    return unit, Dispatcher(keys, [RunningUnit(declared, unit, strategy, streams, is_joined=True)])

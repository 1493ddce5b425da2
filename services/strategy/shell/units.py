"""Begin and end units on a worker: take the record, restore the core, choose the cursors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.strategy.core.history import ClosedBar
from services.strategy.core.ordering import Identity
from services.strategy.core.saved import Limits, StateMisfit, Watched
from services.strategy.core.sessions import SessionPlan
from services.strategy.core.unit import Unit
from services.strategy.shell.feed import RunningUnit, streams_of
from services.strategy.shell.loader import DeclaredUnit
from services.strategy.shell.making import make_strategy
from services.strategy.shell.misfit import explained
from shared.bus.ports import FIRST, Bus, UnitRecord, entry_order
from shared.clock import NS_PER_MS, SYSTEM_CLOCK, Clock
from shared.messages.market import ContractInfo

NO_HISTORY: Mapping[tuple[int, str], Sequence[ClosedBar]] = {}


async def start_cursors(bus: Bus, streams: Sequence[str], stored: Mapping[str, str]) -> dict[str, str]:
    """Return where to read on: where the unit stopped; a new one reads orders and fills from the first retained entry
    and market data, decisions and control from now.

    A cursor ahead of the server's last entry (a failover to older data) would read nothing, silently: it is set back.
    """
    keys = bus.keys
    from_first = {keys.orders, keys.fills}
    cursors: dict[str, str] = {}
    for stream in streams:
        last = await bus.last_id(stream)
        before = stored.get(stream)
        if before is None:
            cursors[stream] = FIRST if stream in from_first else last
        else:
            cursors[stream] = before if entry_order(before) <= entry_order(last) else last
    return cursors


class UnitMaker:
    """Makes running units for one worker.

    Args:
        bus: where to look for cursors.
        deployment_id: id of the deployment's identity.
        account: the one account that is traded.
        limits: when units commit, repeat and pause.
        watched: what the watchdog looks at.
        clock: tells what had closed when a unit begins.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        deployment_id: str,
        account: str,
        limits: Limits,
        watched: Watched,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._deployment_id = deployment_id
        self._account = account
        self._limits = limits
        self._watched = watched

    async def make(
        self,
        declared: DeclaredUnit,
        contracts: Sequence[ContractInfo],
        record: UnitRecord,
        incarnation: str,
        history: Mapping[tuple[int, str], Sequence[ClosedBar]] = NO_HISTORY,
        fresh: str = "",
    ) -> RunningUnit:
        """Return a unit restored from its record, not yet started.

        Raises:
            BadInput: it cannot be made, its saved state does not fit, or the broker gave no hours for its session.
        """
        spec = declared.strategy
        identity = Identity(self._deployment_id, self._account, spec.name, declared.unit_id, incarnation)
        strategy = make_strategy(spec, declared.unit_id, self._watched)
        by_id = {info.con_id: info for info in contracts}
        needs, bars = dict(spec.history), spec.bars
        plans = {} if spec.rules is None else {info.con_id: SessionPlan(spec.rules, info) for info in contracts}
        unit = Unit(identity, strategy, by_id, self._limits, self._watched, needs, bars, plans)
        unit.why_stopped = declared.why_in_care
        strategy.bind(unit)
        try:
            unit.restore(
                commit=record.commit, state=record.state, timers=record.timers, cursors=record.cursors,
                past=record.past, fresh=fresh,
            )  # fmt: skip
        except StateMisfit as e:
            raise explained(e) from e
        streams = streams_of(self._bus.keys, by_id, spec.reads)
        unit.cursors = await start_cursors(self._bus, streams, record.cursors)
        for (con_id, size), past in history.items():
            unit.history.load(con_id, size, past)
        unit.history.begin(await self._goes_on_from_ns(unit.cursors, record.cursors))
        return RunningUnit(declared, unit, strategy, streams)

    async def _goes_on_from_ns(self, cursors: Mapping[str, str], stored: Mapping[str, str]) -> int:
        """Return the time of the first market data that a unit has not handled yet; now if there are none."""
        keys = self._bus.keys
        market = {stream(number) for stream in (keys.ticks, keys.bars) for number in range(keys.tick_partitions)}
        times = [self._clock.wall_ns()]
        for stream in market & stored.keys() & cursors.keys():
            taken = entry_order(cursors[stream])
            if taken < entry_order(await self._bus.last_id(stream)):
                times.append(taken[0] * NS_PER_MS)
        return min(times)

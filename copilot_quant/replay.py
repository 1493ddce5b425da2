"""Feed a recorded session to strategies again: the recording from marketdata, the strategies from their file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from services.marketdata.shell.replayer import RecordedSession
from services.strategy.shell.loader import Loaded, load_strategies
from services.strategy.shell.offline import Begin, OfflineUnit, Result, run_offline
from shared.errors import BadInput

TO_THE_END = 1 << 62


def replay(
    recording: Path,
    strategies: Path,
    *,
    from_ns: int = 0,
    to_ns: int = TO_THE_END,
    tell: Callable[[int], None] | None = None,
) -> list[Result]:
    """Return what each unit of a strategies file does with a recording.

    Args:
        recording: the folder that `MARKETDATA_RECORD_DIR` named.
        strategies: the TOML file.
        from_ns: entries before this wall time are left out; the units then begin there, and not where they did.
        to_ns: entries from this wall time on are left out.
        tell: hears how far it is.

    Raises:
        ConfigError: the strategies file cannot be read.
        BadInput: there is no recording, a strategy cannot run, or a contract was not known when it was recorded.
    """
    session = RecordedSession(recording)
    loaded = load_strategies(strategies)
    if loaded.mistakes:
        raise BadInput("; ".join(loaded.mistakes.values()))
    units = _units_of(session, loaded, from_ns, to_ns)
    return run_offline(units, session.entries(from_ns=from_ns, to_ns=to_ns), tell)


def _units_of(session: RecordedSession, loaded: Loaded, from_ns: int, to_ns: int) -> list[OfflineUnit]:
    recorded = session.intents() if not from_ns else {}
    history = session.history()
    units = []
    for unit_id, declared in loaded.units.items():
        found = {name: session.contract(name) for name in declared.contracts}
        missing = [name for name, info in found.items() if info is None]
        if missing:
            raise BadInput(f"{unit_id}: {', '.join(missing)} was not known when this was recorded")
        began = None if from_ns else session.units.get(unit_id)
        begin = Begin()
        if began is not None:
            begin = Begin(began.cursors, began.at_ns, began.until if to_ns == TO_THE_END else {})
        unit = OfflineUnit(
            session.keys,
            declared,
            [info for info in found.values() if info is not None],
            session.identity,
            begin=begin,
            recorded=recorded.get(unit_id, []),
        )
        unit.load_history(history)
        units.append(unit)
    return units

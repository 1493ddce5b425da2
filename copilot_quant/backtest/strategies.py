"""Find what is to be tested: the strategy class of a Python file, or every strategy of a TOML file.

A class of either shape will do: `services.strategy.api.Strategy`, or the guide's `on_data(timestamp, data)`.
Every mistake is one sentence with the file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.strategy.core.sessions import Session, SessionRules
from services.strategy.shell.guide import is_guide_shape
from services.strategy.shell.loader import (
    INTERVALS,
    Declared,
    DeclaredUnit,
    checked_history,
    checked_params,
    execute_file,
    guide_shape,
    is_strategy,
    load_strategies,
)
from shared.errors import BadInput
from shared.ids import UnitId


def declared_of(
    source: type[Any] | Path | str,
    symbols: Sequence[str],
    *,
    class_name: str = "",
    bars: Sequence[str] = (),
    per: str = "",
    session: str = "",
    last_entry: str = "",
    flat_by: str = "",
    lookback: int = 30,
    params: Mapping[str, Any] | None = None,
) -> list[DeclaredUnit]:
    """Return the units to run.

    Args:
        source: a class, a Python file, or a strategies file (TOML), whose own settings then hold.
        symbols: contract names; of a TOML file only what is named there as well, all of it where there are none.
        class_name: which class of a Python file, where it has several.
        bars: intervals that `on_bar` gets.
        per: "contract" or "all"; default: "contract", for the guide's shape "all".
        session: "rth", "extended" or "overnight".
        last_entry: no entries after it, with a session.
        flat_by: the platform makes it flat by then, with "rth".
        lookback: bars that `on_data` of the guide's shape is given.
        params: values of the class's `Params`; of the guide's shape: arguments of the class.

    Raises:
        BadInput: nothing there can run.
        ConfigError: the TOML file cannot be read.
    """
    if isinstance(source, str | Path) and Path(source).suffix == ".toml":
        return _of_toml(Path(source), symbols)
    cls = source if isinstance(source, type) else _class_of(Path(source), class_name)
    where = inspect.getsourcefile(cls) or cls.__module__
    intervals = tuple(dict.fromkeys(bars))
    wrong = [one for one in intervals if one not in INTERVALS]
    if wrong:
        raise BadInput(f"{wrong[0]!r} is no bar: write {', '.join(INTERVALS)}")
    if not symbols:
        raise BadInput("no symbols: name at least one, such as --symbols IBM,BAC")
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
    values: Mapping[str, Any] = params or {}
    if is_guide_shape(cls):
        cls, values = guide_shape(cls, values, intervals, lookback, f"{where}:")
        per = "all"
    made = checked_params(cls, values, f"{where}: {cls.__name__}.Params")
    rules = SessionRules(_session(session), last_entry, flat_by) if session else None
    if rules is None and (last_entry or flat_by):
        raise BadInput("last_entry and flat_by need a session: choose rth")
    declared = Declared(
        name, cls, made, intervals, str(where), rules=rules, history=checked_history(cls, made, f"{where}: ")
    )
    groups = [tuple(symbols)] if per == "all" else [(one,) for one in symbols]
    units = [UnitId(f"{name}/{'all' if per == 'all' else group[0]}") for group in groups]
    return [DeclaredUnit(unit, declared, group) for unit, group in zip(units, groups, strict=True)]


def _of_toml(path: Path, symbols: Sequence[str]) -> list[DeclaredUnit]:
    loaded = load_strategies(path)
    if loaded.mistakes:
        raise BadInput("; ".join(loaded.mistakes.values()))
    units = []
    for each in loaded.units.values():
        kept = tuple(name for name in each.contracts if not symbols or name in symbols)
        if kept:
            units.append(replace(each, contracts=kept))
    if not units:
        raise BadInput(f"{path}: no strategy trades {', '.join(symbols) or 'anything'}")
    return units


def _session(text: str) -> Session:
    try:
        return Session(text)
    except ValueError as e:
        raise BadInput(f"session {text!r} is unknown: write {', '.join(Session)}") from e


def _class_of(path: Path, wanted: str) -> type[Any]:
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    module = execute_file(path)  # anew: a notebook's user edits it between two runs
    found = {
        name: value
        for name, value in vars(module).items()
        if is_strategy(value) and value.__module__ == module.__name__
    }
    if wanted in found:
        return found[wanted]
    known = ", ".join(found) or "none"
    if wanted or len(found) != 1:
        asked = f"no strategy class {wanted!r}" if wanted else "not exactly one strategy class"
        raise BadInput(f"{path} has {asked}; it has {known}")
    return next(iter(found.values()))

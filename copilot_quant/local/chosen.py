"""Say which strategies file `cq run FILE` means: a TOML file as it is, a Python file by a file made for it.

A Python file that a `strategies.toml` beside it names runs as declared there, and only it; otherwise each strategy
class in it runs with its own defaults on the symbols that were given.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.strategy.api import Strategy
from services.strategy.shell.guide import is_guide_shape
from services.strategy.shell.loader import import_file, is_strategy
from shared.contracts import parse_contract
from shared.errors import ConfigError

BESIDE = "strategies.toml"
LOOKBACK = 30
"""Bars that a class of the guide's shape gets where nothing says how many; as in `cq backtest`."""


def strategies_file_of(chosen: Path, symbols: Sequence[str], folder: Path) -> Path:
    """Return the strategies file to run; what is made goes into `folder`, under the same name each time.

    Raises:
        ConfigError: there is no such file, it declares nothing that can run, or symbols are missing.
        BadInput: a Python file that does not import; the sentence has its line.
    """
    chosen = chosen.resolve()
    if not chosen.is_file():
        raise ConfigError(f"there is no {chosen}: name a strategies file (TOML) or a strategy (Python)")
    if chosen.suffix == ".toml":
        return chosen
    if chosen.suffix != ".py":
        raise ConfigError(f"{chosen} is neither TOML nor Python")
    tables = _tables_beside(chosen) or _tables_of(chosen, symbols)
    if symbols:
        names = [str(parse_contract(symbol)) for symbol in symbols]
        tables = {name: {**table, "contracts": names} for name, table in tables.items()}
    made = folder / BESIDE
    made.write_text("".join(_table_text(name, {**table, "file": str(chosen)}) for name, table in tables.items()))
    return made


def _tables_beside(chosen: Path) -> dict[str, dict[str, Any]]:
    beside = chosen.parent / BESIDE
    if not beside.is_file():
        return {}
    try:
        tables: Mapping[str, Any] = tomllib.loads(beside.read_text(encoding="utf-8")).get("strategy", {})
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{beside} is not TOML: {e}") from e
    return {
        name: {**table, "enabled": True}
        for name, table in tables.items()
        if isinstance(table, dict) and (chosen.parent / str(table.get("file", ""))).resolve() == chosen
    }


def _tables_of(chosen: Path, symbols: Sequence[str]) -> dict[str, dict[str, Any]]:
    module = import_file(chosen)
    classes = [one for one in vars(module).values() if is_strategy(one) and one.__module__ == module.__name__]
    if not classes:
        raise ConfigError(f"{chosen} has no class derived from Strategy, and none with on_data")
    if not symbols:
        raise ConfigError(f"no {BESIDE} beside {chosen} says what it trades: add --symbols AAPL,IBM")
    bars = {cls: ["1s"] if is_guide_shape(cls) or cls.on_bar is not Strategy.on_bar else [] for cls in classes}
    return {
        _snake(cls.__name__): {
            "class": cls.__name__, "contracts": [], "bars": bars[cls],
            **({"lookback": LOOKBACK} if is_guide_shape(cls) else {}),
        }
        for cls in classes
    }  # fmt: skip


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")


def _table_text(name: str, table: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join([f"[strategy.{name}]", *lines, ""]) + "\n"


def _value(value: object) -> str:
    """Return a value of a strategies file as TOML writes it; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)

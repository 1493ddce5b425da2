"""Read the strategies file and the classes it names; every mistake is one sentence with file and key.

```toml
[strategy.dip]                  # the name that every order, fill and position carries
file = "dip.py"                 # beside this file
class = "Dip"
contracts = ["AAPL", "SAP@IBIS:EUR"]
bars = ["5s"]                   # 1s, 5s, 1m, 1d; none without this key
per = "contract"                # one unit per contract (default), or "all": one unit for all of them
lookback = 30                   # the guide's shape: bars of each contract that `on_data` gets; then per is "all"
session = "rth"                 # quotes, trades, bars and orders only then: "rth", "extended", "overnight"
last_entry = "15:45"            # no entries after it (contract's zone, or "15 min" before the close)
flat_by = "15 min"              # the platform cancels and closes, whatever the strategy does; with "rth"
enabled = true
isolated = true                 # its units run in a process of their own, beside the worker that has them
params = { quantity = 10 }
```

A file that is no TOML refuses the start. A wrong strategy stops only itself: its mistakes are shown by `cq strategies`.

Known limit: a file whose import never ends holds up the start, or the reload, of its worker.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import tomllib
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.strategy.api import Strategy
from services.strategy.core.history import INTERVALS as INTERVAL_OF
from services.strategy.core.history import checked_needs
from services.strategy.core.sessions import Session, SessionRules
from services.strategy.core.usercode import RAISED, text_of, where_of
from services.strategy.shell.caretaker import Caretaker, needs_care
from services.strategy.shell.guide import check_arguments, is_guide_shape, on_data_strategy
from services.strategy.shell.mistakes import check_models, line_of_table, sentence_of
from shared.contracts import parse_contract
from shared.errors import BadInput, ConfigError
from shared.ids import MANUAL, UNASSIGNED, UnitId

INTERVALS = ("1s", "5s", "1m", "1d")
MODULE_PREFIX = "cq_strategy_"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,40}")


class Entry(BaseModel):
    """One `[strategy.NAME]` table."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    file: str
    class_name: str = Field(alias="class")
    contracts: list[str] = Field(min_length=1, max_length=500)
    bars: list[str] = []
    per: str = Field(default="", pattern="^(|contract|all)$")
    lookback: int | None = Field(default=None, ge=1, le=5000)
    enabled: bool = True
    isolated: bool = False
    session: Session | None = None
    last_entry: str = ""
    flat_by: str = ""
    params: dict[str, Any] = {}

    @field_validator("bars")
    @classmethod
    def _known_bars(cls, value: list[str]) -> list[str]:
        wrong = [one for one in value if one not in INTERVALS]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no bar: write {', '.join(INTERVALS)}")
        return value

    @field_validator("contracts")
    @classmethod
    def _readable_contracts(cls, value: list[str]) -> list[str]:
        try:
            names = [str(parse_contract(name)) for name in value]
        except BadInput as e:
            raise ValueError(str(e)) from e
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is named twice")
        return names


@dataclass(frozen=True, slots=True)
class Declared:
    """One strategy that can run."""

    name: str
    cls: type[Strategy]
    params: BaseModel
    bars: tuple[str, ...]
    file: str
    source: str = ""
    """Digest of the file's content: whether a reload brings something new."""
    rules: SessionRules | None = None
    history: tuple[tuple[str, int], ...] = ()
    """Bar sizes and how many closed bars of each are loaded before the start."""
    is_isolated: bool = False
    """Its units run in a process of their own."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Return the intervals of the bar streams that are read, for `on_bar` or for the history."""
        return tuple(dict.fromkeys((*self.bars, *(INTERVAL_OF[size] for size, _ in self.history))))


@dataclass(frozen=True, slots=True)
class DeclaredUnit:
    """One unit of a strategy: its id and the contract names it trades."""

    unit_id: UnitId
    strategy: Declared
    contracts: tuple[str, ...]
    why_in_care: str = ""
    """Why a caretaker runs it in the strategy's place; empty when the strategy itself does."""


@dataclass(slots=True)
class Loaded:
    """What the file declares; `mistakes` has strategy → sentence for those that cannot run."""

    units: dict[str, DeclaredUnit] = field(default_factory=dict)
    mistakes: dict[str, str] = field(default_factory=dict)


def changed_units(before: Loaded, after: Loaded) -> list[str]:
    """Return the units of `before` that are gone or declared otherwise: in file, parameters, contracts or bars."""

    def essence(unit: DeclaredUnit) -> tuple[object, ...]:
        spec = unit.strategy
        return (
            spec.cls.__qualname__,
            spec.file,
            spec.source,
            spec.params.model_dump(),
            spec.bars,
            spec.rules,
            spec.is_isolated,
            unit.contracts,
        )

    gone = [unit_id for unit_id in before.units if unit_id not in after.units]
    both = [unit_id for unit_id in before.units if unit_id in after.units]
    return gone + [one for one in both if essence(before.units[one]) != essence(after.units[one])]


def load_strategies(path: Path, *, fresh: bool = False) -> Loaded:
    """Read the strategies file; with `fresh` the files it names are read again too.

    Raises:
        ConfigError: there is no such file, or it is no TOML with `[strategy.NAME]` tables.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as e:
        raise ConfigError(f"STRATEGIES_FILE: {str(path)!r} cannot be read ({e.strerror})") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"STRATEGIES_FILE: {path} is not TOML: {e}") from e
    tables = content.pop("strategy", {})
    if content or not isinstance(tables, dict):
        wrong = next(iter(content), "strategy")
        raise ConfigError(f"STRATEGIES_FILE: {path}: {wrong!r} is unknown; strategies are tables [strategy.NAME]")
    if fresh:
        forget_imports()
    loaded = Loaded()
    for name, table in tables.items():
        try:
            line = line_of_table(text, name)
            _add(loaded, path, f"{path}:{line}" if line else str(path), name, table)
        except BadInput as e:
            loaded.mistakes[name] = str(e)
    return loaded


def _add(loaded: Loaded, path: Path, line: str, name: str, table: object) -> None:
    where = f"{line}: [strategy.{name}]"
    if not _NAME.fullmatch(name) or name in (UNASSIGNED, MANUAL):
        raise BadInput(
            f"{where}: a strategy's name is lower-case letters, digits, _ and -, and not manual or unassigned"
        )
    try:
        entry = Entry.model_validate(table)
    except ValidationError as e:
        raise BadInput(f"{where} {sentence_of(e, Entry)}") from e
    if not entry.enabled:
        return
    rules = _rules(where, entry)
    mistake = ""
    try:
        declared = _declared(path, where, name, entry, rules)
    except BadInput as e:
        mistake = loaded.mistakes[name] = str(e)
        declared = Declared(name, Caretaker, Caretaker.Params(), (), str(path.parent / entry.file), rules=rules)
    # Of the file alone: while its class does not import, the caretaker has to take the same units.
    per = entry.per or ("all" if entry.lookback else "contract")
    groups = [(one,) for one in entry.contracts] if per == "contract" else [tuple(entry.contracts)]
    for group in groups:
        unit_id = UnitId(f"{name}/{group[0] if per == 'contract' else 'all'}")
        unit = DeclaredUnit(unit_id, declared, group, mistake)
        if not mistake or needs_care(unit):
            loaded.units[unit_id] = unit


def _declared(path: Path, where: str, name: str, entry: Entry, rules: SessionRules | None) -> Declared:
    cls, values = _class_of(path, where, name, entry), entry.params
    bars = tuple(dict.fromkeys(entry.bars))
    if is_guide_shape(cls):
        if entry.lookback is None:
            raise BadInput(f"{where} lookback: say how many bars on_data gets, such as lookback = 30")
        cls, values = guide_shape(cls, values, bars, entry.lookback, where)
    elif entry.lookback is not None:
        raise BadInput(f"{where} lookback: it is for on_data; this class says in history_needs what it looks back on")
    params = checked_params(cls, values, f"{where} params")
    file = path.parent / entry.file
    source = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    return Declared(
        name, cls, params, bars, str(file), source, rules, checked_history(cls, params, f"{where} "), entry.isolated
    )


def guide_shape(
    cls: type[Any], arguments: Mapping[str, Any], bars: Sequence[str], lookback: int, where: str
) -> tuple[type[Strategy], dict[str, Any]]:  # fmt: skip
    """Return the strategy class that runs a class of the guide's shape, and its parameters.

    Raises:
        BadInput: not exactly one interval, or arguments that do not fit.
    """
    if len(bars) != 1:
        raise BadInput(f"{where} {cls.__name__}: on_data is called at the end of a bar: choose one, such as 1d")
    try:
        check_arguments(cls, arguments)
    except BadInput as e:
        raise BadInput(f"{where} {e}") from e
    return on_data_strategy(cls, bars[0]), {"arguments": dict(arguments), "lookback": lookback}


def _rules(where: str, entry: Entry) -> SessionRules | None:
    if entry.session is None:
        if entry.last_entry or entry.flat_by:
            raise BadInput(f'{where} last_entry and flat_by need a session: write session = "rth"')
        return None
    try:
        return SessionRules(entry.session, entry.last_entry, entry.flat_by)
    except BadInput as e:
        raise BadInput(f"{where} {e}") from e


def checked_params(cls: type[Strategy], values: Mapping[str, Any], where: str) -> Any:
    """Return a strategy's parameters.

    Raises:
        BadInput: they are wrong, or `Params` or `State` is of no kind that can be read and saved.
    """
    try:
        check_models(cls)
        return cls.Params.model_validate(dict(values), extra="forbid")
    except ValidationError as e:
        raise BadInput(f"{where}.{sentence_of(e, cls.Params)}") from e
    except BadInput as e:
        raise BadInput(f"{where}: {e}") from e
    except RAISED as e:  # user code: a validator
        raise BadInput(f"{where}: {cls.__name__}.Params raised {text_of(e)} at {where_of(e)}") from e


def checked_history(cls: type[Strategy], params: Any, where: str) -> tuple[tuple[str, int], ...]:
    """Return what a strategy looks back on: bar size and how many closed bars.

    Raises:
        BadInput: it says so wrongly.
    """
    try:
        return tuple(checked_needs(cls.history_needs(params)).items())
    except BadInput as e:
        raise BadInput(f"{where}{cls.__name__}.history_needs: {e}") from e
    except RAISED as e:  # user code: what it raises stops only itself (P10)
        raise BadInput(f"{where}{cls.__name__}.history_needs raised {text_of(e)} at {where_of(e)}") from e


def _class_of(path: Path, where: str, name: str, entry: Entry) -> type[Any]:
    file = path.parent / entry.file
    if not file.is_file():
        raise BadInput(f"{where} file: there is no {file}")
    try:
        module = import_file(file)
    except BadInput as e:
        raise BadInput(f"{where} file: {e}") from e
    cls = getattr(module, entry.class_name, None)
    if not is_strategy(cls):
        found = [key for key, value in vars(module).items() if is_strategy(value)]
        known = ", ".join(one for one in found if one not in ("Strategy", "DataStrategy")) or "none"
        raise BadInput(f"{where} class: {file} has no strategy class {entry.class_name!r}; it has {known} ({name})")
    return cls


def is_strategy(value: object) -> TypeGuard[type[Any]]:
    """Return whether something is a class of either shape."""
    return isinstance(value, type) and (issubclass(value, Strategy) or is_guide_shape(value))


def forget_imports() -> None:
    """Have `import_file` read files again."""
    for module in [name for name in sys.modules if name.startswith(MODULE_PREFIX)]:
        del sys.modules[module]
    importlib.invalidate_caches()


def import_file(file: Path) -> ModuleType:
    """Return a strategy's file as a module, imported once until a reload forgets it.

    Raises:
        BadInput: it does not import; the sentence has file and line.
    """
    return sys.modules.get(_module_name(file)) or execute_file(file)


def execute_file(file: Path) -> ModuleType:
    """Return a strategy's file as a module, imported anew.

    Raises:
        BadInput: it does not import; the sentence has file and line.
    """
    module_name = _module_name(file)
    loader = _SourceLoader(module_name, str(file))
    spec = importlib.util.spec_from_file_location(module_name, file, loader=loader)
    if spec is None:
        raise BadInput(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        loader.exec_module(module)
    except RAISED as e:  # user code: one bad file stops only itself (P10)
        del sys.modules[module_name]
        raise BadInput(_import_error(file, e)) from e
    return module


class _SourceLoader(SourceFileLoader):
    """Compiles the file each time: Python's cache takes an edit of the same size within one second for no edit."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the file as it is now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _module_name(file: Path) -> str:
    return f"{MODULE_PREFIX}{re.sub(r'[^0-9A-Za-z]', '_', str(file.resolve()))}"


def _import_error(file: Path, e: BaseException) -> str:
    if isinstance(e, SyntaxError):
        return f"{e.filename}:{e.lineno}: {e.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(e.__traceback__) if frame.filename == str(file)]
    return f"{file}:{lines[-1] if lines else '?'}: {text_of(e)}"

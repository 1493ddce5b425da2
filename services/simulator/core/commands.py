"""Find and check the commands that a running exchange takes: faults, what happens to accounts, what happens to markets.

A command is a method with keyword arguments: its name is the command, its first sentence the help, its annotations the
types. The same commands come by HTTP, from `cq simulator do`, and from a scenario file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from services.simulator.core.faults import FaultRecord
from services.simulator.core.floor import Floor
from shared.errors import BadInput

Act = Callable[..., None]


class BadFault(BadInput):
    """An unknown command or a parameter that makes no sense."""


@dataclass(frozen=True, slots=True)
class CommandHelp:
    """What a person needs to know of a command."""

    name: str
    group: str
    text: str
    parameters: dict[str, str]
    """Each parameter with its default as text, "required" where there is none."""


class Commands:
    """All commands of an exchange, in groups."""

    def __init__(self, floor: Floor, groups: Mapping[str, list[Act]]) -> None:
        self._floor = floor
        self._acts: dict[str, tuple[str, Act]] = {}
        for group, acts in groups.items():
            for act in acts:
                name = getattr(act, "__name__", "")
                if name in self._acts:
                    raise ValueError(f"two commands are called {name!r}")
                self._acts[name] = (group, act)

    def names(self) -> dict[str, str]:
        """Return every command with the sentence that explains it."""
        return {name: _first_line(act) for name, (_, act) in self._acts.items()}

    def help(self) -> list[CommandHelp]:
        """Return what there is to know of every command."""
        rows = []
        for name, (group, act) in self._acts.items():
            parameters = {
                each.name: "required" if each.default is each.empty else _shown(each.default)
                for each in inspect.signature(act).parameters.values()
            }
            rows.append(CommandHelp(name, group, _first_line(act), parameters))
        return rows

    def check(self, name: str, parameters: Mapping[str, Any]) -> Act:
        """Return a command that can be called with these parameters.

        Raises:
            BadFault: there is no such command, or it does not take these parameters.
        """
        found = self._acts.get(name)
        if found is None:
            raise BadFault(f"there is no command {name!r}: choose from {', '.join(self._acts)}")
        act = found[1]
        try:
            inspect.signature(act).bind(**parameters)
        except TypeError as e:
            takes = ", ".join(inspect.signature(act).parameters) or "no parameters"
            raise BadFault(f"{name} cannot take {dict(parameters)!r}: {e}; it takes {takes}") from e
        for key, hint in get_type_hints(act).items():
            if key in parameters and not _fits(parameters[key], hint):
                raise BadFault(f"{name} cannot take {key}={parameters[key]!r}: {_described(hint)} is needed")
        return act

    def inject(self, name: str, parameters: dict[str, Any]) -> None:
        """Carry out a command.

        Raises:
            BadFault: unknown name or parameters.
        """
        act = self.check(name, parameters)
        hints = get_type_hints(act)
        try:
            act(**{key: _as_text(value, hints[key]) for key, value in parameters.items()})
        except (TypeError, ValueError, ArithmeticError) as e:
            raise BadFault(f"{name} cannot take {parameters!r}: {e}") from e
        faults = self._floor.faults
        faults.history.append(FaultRecord(name, self._floor.now_ns, parameters))
        del faults.history[:-100]
        self._floor.log("fault", name=name, parameters=parameters)


def _first_line(act: Act) -> str:
    return (inspect.getdoc(act) or "").split("\n\n")[0].replace("\n", " ")


def _shown(default: object) -> str:
    return "" if default is None else str(default)


def _kinds(hint: Any) -> list[type]:
    """Return the plain types that an annotation allows."""
    choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [get_origin(each) or each for each in choices]


def _fits(value: object, hint: Any) -> bool:
    kinds = _kinds(hint)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int | float) and (float in kinds or str in kinds):
        return True  # 3 for 3.0; amounts are texts here and may come as numbers
    return isinstance(value, tuple(kinds))


def _as_text(value: object, hint: Any) -> object:
    """Return a number as the text that is wanted: a conId, an amount."""
    kinds = _kinds(hint)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number and str in kinds and not {int, float} & set(kinds) else value


def _described(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "a list"}
    return " or ".join(names.get(each, each.__name__) for each in _kinds(hint) if each is not type(None))

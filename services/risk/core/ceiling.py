"""Compare limits: with a ceiling that no change at run time may exceed, and with each other.

A ceiling is a file like the limits', with `[limits]` only: `order_quantity_max = 500` there means that no table of the
limits file, and no change through `control`, may allow more. Only a restart reads it (SEC 15c3-5(d): limits under the
firm's own control).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from services.risk.core.limits import Limits, is_tighter
from services.risk.core.limits_file import ALL_LIMITS, as_text, parse_table

_SUBSETS = ("order_types", "tifs", "strategies", "contracts_allowed")
"""Lists of what is allowed: a limits file may name fewer."""
_SUPERSETS = ("broker_windows", "contracts_restricted")
"""Lists of what is not allowed: a limits file may name more."""


def parse_ceiling(text: str, *, source: str = "ceiling") -> dict[str, object]:
    """Return the limits that a ceiling names.

    Raises:
        ConfigError: every mistake at once, each with the file, the line where it is known, and the key.
    """
    return parse_table(text, source=source)


def above_ceiling(limits: Limits, ceiling: Mapping[str, object]) -> list[str]:
    """Return a sentence for each value that allows more than the ceiling does, none if all is well."""
    found = []
    for where, name, value in _values(limits):
        if name in ceiling and _is_above(name, value, ceiling[name]):
            found.append(f"{where}{name} = {as_text(value)} is above the ceiling of {as_text(ceiling[name])}")
    return found


def _values(limits: Limits) -> Iterator[tuple[str, str, object]]:
    for name in ALL_LIMITS:
        yield "", name, getattr(limits.base, name)
    kinds = {"strategies": limits.strategies, "contracts": limits.contracts, "asset_classes": limits.asset_classes}
    for kind, tables in kinds.items():
        for owner, table in tables.items():
            for name, value in table.items():
                yield f"[{kind}.{owner}] ", name, value


def _is_above(name: str, value: object, ceiling: object) -> bool:
    if isinstance(value, tuple) and isinstance(ceiling, tuple):
        if name in _SUBSETS:
            return "any" not in ceiling and not set(value) <= set(ceiling)
        return name in _SUPERSETS and not set(ceiling) <= set(value)
    if name == "trading_day":
        return value != ceiling
    return is_tighter(name, ceiling, value)


def differences(before: Limits, after: Limits) -> list[str]:
    """Return a line for each value that differs, as `name: before -> after`; "not set" where a table has none."""
    old = {f"{where}{name}": value for where, name, value in _values(before)}
    new = {f"{where}{name}": value for where, name, value in _values(after)}
    lines = []
    for name in dict.fromkeys((*old, *new)):
        if old.get(name, _MISSING) != new.get(name, _MISSING):
            texts = [as_text(one[name]) if name in one else "not set" for one in (old, new)]
            lines.append(f"{name}: {texts[0]} -> {texts[1]}")
    if before.rules_version != after.rules_version:
        lines.append(f"rules: {before.rules_version} -> {after.rules_version}")
    return lines


_MISSING = object()

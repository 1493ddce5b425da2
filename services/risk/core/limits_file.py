"""Read a limits file: a built-in profile, and the differences that a TOML file and the guide's variables state.

```toml
profile = "small-paper"            # sets every limit; what follows are differences only
rules = 5                          # the set of rules this file was checked against; newer ones only warn

[limits]
position_quantity_max = 500        # shares
exposure_gross_max = "unlimited"   # nothing is silently unlimited: it is written out

[strategies.mean_reversion]        # only for this strategy
order_quantity_max = 100
protection = "refuse"

[contracts.AAPL]                   # only for this contract; names as in the grammar, or "#265598"
position_notional_max = 20000

[asset_classes.FUT]                # only for futures; the broker's own names: STK, FUT, OPT, CASH, IND …
price_collar_ticks = 20

[contracts."FUT:CL@NYMEX"]         # all months of a future, all options of an underlying
expiry_days_min = 30

[contracts."FUT:ZC@CBOT:202612"]
first_notice = 2026-11-30          # a date; IB names none
```

Money is in the account's base currency, quantities in shares or contracts, rates in orders per second.
Where several tables name the same limit, the smallest holds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from decimal import Decimal

from services.risk.core.days import TradingDay, Window
from services.risk.core.limits import RULES_VERSION, UNLIMITED, Limits, LimitSet
from services.risk.core.profiles import DEFAULT_PROFILE, PROFILES, default_limits
from shared.errors import ConfigError
from shared.messages.orders import OrderType, TimeInForce

_CHOICE = ("allow", "warn", "refuse")
_RUNG = ("warn", "no_entries", "reduce_only", "cancel_entries", "halt", "flatten")
CHOICES = {
    **dict.fromkeys(
        (
            "crossed_quotes", "day_trades", "delayed_data", "duplicates", "frozen_data", "market_closed", "protection",
            "repeats", "self_cross", "short_selling", "short_unavailable",
        ),
        _CHOICE,
    ),
    **dict.fromkeys(
        (
            "daily_loss_rung", "drawdown_rung", "strategy_loss_rung", "strategy_drawdown_rung", "rejects_rung",
            "errors_rung", "anomaly_rung", "liquidation_rung", "unprotected_rung",
        ),
        _RUNG,
    ),
}  # fmt: skip
_LISTS = {
    "order_types": tuple(str(one) for one in OrderType),
    "tifs": tuple(str(one) for one in TimeInForce),
    "strategies": None,
    "contracts_allowed": None,
    "contracts_restricted": None,
}
_RUNGS_SINCE = {"strategy_drawdown_rung": 5}
_OF_ONE_CONTRACT = ("first_notice",)
ALL_LIMITS = tuple(one.name for one in fields(LimitSet) if one.init and one.name not in _OF_ONE_CONTRACT)
_PER_STRATEGY = (
    "order_quantity_max", "order_notional_max", "price_collar_percent", "price_collar_ticks", "market_slippage_percent",
    "strategy_position_quantity_max", "strategy_position_notional_max", "strategy_rate_per_s", "strategy_rate_burst",
    "order_types", "tifs", "short_selling", "protection", "self_cross", "duplicates", "duplicate_window_s",
    "repeats", "repeats_max", "orders_per_fill_max", "strategy_loss_max", "strategy_drawdown_max", "rejects_max",
    "market_closed",
    "unprotected_max_s", "unprotected_rung", "short_unavailable", "what_if_margin_percent",
)  # fmt: skip
_PER_CONTRACT = (
    "order_quantity_max", "order_notional_max", "price_collar_percent", "price_collar_ticks", "market_slippage_percent",
    "position_quantity_max", "position_notional_max", "concentration_percent", "data_age_max_s", "delayed_data",
    "frozen_data", "crossed_quotes", "market_closed", "open_orders_side_max", "expiry_days_min", "short_selling",
    "short_unavailable",
)  # fmt: skip
TABLES = {
    "strategies": _PER_STRATEGY,
    "contracts": (*_PER_CONTRACT, *_OF_ONE_CONTRACT),
    "asset_classes": _PER_CONTRACT,
}
GUIDE_NAMES = {"MAX_POSITION_SIZE": "position_quantity_max", "MAX_TOTAL_EXPOSURE": "exposure_gross_max"}
"""The user's guide's variables and the limits they set."""


def parse_limits(text: str, *, source: str = "limits", environment: Mapping[str, str] | None = None) -> Limits:
    """Read a limits file; the guide's variables in `environment` win over it.

    Raises:
        ConfigError: every mistake at once, each with the file, the line where it is known, and the key.
    """
    reader = _Reader(text, source)
    limits = reader.read()
    changes: dict[str, object] = {}
    for variable, name in GUIDE_NAMES.items():
        given = (environment or {}).get(variable)
        if given:
            value = _bound(given.strip())
            if isinstance(value, str):
                reader.mistakes.append(f"{variable}: {value}")
            else:
                changes[name] = value
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    limits.base = replace(limits.base, **changes)  # type: ignore[arg-type]
    return limits


def parse_table(text: str, *, source: str) -> dict[str, object]:
    """Read a file that holds `[limits]` only and return what it names.

    Raises:
        ConfigError: every mistake at once.
    """
    reader = _Reader(text, source)
    named = reader.read_table()
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    return named


class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self.mistakes: list[str] = []

    def read(self) -> Limits:
        try:
            content = tomllib.loads(self._text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as e:
            self.mistakes.append(f"{self._source}: this is not TOML: {e}")
            return default_limits()
        for name in content:
            if name not in ("profile", "rules", "limits", *TABLES):
                known = ", ".join(f"[{table}.NAME]" for table in TABLES)
                self._note("", name, f"{name!r} is unknown: write profile, rules, [limits], {known}")
        profile = content.get("profile", DEFAULT_PROFILE)
        if profile not in PROFILES:
            self._note("", "profile", f"profile {profile!r} is unknown: choose {', '.join(PROFILES)}")
            profile = DEFAULT_PROFILE
        version = self._version(content)
        named = self._table(content.get("limits", {}), "limits", ALL_LIMITS)
        for name, since in _RUNGS_SINCE.items():
            if version < since:  # a breaker that an upgrade adds only warns
                named.setdefault(name, "warn")
        return Limits(
            base=replace(PROFILES[profile], **named),  # type: ignore[arg-type]
            profile=profile,
            rules_version=version,
            strategies=self._tables(content, "strategies"),
            contracts=self._tables(content, "contracts"),
            asset_classes=self._tables(content, "asset_classes"),
        )

    def read_table(self) -> dict[str, object]:
        try:
            content = tomllib.loads(self._text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as e:
            self.mistakes.append(f"{self._source}: this is not TOML: {e}")
            return {}
        for name in content:
            if name != "limits":
                self._note("", name, f"{name!r} does not belong here: write [limits] only")
        return self._table(content.get("limits", {}), "limits", ALL_LIMITS)

    def _version(self, content: dict[str, object]) -> int:
        """Return the set of rules the file was checked against: the first, where a file does not say."""
        given = content.get("rules", 1 if content else RULES_VERSION)
        if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= RULES_VERSION:
            self._note("", "rules", f"rules must be a number from 1 to {RULES_VERSION}, not {given!r}")
            return RULES_VERSION
        return given

    def _tables(self, content: dict[str, object], kind: str) -> dict[str, dict[str, object]]:
        found = content.get(kind, {})
        if not isinstance(found, dict):
            self._note("", kind, f"[{kind}] must hold one table per name, as [{kind}.NAME]")
            return {}
        return {name: self._table(table, f"{kind}.{name}", TABLES[kind]) for name, table in found.items()}

    def _table(self, table: object, section: str, allowed: tuple[str, ...]) -> dict[str, object]:
        if not isinstance(table, dict):
            self._note(section, "", f"[{section}] must be a table of limits")
            return {}
        values: dict[str, object] = {}
        for name, given in table.items():
            if name not in allowed:
                known = name in (*ALL_LIMITS, *_OF_ONE_CONTRACT)
                reason = f"cannot be set in [{section}]" if known else f"is no limit; known: {', '.join(allowed)}"
                self._note(section, name, f"{name} {reason}")
                continue
            value = _value(name, given)
            if isinstance(value, _Mistake):
                self._note(section, name, f"{name} {value.text}")
            else:
                values[name] = value
        return values

    def _note(self, section: str, name: str, text: str) -> None:
        line = _line_of(self._text, section, name)
        self.mistakes.append(f"{self._source}{f', line {line}' if line else ''}: {text}")


@dataclass(frozen=True, slots=True)
class _Mistake:
    text: str


def _value(name: str, given: object) -> object:
    if name in CHOICES:
        choices = CHOICES[name]
        return given if given in choices else _Mistake(f"must be one of {', '.join(choices)}, not {given!r}")
    if name == "first_notice":
        return _date(given)
    if name in ("trading_day", "broker_windows"):
        return _times(name, given)
    if name in _LISTS:
        known = _LISTS[name]
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            return _Mistake(f"must be a list of names, not {given!r}")
        wrong = [one for one in given if known is not None and one not in known]
        return _Mistake(f"does not know {wrong}; known: {', '.join(known or ())}") if wrong else tuple(given)
    value = _bound(given)
    return _Mistake(value) if isinstance(value, str) else value


def _date(given: object) -> object:
    try:
        found = date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        found = None
    is_date = isinstance(found, date) and not isinstance(found, datetime)
    return found if is_date else _Mistake(f"must be a date as 2026-11-30, not {given!r}")


def _times(name: str, given: object) -> object:
    try:
        if name == "trading_day":
            return TradingDay.of(given if isinstance(given, str) else "")
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise ValueError("it must be a list of texts")
        return tuple(Window.of(one) for one in given)
    except ValueError as e:
        return _Mistake(f"cannot be read: {e}")


def _bound(given: object) -> Decimal | str | None:
    """Return a limit, None for "unlimited", or the sentence that says what is wrong."""
    if given == UNLIMITED:
        return None
    sentence = f'must be a number, 0 or more, or "{UNLIMITED}", not {given!r}'
    if isinstance(given, bool) or not isinstance(given, int | Decimal | str):
        return sentence
    try:
        value = Decimal(given)
    except ArithmeticError:
        return sentence
    return value if value.is_finite() and value >= 0 else sentence


def as_text(value: object) -> str:
    """Return a limit as it is written in the file."""
    if value is None:
        return f'"{UNLIMITED}"'
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f'"{value}"'


def _line_of(text: str, section: str, name: str) -> int | None:
    """Return the line of a key (or of a section's head, without a name), found by reading the text again."""
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.strip("[] ").replace('"', "").replace("'", "")
            if current == section and not name:
                return number
        elif name and current == section and stripped.partition("=")[0].strip().strip("\"'") == name:
            return number
    return None

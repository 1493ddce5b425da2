"""Know every limit: a built-in profile, and the differences that a TOML file and the guide's variables state.

```toml
profile = "small-paper"            # sets every limit; what follows are differences only

[limits]
position_quantity_max = 500        # shares
exposure_gross_max = "unlimited"   # nothing is silently unlimited: it is written out

[strategies.mean_reversion]        # only for this strategy
order_quantity_max = 100

[contracts.AAPL]                   # only for this contract; names as in the grammar, or "#265598"
position_notional_max = 20000
```

Money is in the account's base currency, quantities in shares or contracts, rates in orders per second.
Where a strategy's and a contract's table name the same limit, the smaller holds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from math import inf

from services.risk.core.rates import UNLIMITED_RATE
from shared.errors import ConfigError
from shared.ids import MANUAL
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderType, TimeInForce

UNLIMITED = "unlimited"
_NS_PER_S = 1_000_000_000
Bound = Decimal | None
"""A limit; None was written out as "unlimited"."""


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The value of every limit for one order. Names are the file's keys."""

    order_quantity_max: Bound
    order_notional_max: Bound
    price_collar_percent: Bound
    position_quantity_max: Bound
    position_notional_max: Bound
    strategy_position_quantity_max: Bound
    strategy_position_notional_max: Bound
    exposure_gross_max: Bound
    buying_power_share: Bound
    strategy_rate_per_s: Bound
    strategy_rate_burst: Bound
    account_rate_per_s: Bound
    account_rate_burst: Bound
    open_orders_max: Bound
    open_orders_side_max: Bound
    daily_loss_max: Bound
    data_age_max_s: Bound
    delayed_data: str
    order_types: tuple[str, ...]
    tifs: tuple[str, ...]
    strategies: tuple[str, ...]
    rates: tuple[float, float, float, float] = field(init=False)
    """Strategy's rate and burst, account's rate and burst, as the token buckets take them."""
    data_age_max_ns: float = field(init=False)
    takes_any_strategy: bool = field(init=False)
    takes_any_type: bool = field(init=False)
    """Whether every order type and time in force is enabled."""

    def __post_init__(self) -> None:
        """Prepare, once, what each decision asks."""
        bounds = (self.strategy_rate_per_s, self.strategy_rate_burst, self.account_rate_per_s, self.account_rate_burst)
        first, second, third, fourth = [UNLIMITED_RATE if bound is None else float(bound) for bound in bounds]
        object.__setattr__(self, "rates", (first, second, third, fourth))
        age = self.data_age_max_s
        object.__setattr__(self, "data_age_max_ns", inf if age is None else float(age) * _NS_PER_S)
        object.__setattr__(self, "takes_any_strategy", "any" in self.strategies)
        is_open = {*OrderType} <= {*self.order_types} and {*TimeInForce} <= {*self.tifs}
        object.__setattr__(self, "takes_any_type", is_open)


def _profile(**values: object) -> LimitSet:
    built = {name: Decimal(str(value)) if isinstance(value, int | float) else value for name, value in values.items()}
    return LimitSet(**built)  # type: ignore[arg-type]


PROFILES: Mapping[str, LimitSet] = {
    "small-paper": _profile(
        order_quantity_max=1000, order_notional_max=100_000, price_collar_percent=5, position_quantity_max=2000,
        position_notional_max=250_000, strategy_position_quantity_max=1000, strategy_position_notional_max=200_000,
        exposure_gross_max=500_000, buying_power_share=1, strategy_rate_per_s=10, strategy_rate_burst=20,
        account_rate_per_s=30, account_rate_burst=60, open_orders_max=200, open_orders_side_max=15,
        daily_loss_max=20_000, data_age_max_s=60, delayed_data="warn",
        order_types=tuple(str(one) for one in OrderType), tifs=tuple(str(one) for one in TimeInForce),
        strategies=("any",),
    ),
    "tiny-live": _profile(
        order_quantity_max=10, order_notional_max=2000, price_collar_percent=2, position_quantity_max=10,
        position_notional_max=2000, strategy_position_quantity_max=10, strategy_position_notional_max=2000,
        exposure_gross_max=5000, buying_power_share="0.5", strategy_rate_per_s=1, strategy_rate_burst=2,
        account_rate_per_s=2, account_rate_burst=5, open_orders_max=20, open_orders_side_max=5,
        daily_loss_max=200, data_age_max_s=15, delayed_data="refuse",
        order_types=tuple(str(one) for one in OrderType), tifs=tuple(str(one) for one in TimeInForce),
        strategies=("any",),
    ),
}  # fmt: skip
DEFAULT_PROFILE = "small-paper"

_CHOICES = {"delayed_data": ("allow", "warn", "refuse")}
_LISTS = {
    "order_types": tuple(str(one) for one in OrderType),
    "tifs": tuple(str(one) for one in TimeInForce),
    "strategies": None,
}
_ALL = tuple(one.name for one in fields(LimitSet) if one.init)
_PER_STRATEGY = (
    "order_quantity_max", "order_notional_max", "price_collar_percent", "strategy_position_quantity_max",
    "strategy_position_notional_max", "strategy_rate_per_s", "strategy_rate_burst", "order_types", "tifs",
)  # fmt: skip
_PER_CONTRACT = (
    "order_quantity_max", "order_notional_max", "price_collar_percent", "position_quantity_max",
    "position_notional_max", "data_age_max_s", "delayed_data", "open_orders_side_max",
)  # fmt: skip
GUIDE_NAMES = {"MAX_POSITION_SIZE": "position_quantity_max", "MAX_TOTAL_EXPOSURE": "exposure_gross_max"}
"""The user's guide's variables and the limits they set."""


@dataclass(slots=True)
class Limits:
    """Every limit in force, with the overrides per strategy and contract.

    `mistakes` is non-empty when the file could not be used: then the profile's values stand for orders that reduce,
    and the rule RISK_LIMITS_BROKEN refuses all others.
    """

    base: LimitSet
    profile: str = DEFAULT_PROFILE
    strategies: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    contracts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()
    _merged: dict[tuple[str, int, bool], LimitSet] = field(default_factory=dict)

    def for_order(self, strategy: str, con_id: int, info: ContractInfo | None) -> LimitSet:
        """Return the limits of one order; `info` is the contract's definition, None while it is not known."""
        if not self.strategies and not self.contracts:
            return self.base
        key = (strategy, con_id, info is None)
        merged = self._merged.get(key)
        if merged is None:
            if len(self._merged) > 10_000:
                self._merged.clear()
            merged = self._merged[key] = self._merge(strategy, con_id, "" if info is None else info.name)
        return merged

    def _merge(self, strategy: str, con_id: int, contract: str) -> LimitSet:
        merged = dict(self.strategies.get(strategy, {}))
        found = self.contracts.get(f"#{con_id}") or self.contracts.get(contract) or {}
        for name, value in found.items():
            other = merged.get(name)
            is_smaller = isinstance(other, Decimal) and (
                value is None or (isinstance(value, Decimal) and other < value)
            )
            if not is_smaller:
                merged[name] = value
        return replace(self.base, **merged)  # type: ignore[arg-type]

    def knows_strategy(self, strategy: str) -> bool:
        """Return whether orders of this strategy are accepted at all."""
        base = self.base
        return base.takes_any_strategy or strategy == MANUAL or strategy in base.strategies


def default_limits(profile: str = DEFAULT_PROFILE) -> Limits:
    """Return a profile's limits without differences."""
    return Limits(base=PROFILES[profile], profile=profile)


def broken_limits(mistakes: list[str]) -> Limits:
    """Return limits under which only orders that reduce pass, because the file cannot be used."""
    return Limits(base=PROFILES[DEFAULT_PROFILE], mistakes=tuple(mistakes))


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
            if name not in ("profile", "limits", "strategies", "contracts"):
                self._note(
                    "", name, f"{name!r} is unknown: write profile, [limits], [strategies.NAME], [contracts.NAME]"
                )
        profile = content.get("profile", DEFAULT_PROFILE)
        if profile not in PROFILES:
            self._note("", "profile", f"profile {profile!r} is unknown: choose {', '.join(PROFILES)}")
            profile = DEFAULT_PROFILE
        base = replace(PROFILES[profile], **self._table(content.get("limits", {}), "limits", _ALL))  # type: ignore[arg-type]
        return Limits(
            base=base,
            profile=profile,
            strategies=self._tables(content, "strategies", _PER_STRATEGY),
            contracts=self._tables(content, "contracts", _PER_CONTRACT),
        )

    def _tables(self, content: dict[str, object], kind: str, allowed: tuple[str, ...]) -> dict[str, dict[str, object]]:
        found = content.get(kind, {})
        if not isinstance(found, dict):
            self._note("", kind, f"[{kind}] must hold one table per name, as [{kind}.NAME]")
            return {}
        return {name: self._table(table, f"{kind}.{name}", allowed) for name, table in found.items()}

    def _table(self, table: object, section: str, allowed: tuple[str, ...]) -> dict[str, object]:
        if not isinstance(table, dict):
            self._note(section, "", f"[{section}] must be a table of limits")
            return {}
        values: dict[str, object] = {}
        for name, given in table.items():
            if name not in allowed:
                known = name in _ALL
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
    if name in _CHOICES:
        choices = _CHOICES[name]
        return given if given in choices else _Mistake(f"must be one of {', '.join(choices)}, not {given!r}")
    if name in _LISTS:
        known = _LISTS[name]
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            return _Mistake(f"must be a list of names, not {given!r}")
        wrong = [one for one in given if known is not None and one not in known]
        return _Mistake(f"does not know {wrong}; known: {', '.join(known or ())}") if wrong else tuple(given)
    value = _bound(given)
    return _Mistake(value) if isinstance(value, str) else value


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

"""Know every limit of one order: a profile's value, and what a strategy's, contract's or asset class's table changes.

Money is in the account's base currency, quantities in shares or contracts, rates in orders per second, ages in seconds.
A choice is "allow", "warn" or "refuse"; a rung says what a breaker that trips does: "warn", "no_entries",
"reduce_only", "cancel_entries", "halt" or "flatten" (`breakers.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from math import inf
from typing import Any

from services.risk.core.days import TradingDay, Window
from services.risk.core.rates import UNLIMITED_RATE
from shared.ids import MANUAL
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderType, TimeInForce


class Stage(StrEnum):
    """How far a deployment may go: watch only, trade with tiny limits, or trade (P8)."""

    OBSERVE = "observe"
    LIMITED = "limited"
    ARMED = "armed"


UNLIMITED = "unlimited"
RULES_VERSION = 5
"""The set of rules of this release; a limits file names the set it was checked against."""
_NS_PER_S = 1_000_000_000
Bound = Decimal | None
"""A limit; None was written out as "unlimited"."""


@dataclass(frozen=True, slots=True)
class LimitSet:
    """The value of every limit for one order. Names are the file's keys."""

    order_quantity_max: Bound
    order_notional_max: Bound
    price_collar_percent: Bound
    price_collar_ticks: Bound
    market_slippage_percent: Bound
    position_quantity_max: Bound
    position_notional_max: Bound
    strategy_position_quantity_max: Bound
    strategy_position_notional_max: Bound
    exposure_gross_max: Bound
    exposure_net_max: Bound
    exposure_currency_max: Bound
    concentration_percent: Bound
    buying_power_share: Bound
    what_if_margin_percent: Bound
    what_if_wait_s: Bound
    cash_min: Bound
    strategy_rate_per_s: Bound
    strategy_rate_burst: Bound
    account_rate_per_s: Bound
    account_rate_burst: Bound
    messages_per_s_max: Bound
    open_orders_max: Bound
    open_orders_side_max: Bound
    turnover_day_max: Bound
    trades_day_max: Bound
    orders_per_fill_max: Bound
    repeats: str
    repeats_max: Bound
    duplicates: str
    duplicate_window_s: Bound
    self_cross: str
    daily_loss_max: Bound
    daily_loss_rung: str
    drawdown_max: Bound
    drawdown_rung: str
    strategy_loss_max: Bound
    strategy_loss_rung: str
    strategy_drawdown_max: Bound
    strategy_drawdown_rung: str
    rejects_max: Bound
    rejects_rung: str
    errors_max: Bound
    errors_window_s: Bound
    errors_rung: str
    fill_away_percent: Bound
    executions_rate_max: Bound
    anomaly_rung: str
    liquidation_rung: str
    unprotected_max_s: Bound
    unprotected_rung: str
    data_age_max_s: Bound
    delayed_data: str
    frozen_data: str
    crossed_quotes: str
    market_closed: str
    expiry_days_min: Bound
    first_notice: date | None
    """The first notice day of one contract: IB names none, so only a person can."""
    short_selling: str
    short_unavailable: str
    protection: str
    day_trades: str
    trading_day: TradingDay
    broker_windows: tuple[Window, ...]
    order_types: tuple[str, ...]
    tifs: tuple[str, ...]
    strategies: tuple[str, ...]
    contracts_allowed: tuple[str, ...]
    contracts_restricted: tuple[str, ...]
    rates: tuple[float, float, float, float] = field(init=False)
    """Strategy's rate and burst, account's rate and burst, as the token buckets take them."""
    data_age_max_ns: float = field(init=False)
    duplicate_window_ns: int = field(init=False)
    takes_any_strategy: bool = field(init=False)
    plans: dict[int, Any] = field(init=False, compare=False, repr=False, default_factory=dict)
    """Whom to ask under these limits, by the kind of case; kept by `decide.RuleBook`."""
    takes_any_type: bool = field(init=False)
    """Whether every order type and time in force is enabled."""

    def __post_init__(self) -> None:
        """Prepare, once, what each decision asks."""
        bounds = (self.strategy_rate_per_s, self.strategy_rate_burst, self.account_rate_per_s, self.account_rate_burst)
        first, second, third, fourth = [UNLIMITED_RATE if bound is None else float(bound) for bound in bounds]
        object.__setattr__(self, "rates", (first, second, third, fourth))
        age, window = self.data_age_max_s, self.duplicate_window_s
        object.__setattr__(self, "data_age_max_ns", inf if age is None else float(age) * _NS_PER_S)
        object.__setattr__(self, "duplicate_window_ns", 0 if window is None else int(window * _NS_PER_S))
        object.__setattr__(self, "takes_any_strategy", "any" in self.strategies)
        is_open = {*OrderType} <= {*self.order_types} and {*TimeInForce} <= {*self.tifs}
        object.__setattr__(self, "takes_any_type", is_open)


@dataclass(slots=True)
class Limits:
    """Every limit in force, with the overrides per strategy, contract and asset class.

    `mistakes` is non-empty when the file could not be used: then the profile's values stand for orders that reduce,
    and the rule RISK_LIMITS_BROKEN refuses all others. `rules_version` is the set of rules the file was checked
    against; a newer rule only warns.
    """

    base: LimitSet
    profile: str
    strategies: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    contracts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    asset_classes: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    rules_version: int = RULES_VERSION
    stage: Stage = Stage.ARMED
    mistakes: tuple[str, ...] = ()
    _merged: dict[tuple[str, int, bool], LimitSet] = field(default_factory=dict)
    has_tables: bool = field(init=False)
    """Whether any order's limits may differ from the base."""

    def __post_init__(self) -> None:
        """Note, once, what each decision asks."""
        self.has_tables = bool(self.strategies or self.contracts or self.asset_classes)

    def for_order(self, strategy: str, con_id: int, info: ContractInfo | None) -> LimitSet:
        """Return the limits of one order; `info` is the contract's definition, None while it is not known."""
        if not self.has_tables:
            return self.base
        key = (strategy, con_id, info is None)
        merged = self._merged.get(key)
        if merged is None:
            if len(self._merged) > 10_000:
                self._merged.clear()
            merged = self._merged[key] = self._merge(strategy, con_id, info)
        return merged

    def _merge(self, strategy: str, con_id: int, info: ContractInfo | None) -> LimitSet:
        tables = [self.strategies.get(strategy), self.contracts.get(f"#{con_id}")]
        if info is not None:
            names = dict.fromkeys((info.name, product_of(info)))
            tables += [*map(self.contracts.get, names), self.asset_classes.get(info.sec_type)]
        merged: dict[str, object] = {}
        for table in tables:
            for name, value in (table or {}).items():
                if name not in merged or is_tighter(name, value, merged[name]):
                    merged[name] = value
        return replace(self.base, **merged)  # type: ignore[arg-type]

    def knows_strategy(self, strategy: str) -> bool:
        """Return whether orders of this strategy are accepted at all."""
        base = self.base
        return base.takes_any_strategy or strategy == MANUAL or strategy in base.strategies


def product_of(info: ContractInfo) -> str:
    """Return what a contract's name has in common with those of its other months and strikes: `FUT:CL@NYMEX`."""
    parts = info.name.split(":")
    return ":".join(parts[:2]) if len(parts) > 2 and parts[0] == info.sec_type else info.name


_ORDERED = ("allow", "warn", "no_entries", "reduce_only", "refuse", "cancel_entries", "halt", "flatten")


def is_tighter(name: str, one: object, other: object) -> bool:
    """Return whether one value of a limit allows less than another; for lists, whether it is another."""
    if isinstance(one, str) and isinstance(other, str):
        return _ORDERED.index(one) > _ORDERED.index(other)
    if isinstance(one, date) and isinstance(other, date):
        return one < other
    if one is None or other is None or not isinstance(one, Decimal) or not isinstance(other, Decimal):
        return other is None and one is not None if one is None or other is None else one != other
    return one > other if name.endswith("_min") else one < other

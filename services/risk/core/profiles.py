"""The built-in profiles: each sets every limit, so that nothing is unlimited unless somebody wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from services.risk.core.days import TradingDay, Window
from services.risk.core.limits import Limits, LimitSet, Stage, is_tighter
from shared.messages.orders import OrderType, TimeInForce

DEFAULT_PROFILE = "small-paper"
TRADING_DAY = TradingDay.of("17:00 America/New_York")
Tables = Mapping[str, Mapping[str, object]]
_TYPES = tuple(str(one) for one in OrderType)
_TIFS = tuple(str(one) for one in TimeInForce)


def _profile(**values: object) -> LimitSet:
    built = {name: Decimal(str(value)) if isinstance(value, int | float) else value for name, value in values.items()}
    return LimitSet(**built)  # type: ignore[arg-type]


PROFILES: Mapping[str, LimitSet] = {
    "small-paper": _profile(
        order_quantity_max=1000, order_notional_max=100_000, price_collar_percent=5, price_collar_ticks=None,
        market_slippage_percent=2, position_quantity_max=2000, position_notional_max=250_000,
        strategy_position_quantity_max=1000, strategy_position_notional_max=200_000, exposure_gross_max=500_000,
        exposure_net_max=400_000, exposure_currency_max=250_000, concentration_percent=None, buying_power_share=1,
        what_if_margin_percent=None, what_if_wait_s=2, cash_min=None,
        strategy_rate_per_s=10, strategy_rate_burst=20, account_rate_per_s=30, account_rate_burst=60,
        messages_per_s_max=50,
        open_orders_max=200, open_orders_side_max=15, turnover_day_max=10_000_000, trades_day_max=10_000,
        orders_per_fill_max=100, repeats="warn", repeats_max=1000, duplicates="warn", duplicate_window_s=1,
        self_cross="warn",
        daily_loss_max=20_000, daily_loss_rung="reduce_only", drawdown_max=25_000, drawdown_rung="reduce_only",
        strategy_loss_max=10_000, strategy_loss_rung="reduce_only", strategy_drawdown_max=12_500,
        strategy_drawdown_rung="reduce_only", rejects_max=20, rejects_rung="reduce_only",
        errors_max=30, errors_window_s=60, errors_rung="reduce_only", fill_away_percent=10, executions_rate_max=200,
        anomaly_rung="reduce_only", liquidation_rung="reduce_only", unprotected_max_s=30,
        unprotected_rung="reduce_only",
        data_age_max_s=60, delayed_data="warn", frozen_data="warn", crossed_quotes="refuse", market_closed="warn",
        expiry_days_min=1, first_notice=None, short_selling="allow", short_unavailable="refuse",
        protection="allow", day_trades="warn", trading_day=TRADING_DAY,
        broker_windows=(), order_types=_TYPES, tifs=_TIFS, strategies=("any",), contracts_allowed=("any",),
        contracts_restricted=(),
    ),
    "tiny-live": _profile(
        order_quantity_max=10, order_notional_max=2000, price_collar_percent=2, price_collar_ticks=None,
        market_slippage_percent=1, position_quantity_max=10, position_notional_max=2000,
        strategy_position_quantity_max=10, strategy_position_notional_max=2000, exposure_gross_max=5000,
        exposure_net_max=4000, exposure_currency_max=2000, concentration_percent=25, buying_power_share=Decimal("0.5"),
        what_if_margin_percent=None, what_if_wait_s=2, cash_min=0,
        strategy_rate_per_s=1, strategy_rate_burst=2, account_rate_per_s=2, account_rate_burst=5,
        messages_per_s_max=10,
        open_orders_max=20, open_orders_side_max=5, turnover_day_max=20_000, trades_day_max=50,
        orders_per_fill_max=20, repeats="refuse", repeats_max=10, duplicates="refuse", duplicate_window_s=5,
        self_cross="refuse",
        daily_loss_max=200, daily_loss_rung="halt", drawdown_max=200, drawdown_rung="halt",
        strategy_loss_max=100, strategy_loss_rung="reduce_only", strategy_drawdown_max=100,
        strategy_drawdown_rung="reduce_only", rejects_max=3, rejects_rung="reduce_only",
        errors_max=5, errors_window_s=60, errors_rung="reduce_only", fill_away_percent=5, executions_rate_max=20,
        anomaly_rung="halt", liquidation_rung="halt", unprotected_max_s=30, unprotected_rung="reduce_only",
        data_age_max_s=15, delayed_data="refuse", frozen_data="refuse", crossed_quotes="refuse",
        market_closed="refuse", expiry_days_min=5, first_notice=None, short_selling="refuse",
        short_unavailable="refuse", protection="warn", day_trades="refuse",
        trading_day=TRADING_DAY, broker_windows=(Window.of("23:45-00:45 America/New_York"),), order_types=_TYPES,
        tifs=_TIFS, strategies=("any",), contracts_allowed=("any",), contracts_restricted=(),
    ),
}  # fmt: skip


def default_limits(profile: str = DEFAULT_PROFILE) -> Limits:
    """Return a profile's limits without differences."""
    return Limits(base=PROFILES[profile], profile=profile)


def staged(limits: Limits, stage: Stage) -> Limits:
    """Return limits for a stage: in the limited one nothing allows more than the profile tiny-live does."""
    if stage is not Stage.LIMITED:
        return replace(limits, stage=stage, _merged={})
    tiny = PROFILES["tiny-live"]
    names = [one.name for one in fields(LimitSet) if one.init and not isinstance(getattr(tiny, one.name), tuple)]
    tight = {name: getattr(tiny, name) for name in names if name != "trading_day"}
    base = replace(limits.base, **_tighter(tight, {name: getattr(limits.base, name) for name in tight}))
    return replace(
        limits,
        base=base,
        stage=stage,
        strategies=_tightened(limits.strategies, tight),
        contracts=_tightened(limits.contracts, tight),
        asset_classes=_tightened(limits.asset_classes, tight),
        _merged={},
    )


def _tightened(tables: Tables, tight: Mapping[str, object]) -> Tables:
    return {owner: {**table, **_tighter(tight, table)} for owner, table in tables.items()}


def _tighter(tight: Mapping[str, object], values: Mapping[str, object]) -> dict[str, Any]:
    """Return those of `tight` that allow less than the value of the same name."""
    named = {name: value for name, value in values.items() if name in tight}
    return {name: tight[name] for name, value in named.items() if is_tighter(name, tight[name], value)}


def broken_limits(mistakes: list[str]) -> Limits:
    """Return limits under which only orders that reduce pass, because the file cannot be used."""
    return Limits(base=PROFILES[DEFAULT_PROFILE], profile=DEFAULT_PROFILE, mistakes=tuple(mistakes))

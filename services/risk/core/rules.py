"""List every rule, in the order in which the first failed one decides. All are evaluated; the list is the registry.

| group | rules |
|---|---|
| the order itself | incarnation, expiry, account, strategy, contract, modify target, type, group, tick, quantity |
| the system's state | limits file, halt, daily loss, readiness, pause, books, data, money |
| the worst case | order notional, collar, position, strategy position, gross exposure, buying power, counts, rates |
"""

from __future__ import annotations

from services.risk.core.rule import Rule
from services.risk.core.rules_exposure import (
    BuyingPower,
    ExposureGrossMax,
    OpenOrdersMax,
    PositionMax,
    StrategyPositionMax,
)
from services.risk.core.rules_order import (
    Account,
    ContractUnknown,
    Expired,
    GroupShape,
    Incarnation,
    OrderNotionalMax,
    OrderQuantityMax,
    OrderUnknown,
    PriceCollar,
    StrategyUnknown,
    TickSize,
    TypeAllowed,
)
from services.risk.core.rules_state import (
    DailyLoss,
    DataDelayed,
    DataStale,
    Halted,
    LimitsBroken,
    MoneyUnknown,
    NotReady,
    OrderRate,
    ReduceOnly,
    StrategyPaused,
    WouldCrossZero,
)

RULES: tuple[Rule, ...] = (
    Incarnation(),
    Expired(),
    Account(),
    StrategyUnknown(),
    ContractUnknown(),
    OrderUnknown(),
    TypeAllowed(),
    GroupShape(),
    TickSize(),
    OrderQuantityMax(),
    LimitsBroken(),
    Halted(),
    DailyLoss(),
    NotReady(),
    StrategyPaused(),
    WouldCrossZero(),
    ReduceOnly(),
    DataStale(),
    DataDelayed(),
    MoneyUnknown(),
    OrderNotionalMax(),
    PriceCollar(),
    PositionMax(),
    StrategyPositionMax(),
    ExposureGrossMax(),
    BuyingPower(),
    OpenOrdersMax(),
    OrderRate(),
)

MALFORMED = "RISK_MALFORMED"
"""Code of the answer to an intent that cannot be read; decided by the shell, since no rule can see it."""

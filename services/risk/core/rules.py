"""List every rule, in the order in which the first failed one decides. All are evaluated; the list is the registry.

| group | rules |
|---|---|
| the order itself | incarnation, expiry, account, strategy, contract, modify target, type, group, tick, quantity |
| the system's state | limits file, arming, halt, readiness, pause, books; what tripped a breaker |
| the market | data, quotes, hours, the broker's windows, expiry, money |
| permission | restricted contracts, short sales, day trades, protection |
| the worst case | order notional, collar, slippage, positions, exposures, concentration, buying power, cash |
| behaviour | self-cross, duplicates, repeats, turnover, counts, ratios, rates |
| the broker's word | the margin after the order by its what-if; last: nobody asks about what is refused anyway |
"""

from __future__ import annotations

from services.risk.core.rule import Rule
from services.risk.core.rules_activity import (
    Duplicate,
    OrderEfficiency,
    RepeatsMax,
    SelfCross,
    TradesDayMax,
    TurnoverDayMax,
)
from services.risk.core.rules_exposure import (
    BuyingPower,
    CashMin,
    Concentration,
    ExposureCurrencyMax,
    ExposureGrossMax,
    ExposureNetMax,
    OpenOrdersMax,
    PositionMax,
    StrategyPositionMax,
)
from services.risk.core.rules_loss import (
    DailyLoss,
    DrawdownMax,
    ErrorsMax,
    ExecutionAnomaly,
    Liquidated,
    ProtectionMissing,
    RejectsMax,
    StrategyDrawdownMax,
    StrategyLossMax,
)
from services.risk.core.rules_margin import MarginAfter, MarginUnknown
from services.risk.core.rules_market import (
    BrokerWindow,
    DataFrozen,
    MarketClosed,
    MarketSlippage,
    NearExpiry,
    QuoteCrossed,
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
from services.risk.core.rules_permission import (
    ContractRestricted,
    DayTrades,
    ProtectionRequired,
    ShortSale,
    ShortUnavailable,
)
from services.risk.core.rules_state import (
    DataDelayed,
    DataStale,
    Halted,
    LimitsBroken,
    MessageRate,
    MoneyUnknown,
    NotArmed,
    NotReady,
    OrderRate,
    OwnersUnsettled,
    PreflightMissing,
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
    NotArmed(),
    PreflightMissing(),
    Halted(),
    DailyLoss(),
    DrawdownMax(),
    NotReady(),
    BrokerWindow(),
    StrategyPaused(),
    StrategyLossMax(),
    StrategyDrawdownMax(),
    RejectsMax(),
    ErrorsMax(),
    ExecutionAnomaly(),
    Liquidated(),
    ProtectionMissing(),
    WouldCrossZero(),
    ReduceOnly(),
    OwnersUnsettled(),
    ContractRestricted(),
    ShortSale(),
    ShortUnavailable(),
    DayTrades(),
    ProtectionRequired(),
    DataStale(),
    DataDelayed(),
    DataFrozen(),
    QuoteCrossed(),
    MarketClosed(),
    NearExpiry(),
    MoneyUnknown(),
    OrderNotionalMax(),
    PriceCollar(),
    MarketSlippage(),
    PositionMax(),
    StrategyPositionMax(),
    ExposureGrossMax(),
    ExposureNetMax(),
    ExposureCurrencyMax(),
    Concentration(),
    BuyingPower(),
    CashMin(),
    TurnoverDayMax(),
    TradesDayMax(),
    OpenOrdersMax(),
    SelfCross(),
    Duplicate(),
    RepeatsMax(),
    OrderEfficiency(),
    OrderRate(),
    MessageRate(),
    MarginAfter(),
    MarginUnknown(),
)

MALFORMED = "RISK_MALFORMED"
"""Code of the answer to an intent that cannot be read; decided by the shell, since no rule can see it."""

"""Run a strategy over past data: the same class that runs live, in one process, without Redis.

```python
from copilot_quant.backtest import run_backtest

result = run_backtest("my_strategy.py", symbols=["IBM", "BAC"], data="data", bars=["1m"])
print(result.statistics["sharpe"], len(result.trades))
result.write_html("report.html")
```

Nothing here is random and no clock is read: the same strategy on the same data gives the same result, to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from copilot_quant.backtest.contracts import Contract, contracts_of
from copilot_quant.backtest.data import MarketData
from copilot_quant.backtest.exchange import Exchange
from copilot_quant.backtest.gateway import Gateway
from copilot_quant.backtest.market import rows_of
from copilot_quant.backtest.results import BacktestResult, result_of
from copilot_quant.backtest.riskdesk import RiskDesk
from copilot_quant.backtest.strategies import declared_of
from copilot_quant.backtest.units import Running, make_unit
from copilot_quant.backtest.warmup import load_history
from copilot_quant.backtest.world import World
from services.risk.core.limits import Limits
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import DEFAULT_PROFILE, PROFILES, default_limits
from services.simulator.core.config import ExchangeConfig
from services.simulator.core.matching import Model
from services.strategy.core.saved import Limits as UnitLimits
from services.strategy.shell.loader import DeclaredUnit
from shared.clock import NS_PER_MS, NS_PER_S
from shared.errors import BadInput, ConfigError

ACCOUNT = "DUBACKTEST"
DEPLOYMENT = "backtest"
SAMPLE_S = 60.0
Tell = Callable[[int, int, int], None]
"""Hears how many events were played, how many there are, and the time of the last."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs.

    Attributes:
        commission: a fraction of each trade's value, as in the guide; or "fixed" or "tiered", IB's price lists.
        slippage: a fraction of the price, added to whatever takes liquidity, as in the guide.
        latency_ms: from an order until it trades at the prices shown; the exchange has it, or a cancel, after half of
            that, and what trades there from then on may meet it. Above zero.
        participation: the share of displayed and traded size that one order may have.
    """

    commission: float | str = 0.001
    slippage: float = 0.0005
    latency_ms: float = 10.0
    participation: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            BadInput: with a sentence.
        """
        if isinstance(self.commission, str) and self.commission not in ("fixed", "tiered"):
            raise BadInput(f"commission {self.commission!r}: a fraction such as 0.001, or fixed, or tiered")
        if not isinstance(self.commission, str) and not 0 <= self.commission < 1:
            raise BadInput(f"commission {self.commission:g} has to be a fraction from 0 to 1")
        if not 0 <= self.slippage < 1:
            raise BadInput(f"slippage {self.slippage:g} has to be a fraction from 0 to 1")
        if not self.latency_ms >= 0.001:
            raise BadInput(f"latency {self.latency_ms:g} ms: at least 0.001, or orders would meet what caused them")
        if not 0 < self.participation <= 1:
            raise BadInput(f"participation {self.participation:g} has to be a share above 0 up to 1")

    def config(self, cash: Decimal) -> ExchangeConfig:
        """Return the exchange that charges and delays so; half of the latency is before the exchange has the order."""
        latency_ns = int(self.latency_ms * NS_PER_MS)
        is_rate = not isinstance(self.commission, str)
        return ExchangeConfig(
            accounts=(ACCOUNT,), cash=cash, pacing="off", deltaneutral_none=False,
            ack_delay_ns=latency_ns // 2, fill_delay_ns=latency_ns - latency_ns // 2,
            commissions="fixed" if is_rate else str(self.commission),
            commission_rate=Decimal(str(self.commission)) if is_rate else None,
            model=Model(participation=self.participation, slippage=Decimal(str(self.slippage))),
        )  # fmt: skip


@dataclass(slots=True)
class Backtest:
    """One backtest, put together and not yet run; `run_backtest` is the short way.

    Attributes:
        units: what to run.
        data: the market.
        limits: of risk.
        costs: commission, slippage, latency.
        cash: what the account begins with, US dollars.
        sample_s: how often the account is valued; daily data: at each close.
        options: shown in the result.
    """

    units: Sequence[DeclaredUnit]
    data: MarketData
    limits: Limits
    costs: Costs = field(default_factory=Costs)
    cash: Decimal = Decimal(100_000)
    sample_s: float = SAMPLE_S
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, tell: Tell | None = None) -> BacktestResult:
        """Play all of the data and return what came of it.

        Raises:
            BadInput: the strategy needs what the data do not have.
        """
        if self.sample_s <= 0:
            raise BadInput(f"a sample every {self.sample_s:g} s: it has to be above zero")
        data = self.data
        contracts = contracts_of(data.names, data.hours, data.first_prices(), data.infos)
        world, running = self._world(contracts)
        total = data.count()
        world.start(data.start_ns)

        def told(played: int, at_ns: int) -> None:
            if tell is not None:
                tell(played, total, at_ns)

        world.play(rows_of([data.ticks[name] for name in data.names]), told)
        world.stop(data.end_ns)
        return result_of(
            world.journal, running, contracts, cash=self.cash, options=self.options, is_daily=data.is_daily,
            sample_s=self.sample_s, events=world.events, start_ns=data.start_ns, end_ns=data.end_ns,
        )  # fmt: skip

    def _world(self, contracts: Mapping[str, Contract]) -> tuple[World, list[Running]]:
        data = self.data
        config = self.costs.config(self.cash)
        infos = {name: each.info for name, each in contracts.items()}
        running = [
            make_unit(unit, infos, deployment_id=DEPLOYMENT, account=ACCOUNT, limits=UnitLimits())
            for unit in self.units
        ]
        given = data.given_bars(infos)
        steps = {name: float(info.min_tick) for name, info in infos.items()}
        for one in running:
            load_history(one, data, infos)
        world = World(
            contracts, running,
            Exchange(contracts, config, data.hours, data.start_ns),
            Gateway(DEPLOYMENT, ACCOUNT),
            RiskDesk(ACCOUNT, config.currency, self.limits, infos.values(), data.start_ns),
            steps=[0.0 if data.ticks[name].has_quotes else step for name, step in steps.items()],
            sample_ns=0 if data.is_daily else int(self.sample_s * NS_PER_S), given=given,
        )  # fmt: skip
        return world, running


def limits_of(source: Path | str | None) -> Limits:
    """Return a profile's limits, or those of a limits file.

    Raises:
        ConfigError: there is no such profile or file, or a value in it is wrong.
    """
    if source is None or str(source) in PROFILES:
        return default_limits(str(source or DEFAULT_PROFILE))
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{source} is neither a profile ({', '.join(PROFILES)}) nor a file that can be read") from e
    return parse_limits(text, source=str(source))


def run_backtest(
    strategy: type[Any] | Path | str,
    *,
    symbols: Iterable[str] = (),
    data: Path | str,
    first: date | str | None = None,
    last: date | str | None = None,
    bars: Sequence[str] = (),
    daily: bool | None = None,
    per: str = "",
    session: str = "",
    last_entry: str = "",
    flat_by: str = "",
    lookback: int = 30,
    class_name: str = "",
    params: Mapping[str, Any] | None = None,
    cash: float = 100_000.0,
    costs: Costs | None = None,
    limits: Path | str | None = None,
    sample_s: float = SAMPLE_S,
    tell: Tell | None = None,
) -> BacktestResult:
    """Run a strategy over past data.

    Args:
        strategy: a class, the Python file of one, or a strategies file (TOML).
        symbols: contract names in the grammar, such as `IBM`; a TOML file may name them itself.
        data: a folder of files per symbol, or of a recording (`MARKETDATA_RECORD_DIR`).
        first: where to begin, date or time (ISO 8601, New York where it has no zone); what is before warms up.
        last: where to end, the date included.
        bars: intervals that `on_bar` gets: 1s, 5s, 1m, 1d.
        daily: play daily bars; default: where only 1d bars are asked for, or there are no ticks.
        per: one unit per "contract", or one for "all".
        session: "rth", "extended" or "overnight", as in the strategies file.
        last_entry: no entries after it, with a session.
        flat_by: the platform makes it flat by then, with "rth".
        lookback: bars that the guide's `on_data` is given.
        class_name: which class of the file, where it has several.
        params: the strategy's parameters.
        cash: what the account begins with, US dollars.
        costs: commission, slippage, latency.
        limits: a profile of risk or a limits file; default: small-paper, as for a paper account.
        sample_s: how often the account is valued.
        tell: hears how far it is.

    Raises:
        BadInput: data, strategy or options cannot be used; one sentence says why, with file and line.
        ConfigError: limits or a library are missing.
    """
    names = [symbol.strip() for symbol in symbols if symbol.strip()]
    units = declared_of(
        strategy, names, class_name=class_name, bars=bars, per=per, session=session, last_entry=last_entry,
        flat_by=flat_by, lookback=lookback, params=params,
    )  # fmt: skip
    wanted = list(dict.fromkeys(name for unit in units for name in unit.contracts))
    reads = {interval for unit in units for interval in unit.strategy.reads}
    is_daily = daily if daily is not None else (reads == {"1d"} or None)
    market = MarketData.load(Path(data), wanted, first=first, last=last, is_daily=is_daily, reads=reads)
    chosen = costs or Costs()
    options = {
        "symbols": wanted, "bars": sorted(reads), "cash": cash, "commission": chosen.commission,
        "slippage": chosen.slippage, "latency_ms": chosen.latency_ms, "participation": chosen.participation,
        "limits": "a file" if limits is not None and str(limits) not in PROFILES else str(limits or DEFAULT_PROFILE),
        "strategies": sorted({unit.strategy.name for unit in units}),
        "params": {unit.strategy.name: unit.strategy.params.model_dump(mode="json") for unit in units},
    }  # fmt: skip
    test = Backtest(units, market, limits_of(limits), chosen, Decimal(str(cash)), sample_s, options)
    return test.run(tell)

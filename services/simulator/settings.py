"""Read the simulator's settings from the environment (`SIM_…`) and `.env`."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from services.simulator.core.config import ExchangeConfig
from services.simulator.core.matching import Model
from shared.settings import CommonSettings, CsvList, split_csv

_ACCOUNT = re.compile(r"D?U[A-Z]{0,4}\d{4,10}|DUSIM\d{1,10}")


class SimulatorSettings(CommonSettings):
    """What the simulator may be told."""

    host: str = Field(default="127.0.0.1", validation_alias="SIM_HOST", description="where the TWS port listens")
    port: int = Field(default=4102, ge=0, le=65535, validation_alias="SIM_PORT", description="TWS port; 0: any free")
    control_port: int = Field(
        default=4103, ge=0, le=65535, validation_alias="SIM_HTTP_PORT", description="control port; 0: any free"
    )
    control_host: str = Field(
        default="127.0.0.1", validation_alias="SIM_HTTP_HOST", description="where control listens; keep it private"
    )
    accounts: CsvList = Field(
        default=("DUSIM0001",), validation_alias="SIM_ACCOUNTS", description="accounts of the login, comma separated"
    )
    seed: int = Field(default=7, validation_alias="SIM_SEED", description="seed of prices and sizes")
    replay: CsvList = Field(
        default=(),
        validation_alias="SIM_REPLAY",
        description="recorded days, SYMBOL_….csv, .csv.gz or .parquet, comma separated",
    )
    speed: float = Field(default=1.0, gt=0, le=100_000, validation_alias="SIM_SPEED", description="speed of the replay")
    loop: bool = Field(default=True, validation_alias="SIM_LOOP", description="begin the replay again at its end")
    scenario: str = Field(
        default="", validation_alias="SIM_SCENARIO", description="TOML file of commands that come at their times"
    )
    commissions: Annotated[str, Field(pattern="^(fixed|tiered)$")] = Field(
        default="fixed", validation_alias="SIM_COMMISSIONS", description="IB's price list: fixed or tiered"
    )
    participation: float = Field(
        default=1.0, gt=0, le=1, validation_alias="SIM_PARTICIPATION",
        description="share of displayed and traded size that one order may have",
    )  # fmt: skip
    slippage_ticks: int = Field(
        default=0, ge=0, le=1000, validation_alias="SIM_SLIPPAGE_TICKS",
        description="ticks that an order which takes liquidity pays on top",
    )  # fmt: skip
    depth_levels: int = Field(
        default=3, ge=0, le=100, validation_alias="SIM_DEPTH_LEVELS", description="levels behind the best price"
    )
    precaution_percent: float = Field(
        default=0.0, ge=0, le=1000, validation_alias="SIM_PRECAUTION_PERCENT",
        description="limit prices further from the market are refused (163); 0: off",
    )  # fmt: skip
    precaution_size: int = Field(
        default=0, ge=0, validation_alias="SIM_PRECAUTION_SIZE", description="larger orders are refused (383); 0: off"
    )
    state_dir: str = Field(
        default="", validation_alias="SIM_STATE_DIR", description="where books and ledger are kept; empty: nowhere"
    )
    cash: Decimal = Field(
        default=Decimal(1_000_000), gt=0, validation_alias="SIM_CASH", description="starting US dollars of each account"
    )
    tick_rate: float = Field(
        default=5.0, gt=0, le=1_000_000, validation_alias="SIM_TICK_RATE", description="events per second and contract"
    )
    latency_ms: float = Field(
        default=5.0, ge=0, le=60_000, validation_alias="SIM_LATENCY_MS", description="from order to exchange"
    )
    fill_latency_ms: float = Field(
        default=5.0, ge=0, le=60_000, validation_alias="SIM_FILL_LATENCY_MS", description="from exchange to first fill"
    )
    max_version: int = Field(
        default=176, ge=157, le=200, validation_alias="SIM_MAX_VERSION", description="highest server version offered"
    )
    master_client_id: int | None = Field(
        default=None, ge=0, validation_alias="SIM_MASTER_CLIENT_ID", description="client that sees all orders"
    )
    read_only: bool = Field(default=False, validation_alias="SIM_READ_ONLY", description="TWS' read-only API switch")
    data: Annotated[str, Field(pattern="^(live|delayed|none)$")] = Field(
        default="live", validation_alias="SIM_DATA", description="market data permission: live, delayed or none"
    )
    pacing: Annotated[str, Field(pattern="^(off|delay|reject)$")] = Field(
        default="delay", validation_alias="SIM_PACING", description="above 50 messages/s: off, delay or reject (100)"
    )
    history_pacing: bool = Field(
        default=True, validation_alias="SIM_HISTORY_PACING", description="IB's limits for small bars (162)"
    )
    execution_days: int = Field(
        default=1, ge=1, le=7, validation_alias="SIM_EXECUTION_DAYS",
        description="days of executions that may be asked for (IB Gateway: 1)",
    )  # fmt: skip
    snapshot_ms: float = Field(
        default=250,
        ge=0,
        le=60_000,
        validation_alias="SIM_SNAPSHOT_MS",
        description="a complete snapshot ends after (TWS: 11000)",
    )
    lines: int = Field(
        default=100, ge=1, le=100_000, validation_alias="SIM_LINES", description="market data lines (101 above)"
    )
    max_orders_per_side: int = Field(
        default=15, ge=1, le=1_000_000, validation_alias="SIM_MAX_ORDERS_PER_SIDE",
        description="working orders per contract and side (201 above)",
    )  # fmt: skip
    time_zone: str = Field(default="America/New_York", validation_alias="SIM_TIME_ZONE", description="TWS' time zone")
    follow_calendar: bool = Field(
        default=False, validation_alias="SIM_CALENDAR", description="trade in exchange hours only, else always"
    )
    is_advisor: bool = Field(
        default=False, validation_alias="SIM_ADVISOR", description="the login is a financial advisor's"
    )
    open_orders_on_connect: bool = Field(
        default=False, validation_alias="SIM_OPEN_ORDERS_ON_CONNECT", description="TWS' setting of that name"
    )
    reduces_children: bool = Field(
        default=True, validation_alias="SIM_REDUCES_CHILDREN",
        description="a parent that is cancelled partly filled reduces its children; IB does not say what TWS does",
    )  # fmt: skip

    @field_validator("accounts", "replay", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_csv(value)

    @field_validator("accounts")
    @classmethod
    def _accounts_look_real(cls, accounts: tuple[str, ...]) -> tuple[str, ...]:
        if not accounts:
            raise ValueError("at least one account is needed")
        for account in accounts:
            if not _ACCOUNT.fullmatch(account):
                raise ValueError(f"{account!r} does not look like an account: DUSIM0001, DU123456 or U1234567")
        if len(set(accounts)) != len(accounts):
            raise ValueError("an account is named twice")
        return accounts

    @field_validator("scenario")
    @classmethod
    def _scenario_exists(cls, name: str) -> str:
        if name and not Path(name).is_file():
            raise ValueError(f"there is no file {name!r}")
        return name

    @field_validator("replay")
    @classmethod
    def _files_exist(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for name in files:
            if not Path(name).is_file():
                raise ValueError(f"there is no file {name!r}")
        return files

    def exchange_config(self) -> ExchangeConfig:
        """Return the part that the core knows."""
        return ExchangeConfig(
            accounts=self.accounts,
            seed=self.seed,
            cash=self.cash,
            tick_rate=self.tick_rate,
            time_zone=self.time_zone,
            ack_delay_ns=int(self.latency_ms * 1_000_000),
            fill_delay_ns=int(self.fill_latency_ms * 1_000_000),
            max_version=self.max_version,
            master_client_id=self.master_client_id,
            read_only=self.read_only,
            data_permission=self.data,
            pacing=self.pacing,
            history_pacing=self.history_pacing,
            execution_days=self.execution_days,
            snapshot_ns=int(self.snapshot_ms * 1_000_000),
            market_data_lines=self.lines,
            max_orders_per_side=self.max_orders_per_side,
            open_orders_on_connect=self.open_orders_on_connect,
            reduces_children=self.reduces_children,
            model=Model(self.participation, self.slippage_ticks, self.depth_levels),
            commissions=self.commissions,
            precaution_percent=self.precaution_percent,
            precaution_size=self.precaution_size,
            is_advisor=self.is_advisor,
        )

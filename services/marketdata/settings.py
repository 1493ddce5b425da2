"""Settings of the marketdata service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from services.marketdata.core.bars import INTERVALS, BarRules
from shared.contracts import parse_contract
from shared.errors import UnknownContract
from shared.settings import CommonSettings, CsvList, split_csv


class MarketdataSettings(CommonSettings):
    """What the marketdata service reads from the environment."""

    contracts: CsvList = Field(
        default=(),
        validation_alias="MARKETDATA_CONTRACTS",
        description="contracts that are always subscribed, comma separated, in the contract grammar",
    )
    intervals: CsvList = Field(
        default=INTERVALS, validation_alias="MARKETDATA_BARS", description="bars to publish: 1s, 5s, 1m, 1d"
    )
    empty_bars: CsvList = Field(
        default=(),
        validation_alias="MARKETDATA_EMPTY_BARS",
        description="intervals that get a bar without trades too, while the market is open: 1s, 5s, 1m",
    )
    day_hours: Literal["liquid", "trading"] = Field(
        default="liquid",
        validation_alias="MARKETDATA_DAY_HOURS",
        description="what a daily bar covers: liquid (regular) or all trading hours",
    )
    bar_grace_ms: int = Field(
        default=200,
        ge=0,
        le=10_000,
        validation_alias="MARKETDATA_BAR_GRACE_MS",
        description="how long after its end a bar waits for trades under way",
    )
    snapshot_ms: int = Field(
        default=250,
        ge=20,
        le=10_000,
        validation_alias="MARKETDATA_SNAPSHOT_MS",
        description="shortest time between two writings of a contract's last prices",
    )
    stale_s: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        validation_alias="MARKETDATA_STALE_S",
        description="a contract without ticks for so long in an open market is stale",
    )
    cache_dir: Path = Field(
        default=Path(".cache/history"),
        validation_alias="MARKETDATA_CACHE_DIR",
        description="where closed historical bars are kept",
    )
    record_dir: Path | None = Field(
        default=None,
        validation_alias="MARKETDATA_RECORD_DIR",
        description="folder where ticks, bars and the order path are recorded for `cq replay`; default: nowhere",
    )

    @field_validator("contracts", "intervals", "empty_bars", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_csv(value)

    @field_validator("contracts")
    @classmethod
    def _contracts_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            try:
                parse_contract(name)
            except UnknownContract as e:
                raise ValueError(str(e)) from e
        return value

    @field_validator("intervals", "empty_bars")
    @classmethod
    def _intervals_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in INTERVALS:
                raise ValueError(f"{name!r} is no bar interval: choose from {', '.join(INTERVALS)}")
        return value

    @property
    def rules(self) -> BarRules:
        """Return what bars to build."""
        day_hours = "rth" if self.day_hours == "liquid" else "all"
        return BarRules(tuple(self.intervals), tuple(self.empty_bars), self.bar_grace_ms * 1_000_000, day_hours)

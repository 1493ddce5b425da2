"""Settings of a strategy worker."""

from __future__ import annotations

from pydantic import Field, model_validator

from shared.settings import CommonSettings


class StrategySettings(CommonSettings):
    """What a strategy worker knows beside the common settings."""

    strategies_file: str = Field(
        default="strategies/strategies.toml",
        validation_alias="STRATEGIES_FILE",
        description="TOML file that names the strategies; their files are found beside it",
    )
    handler_limit_s: float = Field(
        default=0.5,
        gt=0,
        le=30,
        validation_alias="STRATEGY_HANDLER_LIMIT_S",
        description="a handler that runs longer is interrupted and its unit paused; below the lease time",
    )
    max_errors: int = Field(
        default=5, ge=1, validation_alias="STRATEGY_MAX_ERRORS", description="errors within a minute that pause a unit"
    )
    commit_every_s: float = Field(
        default=1.0, gt=0, le=60, validation_alias="STRATEGY_COMMIT_EVERY_S", description="longest time between commits"
    )
    resend_s: float = Field(
        default=2.0,
        gt=0,
        le=60,
        validation_alias="STRATEGY_RESEND_S",
        description="an intent without an answer is appended again after this time, then ever more rarely",
    )

    memory_mb: float = Field(
        default=1024,
        ge=0,
        validation_alias="STRATEGY_MEMORY_MB",
        description="a worker that holds more is ended and the unit that took most stays stopped; 0: no limit (Linux)",
    )
    only_unit: str = Field(
        default="",
        validation_alias="STRATEGY_ONLY_UNIT",
        description="run this one unit and share no others: set by a worker for the processes of isolated strategies",
    )

    @model_validator(mode="after")
    def _limit_below_lease(self) -> StrategySettings:
        if self.handler_limit_s >= self.lease_ttl_s:
            raise ValueError(
                f"STRATEGY_HANDLER_LIMIT_S ({self.handler_limit_s:g}) must be below CQ_LEASE_TTL_S "
                f"({self.lease_ttl_s:g}): a blocked handler would cost the worker its lease"
            )
        return self

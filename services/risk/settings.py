"""Settings of the risk service."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import Field

from services.risk.core.ceiling import above_ceiling, parse_ceiling
from services.risk.core.limits import Limits, Stage
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import broken_limits, staged
from shared.errors import ConfigError
from shared.preflight import result_file
from shared.settings import BrokerSettings, Mode


class RiskSettings(BrokerSettings):
    """What the risk service reads from the environment."""

    limits_file: Path | None = Field(
        default=None,
        validation_alias="RISK_LIMITS_FILE",
        description="TOML file of limits: a profile and the differences from it; default: profile small-paper",
    )
    ceiling_file: Path | None = Field(
        default=None,
        validation_alias="RISK_CEILING_FILE",
        description="TOML file whose [limits] no file and no change at run time may exceed; only a start reads it",
    )
    live_stage: Stage = Field(
        default=Stage.OBSERVE,
        validation_alias="LIVE_STAGE",
        description="live mode only: observe (open nothing), limited (at most the profile tiny-live) or armed",
    )
    preflight_file: Path | None = Field(
        default=None,
        validation_alias="RISK_PREFLIGHT_FILE",
        description="live mode only: what cq preflight stored; default: .cq/preflight-<deployment>.json",
    )
    max_position_size: Decimal | None = Field(
        default=None,
        ge=0,
        validation_alias="MAX_POSITION_SIZE",
        description="largest position per contract in shares, worst case; wins over the limits file",
    )
    max_total_exposure: Decimal | None = Field(
        default=None,
        ge=0,
        validation_alias="MAX_TOTAL_EXPOSURE",
        description="largest sum of all positions in base currency, worst case; wins over the limits file",
    )

    @property
    def guide_limits(self) -> dict[str, str]:
        """Return the guide's variables that are set, as `parse_limits` takes them."""
        return {
            "MAX_POSITION_SIZE": "" if self.max_position_size is None else str(self.max_position_size),
            "MAX_TOTAL_EXPOSURE": "" if self.max_total_exposure is None else str(self.max_total_exposure),
        }

    @property
    def stage(self) -> Stage:
        """Return how far this deployment may go; only live mode is held back."""
        return self.live_stage if self.mode is Mode.LIVE else Stage.ARMED

    @property
    def preflight_path(self) -> Path:
        """Return where the result of the checklist before real money is."""
        return self.preflight_file or result_file(Path.cwd(), self.deployment)

    def limits_text(self) -> str:
        """Return the content of the limits file, "" where there is none or it cannot be read."""
        try:
            return self.limits_file.read_text(encoding="utf-8") if self.limits_file is not None else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def read_ceiling(self) -> dict[str, object]:
        """Return the ceiling, empty where there is none.

        Raises:
            ConfigError: the file cannot be used: trading without the ceiling that somebody set is no choice of ours.
        """
        if self.ceiling_file is None:
            return {}
        try:
            return parse_ceiling(self.ceiling_file.read_text(encoding="utf-8"), source=str(self.ceiling_file))
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError([f"RISK_CEILING_FILE: {str(self.ceiling_file)!r} cannot be read ({e})"]) from e

    def read_limits(self) -> Limits:
        """Return the limits in force; a file that cannot be used gives limits under which only reductions pass (P7).

        Raises:
            ConfigError: the ceiling file cannot be used.
        """
        ceiling = self.read_ceiling()
        source = str(self.limits_file or "limits")
        try:
            text = self.limits_file.read_text(encoding="utf-8") if self.limits_file is not None else ""
            limits = parse_limits(text, source=source, environment=self.guide_limits)
        except ConfigError as e:
            return broken_limits(e.mistakes)
        except (OSError, UnicodeDecodeError) as e:
            return broken_limits([f"RISK_LIMITS_FILE: {source!r} cannot be read ({e})"])
        mistakes = above_ceiling(limits, ceiling)
        if mistakes:
            return broken_limits([f"{source}: {mistake}" for mistake in mistakes])
        return staged(limits, self.stage)

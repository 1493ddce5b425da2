"""Settings of the risk service."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import Field

from services.risk.core.limits import Limits
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import broken_limits
from shared.errors import ConfigError
from shared.settings import BrokerSettings


class RiskSettings(BrokerSettings):
    """What the risk service reads from the environment."""

    limits_file: Path | None = Field(
        default=None,
        validation_alias="RISK_LIMITS_FILE",
        description="TOML file of limits: a profile and the differences from it; default: profile small-paper",
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

    def read_limits(self) -> Limits:
        """Return the limits in force; a file that cannot be used gives limits under which only reductions pass (P7)."""
        environment = {
            "MAX_POSITION_SIZE": "" if self.max_position_size is None else str(self.max_position_size),
            "MAX_TOTAL_EXPOSURE": "" if self.max_total_exposure is None else str(self.max_total_exposure),
        }
        source = str(self.limits_file or "limits")
        try:
            text = self.limits_file.read_text(encoding="utf-8") if self.limits_file is not None else ""
            return parse_limits(text, source=source, environment=environment)
        except ConfigError as e:
            return broken_limits(e.mistakes)
        except (OSError, UnicodeDecodeError) as e:
            return broken_limits([f"RISK_LIMITS_FILE: {source!r} cannot be read ({e})"])

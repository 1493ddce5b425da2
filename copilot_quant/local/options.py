"""Make the options of a local system from the settings of `.env`.

The processes read no `.env` themselves (their addresses and passwords come from the plan), so what it says of limits,
alerts and windows is handed to them here; the environment wins over it, as everywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic_settings import DotEnvSettingsSource

from copilot_quant.local.system import LocalOptions
from shared.settings import BrokerSettings, CommonSettings, Mode

PASSED_ON = (
    "MAX_",
    "RISK_",
    "LIVE_STAGE",
    "GATEWAY_",
    "GUARD_",
    "MARKETDATA_",
    "MONITORING_",
    "CQ_ALERT_",
    "CQ_LOG_",
    "IB_LIBRARY",
)
"""Variables of `.env` for the processes, by how they begin; what the plan sets itself wins over them."""


def service_variables() -> dict[str, str]:
    """Return what `.env` says to the services and the environment does not."""
    named = os.environ.get("CQ_ENV_FILE", ".env")
    path = Path(named)
    if not named or not path.is_file():
        return {}
    values = DotEnvSettingsSource(CommonSettings, path, env_file_encoding="utf-8", case_sensitive=True).env_vars
    return {
        name: value
        for name, value in values.items()
        if value and name.startswith(PASSED_ON) and not os.environ.get(name)
    }


def options_of(
    settings: BrokerSettings,
    directory: Path,
    *,
    strategies_file: str = "",
    limits_file: str = "",
    gateways: int = 2,
    workers: int = 2,
) -> LocalOptions:
    """Return the options of a system on the broker that the settings name; in sim mode with a simulator of its own.

    What a paper or live deployment knows is kept in `.cq/<deployment>` of `directory`.
    """
    is_sim = settings.mode is Mode.SIM
    return LocalOptions(
        mode=settings.mode,
        deployment=settings.deployment,
        account=settings.account,
        simulator={} if is_sim else None,
        broker_host=settings.broker_host,
        broker_port=settings.broker_port,
        strategies_file=strategies_file,
        limits_file=limits_file,
        lease_ttl_s=1.0 if is_sim else settings.lease_ttl_s,
        gateways=gateways,
        workers=workers,
        passthrough={**service_variables(), f"IB_{settings.mode.upper()}_CLIENT_ID": str(settings.client_id)},
        data_dir=None if is_sim else directory / ".cq" / settings.deployment,
    )

"""Make the options of a local system from the settings of `.env`.

The services read the same file of settings (a copy of it, made at the start); the environment wins over it, as
everywhere, and so does what the plan sets: their addresses and passwords.
"""

from __future__ import annotations

import os
from pathlib import Path

from copilot_quant.local.system import LocalOptions
from shared.settings import BrokerSettings, Mode


def env_file() -> Path | None:
    """Return the file of settings that this process itself has read, if there is one."""
    named = os.environ.get("CQ_ENV_FILE", ".env")
    path = Path(named).resolve()
    return path if named and path.is_file() else None


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
        passthrough={f"IB_{settings.mode.upper()}_CLIENT_ID": str(settings.client_id)},
        env_file=env_file(),
        data_dir=None if is_sim else directory / ".cq" / settings.deployment,
    )

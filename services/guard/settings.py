"""Read the guard's settings from the environment (`GUARD_…`) and `.env`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from shared.settings import ClientIds, CommonSettings, Mode

_DEFAULT_UPSTREAM_PORTS = {Mode.SIM: 4102, Mode.PAPER: 4002, Mode.LIVE: 4001}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class GuardSettings(CommonSettings):
    """What the guard may be told."""

    listen_host: str = Field(
        default="127.0.0.1", validation_alias="GUARD_LISTEN_HOST", description="where gateways connect"
    )
    listen_port: int = Field(
        default=4100, ge=0, le=65535, validation_alias="GUARD_LISTEN_PORT", description="its port; 0: any free"
    )
    upstream_host: str = Field(
        default="127.0.0.1", validation_alias="GUARD_UPSTREAM_HOST", description="TWS, IB Gateway or the simulator"
    )
    upstream_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        validation_alias="GUARD_UPSTREAM_PORT",
        description="its port; default: 4102 in sim, 4002 in paper, 4001 in live",
    )
    state_dir: Path = Field(
        default=Path(".run/guard"),
        validation_alias="GUARD_STATE_DIR",
        description="directory that keeps the highest epoch and the halt; never delete it while anything trades",
    )
    trading_client_ids: ClientIds = Field(
        default=(101,),
        validation_alias="GUARD_TRADING_CLIENT_IDS",
        description="client ids that only the leader's session may use, comma separated",
    )
    control_host: str = Field(
        default="127.0.0.1", validation_alias="GUARD_HTTP_HOST", description="where halt and resume listen"
    )
    control_port: int = Field(
        default=4104, ge=0, le=65535, validation_alias="GUARD_HTTP_PORT", description="their port; 0: any free"
    )
    token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="GUARD_TOKEN",
        description="what resume must carry; empty: resume works in sim only",
    )
    health_client_id: int = Field(
        default=28_514,  # the guide has people try 999 and 99
        ge=1,
        le=2**31 - 1,
        validation_alias="GUARD_HEALTH_CLIENT_ID",
        description="client id of the health check's own short sessions at the broker",
    )
    probe_s: float = Field(
        default=15.0,
        ge=1,
        le=3600,
        validation_alias="GUARD_PROBE_S",
        description="seconds between health checks of the broker",
    )

    @model_validator(mode="after")
    def _fits(self) -> GuardSettings:
        if self.health_client_id in self.trading_ids:
            raise ValueError(f"GUARD_HEALTH_CLIENT_ID: {self.health_client_id} is a trading client id: choose another")
        if self.control_host not in _LOOPBACK and not self.token.get_secret_value():
            raise ValueError("GUARD_TOKEN is missing: it is needed where GUARD_HTTP_HOST is not this machine only")
        return self

    @property
    def trading_ids(self) -> frozenset[int]:
        """Return the trading client ids."""
        return frozenset(self.trading_client_ids)

    @property
    def broker_port(self) -> int:
        """Return the upstream port, with the mode's default."""
        return self.upstream_port or _DEFAULT_UPSTREAM_PORTS[self.mode]

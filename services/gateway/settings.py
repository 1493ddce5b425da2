"""Read the gateway's settings: where the broker is, under which ids, and how patient it is."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from services.gateway.core.windows import Window, parse_windows
from shared.errors import ConfigError
from shared.settings import BrokerSettings, ClientIds, Mode

IB_WINDOWS = (
    "reset Sun-Fri 00:15-01:45 America/New_York; weekend Fri 23:00-03:00 America/New_York; "
    "restart daily 23:45-23:50 America/New_York; login Sun 01:00-02:00 America/New_York"
)
"""IB's system status page for North America, TWS' usual restart, and the end of login tokens (ib-facts A.10)."""


class Standby(StrEnum):
    """How ready a gateway is while it stands by."""

    WARM = "warm"
    HOT = "hot"


class GatewaySettings(BrokerSettings):
    """What the gateway may be told; the guide's `IB_…` names are in `BrokerSettings`."""

    trading_client_ids: ClientIds = Field(
        default=(101,),
        validation_alias="GATEWAY_TRADING_CLIENT_IDS",
        description="client ids orders live under: the first, then the next ones if it stays refused; never this "
        "gateway's own id",
    )
    library: str = Field(
        default="ib_insync",
        validation_alias="IB_LIBRARY",
        description="broker library: ib_insync, or its maintained successor ib_async (installed instead of it)",
    )
    guard: str = Field(
        default="",
        validation_alias="GATEWAY_GUARD",
        description="host:port of the guard; both sessions go through it. Empty: straight to the broker",
    )
    guard_http: str = Field(
        default="",
        validation_alias="GATEWAY_GUARD_HTTP",
        description="http://host:port of the guard's control, told of halt and resume; empty: none",
    )
    guard_token: SecretStr = Field(
        default=SecretStr(""), validation_alias="GATEWAY_GUARD_TOKEN", description="the guard's GUARD_TOKEN, for resume"
    )
    codes_file: str = Field(
        default="", validation_alias="GATEWAY_CODES_FILE", description="TOML file that extends the table of TWS codes"
    )
    tws_time_zone: str = Field(
        default="America/New_York",
        validation_alias="GATEWAY_TWS_TIME_ZONE",
        description="zone of times that TWS sends without one",
    )
    connect_limit_s: float = Field(
        default=5.0, gt=0, le=60, validation_alias="GATEWAY_CONNECT_LIMIT_S", description="time for one connect"
    )
    answer_limit_s: float = Field(
        default=5.0,
        gt=0,
        le=120,
        validation_alias="GATEWAY_ANSWER_LIMIT_S",
        description="time for one part of the broker's answer (open orders, executions …)",
    )
    probe_every_s: float = Field(
        default=3.0,
        gt=0,
        le=60,
        validation_alias="GATEWAY_PROBE_S",
        description="how often the broker is asked the time",
    )
    silence_limit_s: float = Field(
        default=9.0,
        gt=0,
        le=300,
        validation_alias="GATEWAY_SILENCE_LIMIT_S",
        description="a session that says nothing for this long is given up",
    )
    echo_limit_s: float = Field(
        default=4.0,
        gt=0,
        le=60,
        validation_alias="GATEWAY_ECHO_LIMIT_S",
        description="an order the broker does not show within this time becomes unknown and is asked for",
    )
    quarantine_s: float = Field(
        default=3.0,
        gt=0,
        le=600,
        validation_alias="GATEWAY_QUARANTINE_S",
        description="how long an order must be in doubt before the broker's silence counts as never sent",
    )
    link_grace_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        validation_alias="GATEWAY_LINK_GRACE_S",
        description="a leader without a READY session for this long resigns if a standby is connected",
    )
    id_in_use_limit_s: float = Field(
        default=15.0,
        gt=0,
        le=600,
        validation_alias="GATEWAY_ID_IN_USE_LIMIT_S",
        description="how long 326 is waited out before the next trading client id is taken",
    )
    standby: Standby = Field(
        default=Standby.WARM,
        validation_alias="GATEWAY_STANDBY",
        description="what a gateway keeps while it stands by: warm, its session and the contracts; hot, the leader's "
        "market data too, subscribed and thrown away (costs as many data lines again for each standby)",
    )
    others_every_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        validation_alias="GATEWAY_OTHERS_S",
        description="how often the orders of other clients and by hand are looked at",
    )

    state_dir: Path = Field(
        default=Path(".run/gateway"),
        validation_alias="GATEWAY_STATE_DIR",
        description="directory that keeps the halt beside Redis; gateways of one deployment may share it",
    )
    broker_windows: str = Field(
        default="",
        validation_alias="GATEWAY_BROKER_WINDOWS",
        description="when the broker is expected to be away: `name days HH:MM-HH:MM zone; …`, or none. Default: none "
        "in sim; else IB's resets of North America, a restart at 23:45 and the weekly login, New York time",
    )
    window_lead_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        validation_alias="GATEWAY_WINDOW_LEAD_S",
        description="how long before a window what adds exposure is refused already",
    )
    window_grace_s: float = Field(
        default=120.0,
        ge=0,
        le=3600,
        validation_alias="GATEWAY_WINDOW_GRACE_S",
        description="a link that is not back this long after a window is alarmed",
    )

    @field_validator("broker_windows")
    @classmethod
    def _windows_are_windows(cls, value: str) -> str:
        try:
            parse_windows(value)
        except ConfigError as e:
            raise ValueError("; ".join(e.mistakes)) from e
        return value

    @field_validator("guard")
    @classmethod
    def _guard_is_address(cls, value: str) -> str:
        if value and not (value.rpartition(":")[0] and value.rpartition(":")[2].isdigit()):
            raise ValueError("write host:port, for example 127.0.0.1:4104")
        return value

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ConfigError: the own client id is a trading client id.
        """
        if self.client_id in self.trading_client_ids:
            raise ConfigError(
                f"IB_{self.mode.upper()}_CLIENT_ID: {self.client_id} is also in GATEWAY_TRADING_CLIENT_IDS; a gateway "
                "watches under an id of its own, orders live under the trading client id"
            )

    @property
    def windows(self) -> tuple[Window, ...]:
        """Return when the broker is expected to be away."""
        if self.broker_windows:
            return parse_windows(self.broker_windows)
        return () if self.mode is Mode.SIM else parse_windows(IB_WINDOWS)

    @property
    def endpoint(self) -> tuple[str, int]:
        """Return where sessions connect: the guard if there is one."""
        if self.guard:
            host, _, port = self.guard.rpartition(":")
            return host, int(port)
        return self.broker_host, self.broker_port

    @property
    def deployment_id(self) -> str:
        """Return the name that goes into every orderRef: the same after a loss of Redis, so that orders stay ours."""
        return f"{self.mode}:{self.deployment}:{self.account}"

    def codes_text(self) -> str:
        """Return the text of the codes file, empty without one.

        Raises:
            ConfigError: it cannot be read.
        """
        if not self.codes_file:
            return ""
        try:
            return Path(self.codes_file).read_text(encoding="utf-8")
        except OSError as e:
            raise ConfigError(f"GATEWAY_CODES_FILE: {self.codes_file!r} cannot be read ({e.strerror})") from e

"""Read settings from the environment and `.env`, once, and name every mistake at once.

Names are the guide's (`IB_PAPER_HOST` …) where it has one. A variable `X_FILE` names a file that holds the value of
`X`: that is how containers are given passwords. `CQ_ENV_FILE` names another file than `.env`
(empty: none). What is set in the environment wins over the file. Comments behind a value are allowed in both.
"""

from __future__ import annotations

import os
import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.bus.keys import Keys
from shared.errors import ConfigError

S = TypeVar("S", bound="CommonSettings")
_DEMO_ACCOUNT = "DUSIM0001"


class Mode(StrEnum):
    """What a deployment trades; never mixed (P8)."""

    SIM = "sim"
    PAPER = "paper"
    LIVE = "live"


def check_account(mode: Mode, account: str) -> str | None:
    """Return a sentence if `account` cannot belong to `mode`, else None.

    IB's paper accounts start with D (DU, DF …), live ones with U, F or I; the simulator's with DUSIM.
    """
    if mode is Mode.SIM:
        if not account.startswith("DUSIM"):
            return f"sim mode accepts only the simulator's accounts (DUSIM…), not {account!r}"
    elif account.startswith("DUSIM"):
        return f"account {account!r} belongs to the simulator and is refused in {mode} mode"
    elif mode is Mode.PAPER and not account.startswith("D"):
        return f"account {account!r} is no paper account (they start with D): a live account never runs in paper mode"
    elif mode is Mode.LIVE and account.startswith("D"):
        return f"account {account!r} is a paper account (it starts with D) and is refused in live mode"
    return None


_COMMENT = re.compile(r"^#\s.*$|\s+#.*$")


def without_comment(value: Any) -> Any:
    """Return a value without the comment behind it.

    In `.env` such comments are taken off when the file is read, but systemd's EnvironmentFile and docker's --env-file
    hand the whole line on. As in `.env`, a # ends a value only after a space: `#265598` stays.
    """
    return _COMMENT.sub("", value) if isinstance(value, str) else value


class CommonSettings(BaseSettings):
    """What every service and command knows."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, populate_by_name=True, frozen=True)

    mode: Mode = Field(default=Mode.PAPER, validation_alias="CQ_MODE", description="sim, paper or live")
    deployment: str = Field(
        default="", validation_alias="CQ_DEPLOYMENT", description="name in every key on the bus; default: the mode"
    )
    instance: str = Field(
        default="", validation_alias="CQ_INSTANCE", description="name of this process; default: host and process id"
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        validation_alias="REDIS_URL",
        description="order-flow Redis with this role's user and password: redis://… or redis+sentinel://host,host/master",
    )
    redis_ticks_url: SecretStr | None = Field(
        default=None,
        validation_alias="REDIS_TICKS_URL",
        description="a second Redis for ticks, may be redis+cluster://host,host; default: the same",
    )
    tick_partitions: int = Field(
        default=4, ge=1, le=256, validation_alias="CQ_TICK_PARTITIONS", description="number of ticks:<p> and bars:<p>"
    )
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = Field(
        default="info", validation_alias="CQ_LOG_LEVEL", description="debug, info, warning or error"
    )
    log_format: Annotated[str, Field(pattern="^(json|console)$")] = Field(
        default="json", validation_alias="CQ_LOG_FORMAT", description="json, or console for people"
    )
    http_host: str = Field(
        default="127.0.0.1", validation_alias="CQ_HTTP_HOST", description="where health and metrics listen"
    )
    http_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        validation_alias="CQ_HTTP_PORT",
        description="port of health and metrics; 0: any free",
    )
    lease_ttl_s: float = Field(
        default=4.0,
        gt=0,
        le=60,
        validation_alias="CQ_LEASE_TTL_S",
        description="lease time in seconds (1.0 in the demo)",
    )
    drain_s: float = Field(
        default=5.0, gt=0, le=120, validation_alias="CQ_DRAIN_S", description="time a stopping service has to finish"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_names(cls, values: Any) -> Any:
        if isinstance(values, dict):
            values = {name: without_comment(value) for name, value in values.items()}
            values = {name: value for name, value in values.items() if value != ""}
            mode = values.get("CQ_MODE") or values.get("mode") or Mode.PAPER.value
            if not (values.get("CQ_DEPLOYMENT") or values.get("deployment")):
                values["CQ_DEPLOYMENT"] = str(mode)
            if not (values.get("CQ_INSTANCE") or values.get("instance")):
                values["CQ_INSTANCE"] = f"{socket.gethostname()}-{os.getpid()}"
        return values

    @property
    def keys(self) -> Keys:
        """Return the names on the bus of this deployment."""
        return Keys(self.deployment, self.tick_partitions)


class BrokerSettings(CommonSettings):
    """Where the broker is, for the mode that is chosen; the guide's variable names.

    `IB_HOST`, `IB_PORT` and `IB_CLIENT_ID` of older set-ups are read for the paper mode where the newer are missing.
    """

    paper_host: str = Field(
        default="127.0.0.1", validation_alias=AliasChoices("IB_PAPER_HOST", "IB_HOST"), description="TWS or IB Gateway"
    )
    paper_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("IB_PAPER_PORT", "IB_PORT"),
        description="default: 7497, or 4002 with IB_PAPER_USE_GATEWAY=true",
    )
    paper_client_id: int = Field(
        default=1,
        ge=1,
        le=32767,
        validation_alias=AliasChoices("IB_PAPER_CLIENT_ID", "IB_CLIENT_ID"),
        description="client id of this gateway; standbys take other ids",
    )
    paper_account: str = Field(default="", validation_alias="IB_PAPER_ACCOUNT", description="account number, DU…")
    paper_use_gateway: bool = Field(
        default=False, validation_alias="IB_PAPER_USE_GATEWAY", description="true for IB Gateway, false for TWS"
    )
    live_host: str = Field(default="127.0.0.1", validation_alias="IB_LIVE_HOST", description="TWS or IB Gateway")
    live_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        validation_alias="IB_LIVE_PORT",
        description="default: 7496, or 4001 with IB_LIVE_USE_GATEWAY=true",
    )
    live_client_id: int = Field(
        default=2, ge=1, le=32767, validation_alias="IB_LIVE_CLIENT_ID", description="client id of this gateway"
    )
    live_account: str = Field(default="", validation_alias="IB_LIVE_ACCOUNT", description="account number, U…")
    live_use_gateway: bool = Field(
        default=False, validation_alias="IB_LIVE_USE_GATEWAY", description="true for IB Gateway, false for TWS"
    )
    sim_host: str = Field(default="127.0.0.1", validation_alias="IB_SIM_HOST", description="the simulator or its guard")
    sim_port: int = Field(default=4102, ge=1, le=65535, validation_alias="IB_SIM_PORT", description="its port")
    sim_client_id: int = Field(
        default=1, ge=1, le=32767, validation_alias="IB_SIM_CLIENT_ID", description="client id of this gateway"
    )
    sim_account: str = Field(default=_DEMO_ACCOUNT, validation_alias="IB_SIM_ACCOUNT", description="DUSIM…")

    @model_validator(mode="after")
    def _account_fits_mode(self) -> BrokerSettings:
        if not self.account:
            raise ValueError(f"IB_{self.mode.upper()}_ACCOUNT is missing: set it to the account number to trade")
        complaint = check_account(self.mode, self.account)
        if complaint:
            raise ValueError(f"IB_{self.mode.upper()}_ACCOUNT: {complaint}")
        return self

    @property
    def account(self) -> str:
        """Return the one account this deployment trades."""
        return {Mode.SIM: self.sim_account, Mode.PAPER: self.paper_account, Mode.LIVE: self.live_account}[self.mode]

    @property
    def broker_host(self) -> str:
        """Return the host of the chosen mode."""
        return {Mode.SIM: self.sim_host, Mode.PAPER: self.paper_host, Mode.LIVE: self.live_host}[self.mode]

    @property
    def broker_port(self) -> int:
        """Return the port of the chosen mode."""
        if self.mode is Mode.SIM:
            return self.sim_port
        if self.mode is Mode.PAPER:
            return self.paper_port or (4002 if self.paper_use_gateway else 7497)
        return self.live_port or (4001 if self.live_use_gateway else 7496)

    @property
    def client_id(self) -> int:
        """Return this gateway's own client id."""
        return {Mode.SIM: self.sim_client_id, Mode.PAPER: self.paper_client_id, Mode.LIVE: self.live_client_id}[
            self.mode
        ]


CsvList = Annotated[tuple[str, ...], NoDecode]
"""A comma separated variable; pair it with `split_csv` in a `field_validator(mode="before")`."""


def split_csv(value: object) -> object:
    """Turn `"a, b"` into `("a", "b")`; other values pass unchanged."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _client_ids(value: object) -> object:
    """Turn `"101, 102"` into `(101, 102)`.

    Raises:
        ValueError: one is no client id, one is there twice, or there is none.
    """
    words = split_csv(value)
    ids = [str(each) for each in words] if isinstance(words, tuple | list) else [str(words)]
    wrong = [each for each in ids if not (each.isascii() and each.isdigit() and 0 < int(each) < 2**31)]
    numbers = tuple(int(each) for each in ids if each not in wrong)
    if wrong or not numbers or len(set(numbers)) != len(numbers):
        shown = ", ".join(wrong) or ("one twice" if numbers else "none")
        raise ValueError(f"client ids are different whole numbers from 1, comma separated, not {shown}")
    return numbers


ClientIds = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_client_ids)]
"""A comma separated variable of one or more different client ids."""


def load_settings(settings_class: type[S], **chosen: str) -> S:
    """Read settings of a class from the environment and the `.env` file; `chosen` variables win over both.

    Raises:
        ConfigError: one sentence per wrong setting, each with the variable's name; never with a secret's value.
    """
    _read_value_files(settings_class)
    named = os.environ.get("CQ_ENV_FILE", ".env")
    path = Path(named) if named else None
    if path is not None and named != ".env" and not path.is_file():
        raise ConfigError(f"CQ_ENV_FILE: there is no file {named!r}")
    try:
        return settings_class(_env_file=path, _env_file_encoding="utf-8", **chosen)  # type: ignore[arg-type]
    except ValidationError as e:
        raise ConfigError([_sentence(settings_class, error) for error in e.errors(include_url=False)]) from e


def _names_of(field: Any) -> tuple[str, ...]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (alias,) if isinstance(alias, str) else ()


def _read_value_files(settings_class: type[CommonSettings]) -> None:
    mistakes: list[str] = []
    for field in settings_class.model_fields.values():
        for name in _names_of(field):
            path = os.environ.get(f"{name}_FILE")
            if path and not os.environ.get(name):
                try:
                    os.environ[name] = Path(path).read_text(encoding="utf-8").strip()
                except OSError as e:
                    mistakes.append(f"{name}_FILE: {path!r} cannot be read ({e.strerror})")
    if mistakes:
        raise ConfigError(mistakes)


def _field_of_variable(settings_class: type[CommonSettings], variable: str) -> FieldInfo | None:
    """Return the field that a variable sets: errors name the variable, and a secret must be known as one."""
    return next((field for field in settings_class.model_fields.values() if variable in _names_of(field)), None)


def _sentence(settings_class: type[CommonSettings], error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    field = settings_class.model_fields.get(name) or _field_of_variable(settings_class, name)
    if field is not None:
        name = next(iter(_names_of(field)), name)
    is_secret = field is not None and "Secret" in str(field.annotation)
    shown = "" if is_secret or error["type"] == "missing" else f" (got {error.get('input')!r})"
    return f"{name}: {message}{shown}"

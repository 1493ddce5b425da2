"""Settings of the monitoring service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from shared.settings import CommonSettings, CsvList, split_csv


class MonitoringSettings(CommonSettings):
    """What the monitoring service reads from the environment."""

    page_host: str = Field(
        default="127.0.0.1", validation_alias="MONITORING_HOST", description="where the status page listens"
    )
    page_port: int = Field(
        default=8080, ge=0, le=65535, validation_alias="MONITORING_PORT", description="port of the status page"
    )
    allowed_hosts: CsvList = Field(
        default=(),
        validation_alias="MONITORING_ALLOWED_HOSTS",
        description="further host names under which people open the page; loopback names always work",
    )
    web_token: SecretStr | None = Field(
        default=None,
        validation_alias="CQ_WEB_TOKEN",
        description="token of the page's controls, at least 16 characters; without it they are off",
    )
    alert_urls: SecretStr | None = Field(
        default=None,
        validation_alias="CQ_ALERT_URLS",
        description="where alerts go: apprise URLs (mailto://, slack://, tgram:// …), comma or space separated",
    )
    audit_dir: Path | None = Field(
        default=None,
        validation_alias="CQ_AUDIT_DIR",
        description="where the audit is kept: hash-chained SQLite files; without it there is none",
    )
    lag_entries: int = Field(
        default=1_000, ge=1, validation_alias="MONITORING_LAG_ENTRIES", description="a reader further behind is alarmed"
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return split_csv(value)

    @field_validator("web_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("a token of less than 16 characters can be guessed: use `openssl rand -hex 16`")
        return value

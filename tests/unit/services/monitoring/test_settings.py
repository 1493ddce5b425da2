from __future__ import annotations

import pytest

from services.monitoring.settings import MonitoringSettings
from shared.errors import ConfigError
from shared.settings import load_settings


def test_the_page_is_local_and_read_only_unless_told_otherwise() -> None:
    settings = load_settings(MonitoringSettings)
    assert (settings.page_host, settings.page_port, settings.web_token, settings.alert_urls) == (
        "127.0.0.1",
        8080,
        None,
        None,
    )


def test_a_token_that_can_be_guessed_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_WEB_TOKEN", "hunter2")
    with pytest.raises(ConfigError, match="CQ_WEB_TOKEN") as caught:
        load_settings(MonitoringSettings)
    assert "hunter2" not in str(caught.value)

from __future__ import annotations

import pytest

from services.marketdata.settings import MarketdataSettings
from shared.errors import ConfigError
from shared.settings import load_settings


def test_defaults_and_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETDATA_CONTRACTS", "AAPL, FX:EUR.USD")
    monkeypatch.setenv("MARKETDATA_BARS", "1m")
    settings = load_settings(MarketdataSettings)
    assert settings.contracts == ("AAPL", "FX:EUR.USD")
    assert settings.rules.intervals == ("1m",)
    assert settings.rules.grace_ns == 200_000_000
    assert settings.rules.day_hours == "rth"
    assert settings.model_copy(update={"day_hours": "trading"}).rules.day_hours == "all"


def test_every_mistake_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARKETDATA_CONTRACTS", "AAPL,!!")
    monkeypatch.setenv("MARKETDATA_BARS", "1h")
    monkeypatch.setenv("MARKETDATA_SNAPSHOT_MS", "0")
    with pytest.raises(ConfigError) as caught:
        load_settings(MarketdataSettings)
    text = str(caught.value)
    assert all(name in text for name in ("MARKETDATA_CONTRACTS", "MARKETDATA_BARS", "MARKETDATA_SNAPSHOT_MS"))

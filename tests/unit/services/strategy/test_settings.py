"""A worker's settings: safe as they come, and a handler may never outlast the lease."""

from __future__ import annotations

import pytest

from services.strategy.settings import StrategySettings
from shared.errors import ConfigError
from shared.settings import load_settings


def test_as_they_come_a_handler_ends_before_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    settings = load_settings(StrategySettings)
    assert 0 < settings.handler_limit_s < settings.lease_ttl_s and settings.only_unit == ""


def test_a_handler_that_may_cost_the_lease_is_refused_with_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    monkeypatch.setenv("CQ_LEASE_TTL_S", "1.0")
    monkeypatch.setenv("STRATEGY_HANDLER_LIMIT_S", "1.0")
    with pytest.raises(ConfigError, match=r"STRATEGY_HANDLER_LIMIT_S \(1\) must be below CQ_LEASE_TTL_S \(1\)"):
        load_settings(StrategySettings)

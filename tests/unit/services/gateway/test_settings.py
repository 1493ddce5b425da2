"""The gateway's settings: defaults by mode, mistakes by name."""

from __future__ import annotations

import pytest

from services.gateway.settings import GatewaySettings
from shared.errors import ConfigError
from shared.settings import load_settings


@pytest.mark.parametrize("mode, account, count", [("sim", "DUSIM0001", 0), ("paper", "DU1", 4), ("live", "U1", 4)])
def test_known_windows_are_there_where_there_is_a_broker(
    monkeypatch: pytest.MonkeyPatch, mode: str, account: str, count: int
) -> None:
    monkeypatch.setenv("CQ_MODE", mode)
    monkeypatch.setenv(f"IB_{mode.upper()}_ACCOUNT", account)
    assert len(load_settings(GatewaySettings).windows) == count
    monkeypatch.setenv("GATEWAY_BROKER_WINDOWS", "restart daily 06:00-06:05 Europe/Berlin")
    assert [window.name for window in load_settings(GatewaySettings).windows] == ["restart"]
    monkeypatch.setenv("GATEWAY_BROKER_WINDOWS", "none")
    assert load_settings(GatewaySettings).windows == ()


def test_a_wrong_window_refuses_the_start_with_the_variables_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    monkeypatch.setenv("GATEWAY_BROKER_WINDOWS", "at night")
    with pytest.raises(ConfigError, match="GATEWAY_BROKER_WINDOWS"):
        load_settings(GatewaySettings)

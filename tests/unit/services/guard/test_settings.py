from __future__ import annotations

import pytest

from services.guard.settings import GuardSettings
from shared.errors import ConfigError
from shared.settings import load_settings


def load(monkeypatch, **env: str) -> GuardSettings:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return load_settings(GuardSettings)


@pytest.mark.parametrize("mode, port", [("sim", 4102), ("paper", 4002), ("live", 4001)])
def test_the_brokers_port_follows_the_mode(monkeypatch, mode, port):
    assert load(monkeypatch, CQ_MODE=mode).broker_port == port


def test_trading_client_ids_are_numbers(monkeypatch):
    assert load(monkeypatch, GUARD_TRADING_CLIENT_IDS="101, 102").trading_ids == {101, 102}


@pytest.mark.parametrize(
    "env, name",
    [
        ({"GUARD_TRADING_CLIENT_IDS": "x"}, "GUARD_TRADING_CLIENT_IDS"),
        ({"GUARD_TRADING_CLIENT_IDS": "0"}, "GUARD_TRADING_CLIENT_IDS"),
        ({"GUARD_TRADING_CLIENT_IDS": " , "}, "GUARD_TRADING_CLIENT_IDS"),
        ({"GUARD_TRADING_CLIENT_IDS": "28514"}, "GUARD_HEALTH_CLIENT_ID"),
        ({"GUARD_LISTEN_PORT": "99999"}, "GUARD_LISTEN_PORT"),
        ({"GUARD_HTTP_HOST": "10.0.0.5"}, "GUARD_TOKEN"),
    ],
)
def test_a_mistake_is_named_by_its_variable(monkeypatch, env, name):
    with pytest.raises(ConfigError) as caught:
        load(monkeypatch, **env)
    assert any(name in mistake for mistake in caught.value.mistakes)

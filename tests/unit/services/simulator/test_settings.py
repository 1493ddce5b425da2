from __future__ import annotations

import pytest

from services.simulator.settings import SimulatorSettings
from shared.errors import ConfigError
from shared.settings import load_settings


def test_the_defaults_are_safe() -> None:
    settings = load_settings(SimulatorSettings)
    assert (settings.host, settings.control_host, settings.accounts) == ("127.0.0.1", "127.0.0.1", ("DUSIM0001",))
    assert settings.port not in (7496, 7497, 4001, 4002)
    config = settings.exchange_config()
    assert config.cash == 1_000_000 and config.ack_delay_ns == 5_000_000


def test_any_account_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_ACCOUNTS", "DU123456, U7654321,DUSIM0002")
    assert load_settings(SimulatorSettings).accounts == ("DU123456", "U7654321", "DUSIM0002")


def test_all_mistakes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "SIM_ACCOUNTS": "X1", "SIM_SPEED": "-1", "SIM_REPLAY": "/nowhere.csv", "SIM_DATA": "maybe", "SIM_PACING": "x",
        "SIM_MAX_VERSION": "201", "SIM_CASH": "0",
    }  # fmt: skip
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings(SimulatorSettings)
    for name in wrong:
        assert any(mistake.startswith(name) for mistake in caught.value.mistakes), name


@pytest.mark.parametrize("accounts", [",", "DUSIM0001,DUSIM0001"])
def test_account_lists(monkeypatch: pytest.MonkeyPatch, accounts: str) -> None:
    monkeypatch.setenv("SIM_ACCOUNTS", accounts)
    with pytest.raises(ConfigError):
        load_settings(SimulatorSettings)

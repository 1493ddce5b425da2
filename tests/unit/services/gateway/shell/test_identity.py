from __future__ import annotations

import pytest

from services.gateway.settings import GatewaySettings
from services.gateway.shell.identity import Accounts, check_identity
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import ConfigError
from shared.settings import load_settings


def test_the_login_must_show_the_account_and_no_advisor() -> None:
    accounts = Accounts("DU1234")
    assert not accounts.check(("DU1234",))
    assert not accounts.check(("DU1234", "DU9999")) and accounts.others == ("DU9999",)
    assert "not on this login" in accounts.check(("DU9999",))
    assert "advisor" in accounts.check(("DF1234", "DU1234"))
    assert "advisor" in accounts.check(("F1234", "DU1234"))


async def test_the_first_start_writes_the_identity_and_the_next_must_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    settings = load_settings(GatewaySettings)
    bus = MemoryBus(MemoryServer(), settings.keys)
    await check_identity(bus, settings)
    await check_identity(bus, settings)
    monkeypatch.setenv("IB_SIM_ACCOUNT", "DUSIM0002")
    with pytest.raises(ConfigError, match="belongs to account"):
        await check_identity(bus, load_settings(GatewaySettings))


def test_settings_that_contradict_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    monkeypatch.setenv("GATEWAY_TRADING_CLIENT_IDS", "1,101")
    with pytest.raises(ConfigError, match="IB_SIM_CLIENT_ID"):
        load_settings(GatewaySettings).check()
    monkeypatch.setenv("GATEWAY_TRADING_CLIENT_IDS", "1,1")
    monkeypatch.setenv("GATEWAY_GUARD", "nonsense")
    with pytest.raises(ConfigError) as caught:
        load_settings(GatewaySettings)
    assert len(caught.value.mistakes) == 2


def test_both_sessions_go_through_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    assert load_settings(GatewaySettings).endpoint == ("127.0.0.1", 4102)
    monkeypatch.setenv("GATEWAY_GUARD", "guard:4100")
    assert load_settings(GatewaySettings).endpoint == ("guard", 4100)

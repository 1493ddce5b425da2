from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.errors import ConfigError
from shared.settings import (
    BrokerSettings,
    ClientIds,
    CommonSettings,
    Mode,
    check_account,
    load_settings,
    without_comment,
)


def test_every_mistake_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_PAPER_PORT", "70000")
    monkeypatch.setenv("IB_PAPER_CLIENT_ID", "x")
    monkeypatch.setenv("CQ_LOG_LEVEL", "loud")
    with pytest.raises(ConfigError) as caught:
        load_settings(BrokerSettings)
    names = {mistake.split(":")[0].split(" ")[0] for mistake in caught.value.mistakes}
    assert {"IB_PAPER_PORT", "IB_PAPER_CLIENT_ID", "CQ_LOG_LEVEL"} <= names


def test_the_guides_file_works_with_its_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.env").write_text(
        "IB_PAPER_HOST=127.0.0.1\nIB_PAPER_PORT=7497              # TWS Paper Trading\nIB_PAPER_CLIENT_ID=1\n"
        "IB_PAPER_ACCOUNT=DUB267514      # Replace with YOUR paper account number\nIB_PAPER_USE_GATEWAY=false\n"
    )
    monkeypatch.setenv("CQ_ENV_FILE", str(tmp_path / "my.env"))
    settings = load_settings(BrokerSettings)
    assert (settings.mode, settings.account, settings.broker_port) == (Mode.PAPER, "DUB267514", 7497)
    assert settings.keys.intents == "cq:paper:intents"


def test_comments_behind_values_of_the_environment_are_none_of_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd's EnvironmentFile hands the whole line on."""
    for name, value in {
        "IB_PAPER_PORT": "7498              # TWS: 7497, IB Gateway: 4002",
        "IB_PAPER_ACCOUNT": "DUB267514      # replace with YOUR paper account number",
        "IB_PAPER_USE_GATEWAY": "false\t# TWS",
        "CQ_DEPLOYMENT": "# name in every key on the bus",
        "REDIS_URL": "redis://me:pass#word@127.0.0.1:6379/0  # this role's",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(BrokerSettings)
    assert (settings.broker_port, settings.account, settings.deployment) == (7498, "DUB267514", "paper")
    assert settings.redis_url.get_secret_value() == "redis://me:pass#word@127.0.0.1:6379/0"


@pytest.mark.parametrize("value", ["#265598", "AAPL,#265598", "a#b", ""])
def test_a_hash_that_follows_no_space_is_part_of_the_value(value: str) -> None:
    assert without_comment(value) == value


@pytest.mark.parametrize(
    "variables, port",
    [
        ({"IB_PAPER_ACCOUNT": "DU1"}, 7497),
        ({"IB_PAPER_ACCOUNT": "DU1", "IB_PAPER_USE_GATEWAY": "true"}, 4002),
        ({"IB_PAPER_ACCOUNT": "DU1", "IB_PORT": "4010"}, 4010),
        ({"CQ_MODE": "live", "IB_LIVE_ACCOUNT": "U1234567"}, 7496),
        ({"CQ_MODE": "live", "IB_LIVE_ACCOUNT": "U1234567", "IB_LIVE_USE_GATEWAY": "true"}, 4001),
    ],
)
def test_the_port_follows_mode_and_program(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], port: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings(BrokerSettings).broker_port == port


@pytest.mark.parametrize(
    "mode, account, is_fine",
    [
        (Mode.SIM, "DUSIM0001", True),
        (Mode.SIM, "DU1234567", False),
        (Mode.PAPER, "DU1234567", True),
        (Mode.PAPER, "DUB267514", True),
        (Mode.PAPER, "U1234567", False),
        (Mode.PAPER, "DUSIM0001", False),
        (Mode.LIVE, "U1234567", True),
        (Mode.LIVE, "DU1234567", False),
        (Mode.LIVE, "DUSIM0001", False),
    ],
)
def test_paper_live_and_sim_accounts_never_mix(mode: Mode, account: str, is_fine: bool) -> None:
    assert (check_account(mode, account) is None) is is_fine


def test_an_account_of_another_mode_refuses_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_PAPER_ACCOUNT", "U1234567")
    with pytest.raises(ConfigError, match="IB_PAPER_ACCOUNT"):
        load_settings(BrokerSettings)


def test_a_value_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("redis://risk:secret@r:1/0\n")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "url"))
    settings = load_settings(CommonSettings)
    assert settings.redis_url.get_secret_value() == "redis://risk:secret@r:1/0"
    assert "secret" not in repr(settings)
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="REDIS_URL_FILE"):
        load_settings(CommonSettings)


def test_a_missing_env_file_that_was_named_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_ENV_FILE", "/nowhere/x.env")
    with pytest.raises(ConfigError, match="CQ_ENV_FILE"):
        load_settings(CommonSettings)


def test_client_ids_are_different_numbers_in_their_order() -> None:
    adapter: TypeAdapter[tuple[int, ...]] = TypeAdapter(ClientIds)
    assert adapter.validate_python("102, 101") == adapter.validate_python((102, 101)) == (102, 101)
    for text, shown in (
        ("", "none"),
        (" , ", "none"),
        ("1,1", "twice"),
        ("0", "0"),
        ("1,x", "x"),
        ("2147483648", "2147"),
    ):
        with pytest.raises(ValidationError, match=shown):
            adapter.validate_python(text)

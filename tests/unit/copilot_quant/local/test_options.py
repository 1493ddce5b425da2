from __future__ import annotations

from pathlib import Path

import pytest

from copilot_quant.local.options import options_of
from shared.settings import BrokerSettings, Mode, load_settings


def test_a_paper_system_stands_before_the_broker_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IB_PAPER_ACCOUNT", "DUB267514")
    monkeypatch.setenv("IB_PAPER_CLIENT_ID", "7")
    options = options_of(load_settings(BrokerSettings), Path("/home"), gateways=1, workers=0)
    assert (options.simulator, options.broker_port, options.account) == (None, 7497, "DUB267514")
    assert options.passthrough == {"IB_PAPER_CLIENT_ID": "7"} and options.data_dir == Path("/home/.cq/paper")


def test_a_simulated_system_has_its_own_exchange_and_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    options = options_of(load_settings(BrokerSettings), Path("/home"))
    assert (options.mode, options.simulator, options.data_dir, options.lease_ttl_s) == (Mode.SIM, {}, None, 1.0)


def test_the_services_read_the_same_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my.env"
    file.write_text("IB_PAPER_ACCOUNT=DUB267514\nMAX_POSITION_SIZE=5   # shares\n")
    monkeypatch.setenv("CQ_ENV_FILE", str(file))
    assert options_of(load_settings(BrokerSettings), Path("/home")).env_file == file
    monkeypatch.setenv("CQ_ENV_FILE", "")
    monkeypatch.setenv("IB_PAPER_ACCOUNT", "DUB267514")
    assert options_of(load_settings(BrokerSettings), Path("/home")).env_file is None

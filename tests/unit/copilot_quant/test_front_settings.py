from __future__ import annotations

import os
from pathlib import Path

import pytest

from copilot_quant import front_settings
from copilot_quant.local.run_file import RunningSystem, write_run_file
from shared.errors import ConfigError, ModeMismatch
from shared.settings import Mode


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IB_PAPER_ACCOUNT", "DUB267514")
    return tmp_path


def a_system(mode: str) -> RunningSystem:
    env = {
        "CQ_MODE": mode,
        "CQ_DEPLOYMENT": mode,
        "REDIS_URL": "redis://operator:x@127.0.0.1:1/0",
        f"IB_{mode.upper()}_ACCOUNT": "DUSIM0001" if mode == "sim" else "DUB267514",
    }
    return RunningSystem(os.getpid(), "/nowhere", mode, "", "", "", env)


@pytest.mark.parametrize(
    "variable, paper_trading, expected",
    [("", True, Mode.PAPER), ("sim", True, Mode.SIM), ("live", True, Mode.PAPER), ("paper", False, Mode.LIVE)],
)
def test_the_flag_and_the_variable_make_the_mode(
    variable: str, paper_trading: bool, expected: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CQ_MODE", variable)
    assert front_settings.mode_of(paper_trading=paper_trading) is expected


def test_a_demo_of_this_directory_counts_as_paper(folder: Path) -> None:
    write_run_file(a_system("sim"), folder)
    assert front_settings.mode_of(paper_trading=True) is Mode.SIM
    assert front_settings.broker_settings(Mode.SIM).redis_url.get_secret_value().endswith("127.0.0.1:1/0")


def test_settings_of_a_mode_are_read_whatever_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "live")
    settings = front_settings.broker_settings(Mode.PAPER)
    assert (settings.mode, settings.account, settings.broker_port) == (Mode.PAPER, "DUB267514", 7497)


def test_a_system_of_another_mode_is_not_used(folder: Path) -> None:
    write_run_file(a_system("paper"), folder)
    found = front_settings.running_system(Mode.PAPER)
    assert found is not None and front_settings.settings_of_system(found).account == "DUB267514"
    with pytest.raises(ModeMismatch):
        front_settings.running_system(Mode.LIVE)


def test_a_flag_alone_trades_no_real_money(monkeypatch: pytest.MonkeyPatch) -> None:
    front_settings.check_may_order(Mode.PAPER)
    with pytest.raises(ModeMismatch, match="CQ_MODE=live"):
        front_settings.check_may_order(Mode.LIVE)
    monkeypatch.setenv("CQ_MODE", "live")
    front_settings.check_may_order(Mode.LIVE)


def test_a_sentence_names_every_mistake() -> None:
    assert front_settings.sentence(ConfigError(["A: wrong", "B: wrong"])) == "settings: A: wrong; B: wrong"
    assert front_settings.sentence(OSError("two\nlines")) == "two lines"

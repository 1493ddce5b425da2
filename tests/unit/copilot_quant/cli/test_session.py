from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from copilot_quant.cli.session import broker_behind, is_live, operator_settings, running_system, until, with_desk
from copilot_quant.desk import Desk
from copilot_quant.local.run_file import RunningSystem, write_run_file
from shared.errors import ConfigError, TimedOut
from shared.settings import BrokerSettings, Mode
from tests.fakes import fake_redis


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("CQ_MODE", "CQ_DEPLOYMENT", "REDIS_URL", "IB_SIM_ACCOUNT"):  # what a command writes goes with the test
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def a_system(**env: str) -> RunningSystem:
    return RunningSystem(os.getpid(), "/run", "sim", "http://page/", "", "", env)


def test_a_system_that_runs_in_this_folder_is_used(folder: Path) -> None:
    write_run_file(a_system(CQ_MODE="sim", REDIS_URL="redis://operator@here/0"), folder)
    settings = operator_settings()
    assert settings.mode is Mode.SIM and "here" in settings.redis_url.get_secret_value()
    assert running_system() == a_system(CQ_MODE="sim", REDIS_URL="redis://operator@here/0")  # also afterwards


def test_a_redis_in_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run_file(a_system(CQ_MODE="sim", REDIS_URL="redis://operator@here/0"), folder)
    monkeypatch.setenv("REDIS_URL", "redis://mine/0")
    monkeypatch.setenv("CQ_MODE", "sim")
    assert running_system() is None
    assert operator_settings().redis_url.get_secret_value() == "redis://mine/0"


def test_without_either_the_missing_account_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match="IB_PAPER_ACCOUNT") as told:
        operator_settings()
    assert "no system runs in this directory" in told.value.mistakes[0] and "cq demo" in told.value.mistakes[0]
    (folder / ".env").write_text("CQ_MODE=paper\n")
    with pytest.raises(ConfigError) as told:
        operator_settings()
    assert [mistake.split()[0] for mistake in told.value.mistakes] == ["IB_PAPER_ACCOUNT"]


def test_the_broker_is_what_stands_behind_the_guard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")
    settings = operator_settings()
    assert broker_behind(settings) == f"{settings.broker_host}:{settings.broker_port}"
    write_run_file(replace(a_system(CQ_MODE="sim"), broker="127.0.0.1:7497"), folder)
    assert broker_behind(settings) == "127.0.0.1:7497"


def test_an_act_gets_a_desk_on_the_bus_and_its_answer_is_returned(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")

    async def act(desk: Desk, settings: BrokerSettings) -> dict[str, str]:
        assert not is_live(settings)
        await desk.bus.hash_set(desk.keys.halt, {"stage": "none"})
        return await desk.halt_status()

    with fake_redis():
        assert with_desk(act) == {"stage": "none"}


async def test_a_wait_ends_with_the_first_true_answer_or_with_its_sentence() -> None:
    answers = iter([None, "", "here"])

    async def look() -> str | None:
        return next(answers)

    assert await until(look, 5.0, "never", every_s=0.0) == "here"

    async def nothing() -> bool:
        return False

    with pytest.raises(TimedOut, match="nobody came"):
        await until(nothing, 0.0, "nobody came", every_s=0.0)

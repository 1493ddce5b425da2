"""The guide's variables reach the limits; a broken file is reported and lets only reductions pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.risk.settings import RiskSettings
from shared.errors import ConfigError
from shared.settings import load_settings


@pytest.fixture(autouse=True)
def _sim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CQ_MODE", "sim")


def test_the_guides_variables_and_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text("[limits]\norder_quantity_max = 7\n")
    monkeypatch.setenv("RISK_LIMITS_FILE", str(path))
    monkeypatch.setenv("MAX_POSITION_SIZE", "1000")
    monkeypatch.setenv("MAX_TOTAL_EXPOSURE", "50000")
    limits = load_settings(RiskSettings).read_limits()
    base = limits.base
    assert not limits.mistakes
    assert [str(one) for one in (base.order_quantity_max, base.position_quantity_max, base.exposure_gross_max)] == [
        "7", "1000", "50000",
    ]  # fmt: skip


def test_a_file_that_cannot_be_used_gives_its_mistakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RISK_LIMITS_FILE", str(tmp_path / "missing.toml"))
    assert "missing.toml" in load_settings(RiskSettings).read_limits().mistakes[0]
    path = tmp_path / "limits.toml"
    path.write_bytes(b"\xff\xfe")
    monkeypatch.setenv("RISK_LIMITS_FILE", str(path))
    assert load_settings(RiskSettings).read_limits().mistakes


def test_a_wrong_variable_refuses_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_POSITION_SIZE", "-5")
    with pytest.raises(ConfigError, match="MAX_POSITION_SIZE"):
        load_settings(RiskSettings)


@pytest.mark.parametrize(("said", "stage"), [("", "observe"), ("limited", "limited"), ("armed", "armed")])
def test_live_begins_by_observing(monkeypatch: pytest.MonkeyPatch, said: str, stage: str) -> None:
    monkeypatch.setenv("CQ_MODE", "live")
    monkeypatch.setenv("IB_LIVE_ACCOUNT", "U1234567")
    if said:
        monkeypatch.setenv("LIVE_STAGE", said)
    limits = load_settings(RiskSettings).read_limits()
    assert limits.stage == stage
    assert (limits.base.order_quantity_max == 10) is (stage == "limited")


def test_other_modes_are_armed() -> None:
    assert load_settings(RiskSettings).read_limits().stage == "armed"


def test_a_ceiling_binds_the_file_and_must_be_readable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ceiling = tmp_path / "ceiling.toml"
    ceiling.write_text("[limits]\norder_quantity_max = 500\n")
    monkeypatch.setenv("RISK_CEILING_FILE", str(ceiling))
    assert "above the ceiling of 500" in load_settings(RiskSettings).read_limits().mistakes[0]
    path = tmp_path / "limits.toml"
    path.write_text("[limits]\norder_quantity_max = 500\n")
    monkeypatch.setenv("RISK_LIMITS_FILE", str(path))
    assert not load_settings(RiskSettings).read_limits().mistakes
    monkeypatch.setenv("RISK_CEILING_FILE", str(tmp_path / "missing.toml"))
    with pytest.raises(ConfigError, match="RISK_CEILING_FILE"):
        load_settings(RiskSettings).read_limits()

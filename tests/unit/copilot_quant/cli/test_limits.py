"""`cq limits check` names mistakes with their lines and the rules that would only warn; no bus is needed for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from copilot_quant.cli.application import build_app
from copilot_quant.cli.limits import only_warning, read_draft
from services.risk.core.limits_file import parse_limits
from services.risk.settings import RiskSettings
from shared.errors import ConfigError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CQ_MODE", "sim")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text("rules = 5\n[limits]\norder_quantity_max = 5\n")
    result = CliRunner().invoke(build_app(), ["limits", "check", str(path)])
    assert result.exit_code == 0, result.output
    draft = read_draft(path, RiskSettings(_env_file=None))
    assert draft.limits.base.order_quantity_max == 5 and not only_warning(draft.limits)


def test_newer_rules_are_listed() -> None:
    newer = only_warning(parse_limits("[limits]\norder_quantity_max = 5"))
    assert "RISK_SELF_CROSS" in newer and "RISK_HALTED" not in newer


def test_mistakes_and_the_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ceiling = tmp_path / "limits.toml", tmp_path / "ceiling.toml"
    path.write_text("[limits]\norder_quantity_max = -5\n")
    result = CliRunner().invoke(build_app(), ["limits", "check", str(path)])
    assert isinstance(result.exception, ConfigError) and "line 2" in str(result.exception)
    path.write_text("[limits]\norder_quantity_max = 500\n")
    ceiling.write_text("[limits]\norder_quantity_max = 400\n")
    monkeypatch.setenv("RISK_CEILING_FILE", str(ceiling))
    monkeypatch.setenv("RISK_LIMITS_FILE", str(path))
    result = CliRunner().invoke(build_app(), ["limits", "check"])
    assert isinstance(result.exception, ConfigError) and "above the ceiling of 400" in str(result.exception)
    missing = CliRunner().invoke(build_app(), ["limits", "check", str(tmp_path / "none.toml")])
    assert isinstance(missing.exception, ConfigError)

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from copilot_quant.local.scaffold import LIMITS, STRATEGIES, add_strategy, compose_text, make_desk
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import PROFILES
from services.strategy.shell.loader import load_strategies
from shared.errors import BadInput, ConfigError
from tests.support import ROOT, clean_environment


def test_a_new_desk_has_limits_that_risk_reads_and_settings_that_only_its_owner_reads(tmp_path: Path) -> None:
    desk = tmp_path / "my-desk"
    written = make_desk(desk, profile="tiny-live")
    assert {str(path.relative_to(desk)) for path in written} == {
        *("strategies/strategies.toml", "strategies/limits.toml", ".env", "README.md", ".gitignore", "conftest.py"),
        "docker-compose.yml",
    }
    limits = parse_limits((desk / LIMITS).read_text(), source="limits.toml", environment={})
    assert limits.base == PROFILES["tiny-live"]
    assert os.stat(desk / ".env").st_mode & 0o777 == 0o600
    assert load_strategies(desk / STRATEGIES).units == {}


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    make_desk(desk)
    (desk / "strategies" / "strategies.toml").write_text("# mine\n")
    with pytest.raises(BadInput, match="not empty: nothing was written"):
        make_desk(desk)
    add_strategy(desk, "dip", ["AAPL"])
    (desk / "strategies" / "dip.py").write_text("# mine\n")
    with pytest.raises(BadInput, match="dip is there already"):
        add_strategy(desk, "dip", ["AAPL"])
    assert (desk / "strategies" / "dip.py").read_text() == "# mine\n"
    assert (desk / "strategies" / "strategies.toml").read_text().startswith("# mine\n")
    with pytest.raises(BadInput, match="no profile 'huge'"):
        make_desk(tmp_path / "other", profile="huge")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["Dip", "9lives", "manual", "a b", ""])
def test_a_name_that_cannot_be_on_an_order_is_refused(tmp_path: Path, name: str) -> None:
    make_desk(tmp_path / "desk")
    with pytest.raises(BadInput, match="no strategy's name"):
        add_strategy(tmp_path / "desk", name, ["AAPL"])


def test_outside_of_a_desk_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cq init NAME"):
        add_strategy(tmp_path, "dip", ["AAPL"])


def test_a_new_strategy_loads_and_its_own_test_passes(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    make_desk(desk)
    add_strategy(desk, "dip", ["AAPL", "IBM"])
    add_strategy(desk, "big-dip", ["SPY"])
    loaded = load_strategies(desk / STRATEGIES)
    assert (list(loaded.units), loaded.mistakes) == (["dip/AAPL", "dip/IBM", "big-dip/SPY"], {})
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=desk, env=clean_environment(), capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and "4 passed" in run.stdout, run.stdout + run.stderr


def test_the_compose_file_builds_from_the_project_and_mounts_the_desk() -> None:
    text = compose_text(ROOT)
    assert f'context: "{ROOT}"' in text and "./strategies:/strategies:ro" in text
    assert "RISK_LIMITS_FILE: /strategies/limits.toml" in text
    assert compose_text(ROOT / "docs") == ""


def test_the_tables_are_toml(tmp_path: Path) -> None:
    make_desk(tmp_path / "desk")
    add_strategy(tmp_path / "desk", "dip", ["FX:EUR.USD"])
    table = tomllib.loads((tmp_path / "desk" / STRATEGIES).read_text())["strategy"]["dip"]
    assert table["contracts"] == ["FX:EUR.USD"] and table["class"] == "Dip"


def services_in(text: str) -> list[str]:
    """The names of the services of a compose file, by its indentation."""
    rows = text[text.index("\nservices:\n") :].splitlines()[2:]
    end = next((number for number, row in enumerate(rows) if re.match(r"\w", row)), len(rows))
    return [row.strip(" :") for row in rows[:end] if re.fullmatch(r"  [\w-]+:", row)]


def test_the_compose_file_of_a_desk_has_the_services_of_the_project_s_own(tmp_path: Path) -> None:
    make_desk(tmp_path / "desk")
    ours, theirs = (folder / "docker-compose.yml" for folder in (ROOT, tmp_path / "desk"))
    names = services_in(ours.read_text())
    assert {"redis", "guard", "gateway-1", "gateway-2", "risk", "marketdata", "strategy", "monitoring"} <= set(names)
    assert services_in(theirs.read_text()) == names


@pytest.mark.skipif(shutil.which("docker") is None, reason="asks docker compose, which needs no engine for it")
@pytest.mark.parametrize("profile", ["sim", "paper"])
def test_docker_compose_reads_a_desk_s_file_at_the_simulator_and_on_paper(tmp_path: Path, profile: str) -> None:
    desk = tmp_path / "desk"
    make_desk(desk)
    add_strategy(desk, "dip", ["AAPL"])
    more = {"CQ_MODE": "sim"} if profile == "sim" else {"CQ_SIMULATORS": "0", "TWS_USERID": "me"}
    if profile == "paper":
        env = desk / ".env"
        env.write_text(env.read_text().replace("# IB_PAPER_ACCOUNT", "IB_PAPER_ACCOUNT"))
        (desk / "secrets").mkdir()
        (desk / "secrets" / "tws_password.txt").write_text("x")
    done = subprocess.run(
        ["docker", "compose", "--profile", profile, "config", "--format", "json"],
        cwd=desk, env={**clean_environment(), **more}, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    assert services["risk"]["environment"]["RISK_LIMITS_FILE"] == "/strategies/limits.toml"
    mounted = [one["source"] for one in services["strategy"]["volumes"] if one["target"] == "/strategies"]
    assert mounted == [str(desk / "strategies")]
    assert {one["environment"]["CQ_MODE"] for name, one in services.items() if name in ("risk", "gateway-1")} == {
        profile
    }
    assert services["passwords"]["build"]["context"] == str(ROOT)
    assert ("ib-gateway-paper" in services) is (profile == "paper")

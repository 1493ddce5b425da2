from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from copilot_quant.cli.application import build_app
from shared.errors import BadInput
from tests.backtests import quote, write_ticks

CODE = """
from services.strategy.api import Strategy

class Buys(Strategy):
    def on_quote(self, quote):
        self.target_position(quote.contract, 10)
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "buys.py").write_text(CODE)
    write_ticks(tmp_path, "IBM", [quote(at_ms, 9.99, 10.0) for at_ms in range(0, 5000, 100)])
    return tmp_path


def run(desk: Path, *options: str) -> str:
    arguments = ["backtest", str(desk / "buys.py"), "--symbols", "IBM", "--data", str(desk), *options]
    return CliRunner().invoke(build_app(), arguments, catch_exceptions=False).output


def test_figures_are_shown_and_a_page_is_written(desk: Path) -> None:
    said = run(desk, "--html", str(desk / "report.html"), "--commission", "fixed")
    assert "50 events" in said and "final equity" in said and "1 intents, 1 orders" in said
    assert "lightweight" in (desk / "report.html").read_text().lower()


def test_json_is_the_same_each_time_and_nothing_else_is_printed(desk: Path) -> None:
    first, second = run(desk, "--json"), run(desk, "--json")
    assert first == second and json.loads(first)["orders"]["filled"] == 1


def test_what_cannot_be_is_a_sentence(desk: Path) -> None:
    with pytest.raises(BadInput, match="write name=value"):
        run(desk, "--param", "quantity")
    with pytest.raises(BadInput, match="a fraction such as"):
        run(desk, "--commission", "cheap")
    with pytest.raises(BadInput, match="cannot be written"):
        run(desk, "--html", str(desk / "none" / "report.html"))

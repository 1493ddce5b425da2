from __future__ import annotations

from pathlib import Path

import pytest

from copilot_quant.local.chosen import strategies_file_of
from copilot_quant.local.scaffold import add_strategy, make_desk
from services.strategy.shell.loader import load_strategies
from shared.errors import BadInput, ConfigError
from tests.support import ROOT

LONE = """
from services.strategy.api import Quote, Strategy


class QuoteCounter(Strategy):
    def on_quote(self, quote: Quote) -> None:
        pass
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    make_desk(tmp_path / "desk")
    for name in ("dip", "rise"):
        add_strategy(tmp_path / "desk", name, ["AAPL"])
    return tmp_path / "desk" / "strategies"


def test_a_toml_file_is_run_as_it_is(desk: Path, tmp_path: Path) -> None:
    assert strategies_file_of(desk / "strategies.toml", (), tmp_path) == desk / "strategies.toml"


def test_a_python_file_runs_as_it_is_declared_beside_and_alone(desk: Path, tmp_path: Path) -> None:
    made = strategies_file_of(desk / "dip.py", (), tmp_path)
    loaded = load_strategies(made)
    assert (list(loaded.units), loaded.mistakes) == (["dip/AAPL"], {})
    assert loaded.units["dip/AAPL"].strategy.params.model_dump() == {"quantity": 5, "falling": 2}
    other = load_strategies(strategies_file_of(desk / "dip.py", ("IBM", "SPY"), tmp_path))
    assert list(other.units) == ["dip/IBM", "dip/SPY"]


def test_a_python_file_of_its_own_needs_symbols_and_runs_with_defaults(tmp_path: Path) -> None:
    file = tmp_path / "lone.py"
    file.write_text(LONE)
    with pytest.raises(ConfigError, match="--symbols"):
        strategies_file_of(file, (), tmp_path)
    loaded = load_strategies(strategies_file_of(file, ("AAPL",), tmp_path))
    assert (list(loaded.units), loaded.mistakes) == (["quote_counter/AAPL"], {})


def test_a_class_of_the_guides_shape_runs_as_one_unit(tmp_path: Path) -> None:
    file = ROOT / "copilot_quant" / "strategies" / "my_strategy.py"
    loaded = load_strategies(strategies_file_of(file, ("AAPL", "IBM"), tmp_path))
    assert (list(loaded.units), loaded.mistakes) == (["my_strategy/all"], {})
    assert loaded.units["my_strategy/all"].strategy.history == (("1 secs", 30),)


def test_what_cannot_run_is_said_with_file_and_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n")
    with pytest.raises(BadInput, match=r"broken\.py:1: ModuleNotFoundError"):
        strategies_file_of(broken, ("AAPL",), tmp_path)
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(ConfigError, match="no class derived from Strategy, and none with on_data"):
        strategies_file_of(empty, ("AAPL",), tmp_path)
    with pytest.raises(ConfigError, match="there is no"):
        strategies_file_of(tmp_path / "gone.py", (), tmp_path)
    text = tmp_path / "notes.txt"
    text.touch()
    with pytest.raises(ConfigError, match="neither TOML nor Python"):
        strategies_file_of(text, (), tmp_path)

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.strategy.shell.loader import changed_units, load_strategies
from shared.errors import ConfigError
from tests.support import ROOT

CODE = """
from pydantic import BaseModel
from services.strategy.api import Strategy

class Mine(Strategy):
    class Params(BaseModel):
        quantity: int = 1
"""
TABLE = '[strategy.mine]\nfile = "mine.py"\nclass = "Mine"\ncontracts = ["aapl", "SAP@IBIS:EUR"]\n'


def written(folder: Path, toml: str, code: str = CODE) -> Path:
    (folder / "mine.py").write_text(code)
    path = folder / "strategies.toml"
    path.write_text(toml)
    return path


def test_one_unit_per_contract_or_one_for_all(tmp_path: Path) -> None:
    loaded = load_strategies(written(tmp_path, TABLE))
    assert list(loaded.units) == ["mine/AAPL", "mine/SAP@IBIS:EUR"] and not loaded.mistakes
    loaded = load_strategies(written(tmp_path, TABLE + 'per = "all"\nbars = ["5s"]\nparams = { quantity = 3 }\n'))
    unit = loaded.units["mine/all"]
    assert unit.contracts == ("AAPL", "SAP@IBIS:EUR") and unit.strategy.bars == ("5s",)
    assert unit.strategy.params.model_dump() == {"quantity": 3}


def test_a_strategy_that_is_not_enabled_is_left_out(tmp_path: Path) -> None:
    assert not load_strategies(written(tmp_path, TABLE + "enabled = false\n")).units


@pytest.mark.parametrize(
    "toml, code, words",
    [
        (TABLE.replace("mine.py", "other.py"), CODE, ["[strategy.mine]", "file", "other.py"]),
        (TABLE.replace('"Mine"', '"Yours"'), CODE, ["class", "'Yours'", "it has Mine"]),
        (TABLE + "params = { quantity = 'x' }\n", CODE, ["params.quantity", "integer"]),
        (TABLE + "params = { quantitty = 1 }\n", CODE, ["params.quantitty"]),
        (TABLE + 'bars = ["3s"]\n', CODE, ["bars", "'3s'", "1s, 5s"]),
        (TABLE + "speed = 1\n", CODE, ["speed"]),
        (TABLE.replace('"aapl"', '"A A:P:L"'), CODE, ["contracts", "is not a contract name"]),
        (TABLE.replace('"aapl"', '"SAP@IBIS:EUR"'), CODE, ["contracts", "twice"]),
        (TABLE, "x = 1\ny = 1 / 0\n", ["mine.py:2", "ZeroDivisionError"]),
        (TABLE, "x = (\n", ["mine.py:1"]),
        (TABLE.replace("strategy.mine", "strategy.Mine"), CODE, ["[strategy.Mine]", "lower-case"]),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_key_and_stops_only_its_strategy(
    tmp_path: Path, toml: str, code: str, words: list[str]
) -> None:
    (tmp_path / "good.py").write_text(CODE)
    good = TABLE.replace("mine.py", "good.py").replace("strategy.mine", "strategy.good")
    loaded = load_strategies(written(tmp_path, toml + "\n" + good, code))
    assert list(loaded.units) == ["good/AAPL", "good/SAP@IBIS:EUR"]
    (sentence,) = loaded.mistakes.values()
    assert "strategies.toml" in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize("toml", ["[strategy", "strategy = 1\n", "[strategies.x]\n"])
def test_what_is_no_strategies_file_refuses_the_start(tmp_path: Path, toml: str) -> None:
    with pytest.raises(ConfigError, match="STRATEGIES_FILE"):
        load_strategies(written(tmp_path, toml))


def test_a_missing_file_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_strategies(tmp_path / "nothing.toml")


@pytest.mark.parametrize("name", ["strategies.toml", "replay.toml"])
def test_the_shipped_files_load(name: str) -> None:
    loaded = load_strategies(ROOT / "strategies" / name)
    assert not loaded.mistakes and len(loaded.units) >= 4


NEEDS = """
from pydantic import BaseModel
from services.strategy.api import Strategy

class Mine(Strategy):
    class Params(BaseModel):
        quantity: int = 1

    @classmethod
    def history_needs(cls, params):
        return {SIZE: params.quantity * 10}
"""


def test_what_a_strategy_looks_back_on_follows_from_its_parameters(tmp_path: Path) -> None:
    code = NEEDS.replace("SIZE", '"1m"')
    loaded = load_strategies(written(tmp_path, TABLE + 'bars = ["5s"]\nparams = { quantity = 3 }\n', code))
    strategy = loaded.units["mine/AAPL"].strategy
    assert strategy.history == (("1 min", 30),)
    assert strategy.bars == ("5s",) and strategy.reads == ("5s", "1m")


@pytest.mark.parametrize("size, word", [('"5 mins"', "kept up to date"), ("1 / 0", "ZeroDivisionError")])
def test_needs_that_cannot_be_met_stop_only_that_strategy(tmp_path: Path, size: str, word: str) -> None:
    loaded = load_strategies(written(tmp_path, TABLE, NEEDS.replace("SIZE", size)))
    assert not loaded.units
    assert "Mine.history_needs" in loaded.mistakes["mine"] and word in loaded.mistakes["mine"]


def test_an_edit_within_the_same_second_that_keeps_the_size_is_read(tmp_path: Path) -> None:
    """Python's own cache of compiled files would hand out the old code."""
    path = written(tmp_path, TABLE)
    os.utime(tmp_path / "mine.py", (1_700_000_000, 1_700_000_000))
    load_strategies(path)
    (tmp_path / "mine.py").write_text(CODE.replace("quantity: int = 1", "quantity: int = 7"))
    os.utime(tmp_path / "mine.py", (1_700_000_000, 1_700_000_000))
    after = load_strategies(path, fresh=True)
    assert after.units["mine/AAPL"].strategy.params.model_dump() == {"quantity": 7}


def test_a_reload_names_what_changed_and_reads_the_files_again(tmp_path: Path) -> None:
    two = TABLE + TABLE.replace("strategy.mine", "strategy.other").replace("mine.py", "other.py")
    (tmp_path / "other.py").write_text(CODE)
    path = written(tmp_path, two)
    first = load_strategies(path)
    assert changed_units(first, load_strategies(path, fresh=True)) == []
    (tmp_path / "mine.py").write_text(CODE.replace("quantity: int = 1", "quantity: int = 7"))
    second = load_strategies(path, fresh=True)
    assert second.units["mine/AAPL"].strategy.params.model_dump() == {"quantity": 7}
    assert changed_units(first, second) == ["mine/AAPL", "mine/SAP@IBIS:EUR"]
    path.write_text(two.replace('"aapl", ', "", 1))
    assert changed_units(second, load_strategies(path, fresh=True)) == ["mine/AAPL"]


def test_session_rules_are_read_and_wrong_ones_stop_only_that_strategy(tmp_path: Path) -> None:
    loaded = load_strategies(written(tmp_path, TABLE + 'session = "rth"\nlast_entry = "15:45"\nflat_by = "10 min"\n'))
    rules = loaded.units["mine/AAPL"].strategy.rules
    assert rules is not None and (rules.session.value, rules.last_entry, rules.flat_by) == ("rth", "15:45", "10 min")
    for lines, word in (
        ('session = "lunch"\n', "overnight"),
        ('session = "rth"\nflat_by = "soon"\n', "flat_by"),
        ('flat_by = "15:45"\n', "need a session"),
    ):
        loaded = load_strategies(written(tmp_path, TABLE + lines))
        assert not loaded.units and word in loaded.mistakes["mine"]

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from copilot_quant.local.scaffold import make_desk
from tests.unit.copilot_quant.cli.conftest import Typed

Cq = Callable[..., Typed]


def test_a_desk_is_made_once_and_what_comes_next_is_said(cq: Cq, tmp_path: Path) -> None:
    made = cq("init", "my-desk")
    assert made.status == 0 and "wrote my-desk/strategies/strategies.toml" in made.out and "cd my-desk" in made.out
    again = cq("init", "my-desk")
    assert again.status == 65 and "nothing was written" in again.err
    assert (tmp_path / "my-desk" / ".env").is_file()


def test_a_strategy_is_written_with_its_test_and_only_once(cq: Cq, tmp_path: Path) -> None:
    make_desk(tmp_path)
    written = cq("new", "strategy", "dip", "--symbols", "AAPL, IBM", "--json").json["written"]
    assert written == ["strategies/dip.py", "tests/test_dip.py", "strategies/strategies.toml"]
    assert cq("new", "strategy", "dip").status == 65


def test_outside_of_a_desk_a_new_strategy_is_refused(cq: Cq) -> None:
    refused = cq("new", "strategy", "dip")
    assert refused.status == 78 and "cq init" in refused.err

from __future__ import annotations

from pathlib import Path

import pytest

from services.strategy.shell.membership import Membership
from services.strategy.shell.reloading import Reloading
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock

CODE = "from services.strategy.api import Strategy\n\nclass Mine(Strategy):\n    pass\n"
TABLE = '[strategy.mine]\nfile = "mine.py"\nclass = "Mine"\ncontracts = ["AAPL"]\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    path = tmp_path / "strategies.toml"
    path.write_text(TABLE)
    return path


async def test_the_file_is_read_once_for_each_wish_and_never_for_an_old_one(path: Path) -> None:
    membership = Membership(MemoryBus(MemoryServer(), Keys("x")), "a", 1.0, ManualClock(), [])
    reloading = Reloading(path, membership, ManualClock())
    await reloading.step()
    assert reloading.take() is None, "nobody has looked yet"
    membership.reload_wish = "before this worker began"
    await reloading.step()
    assert reloading.take() is None
    membership.reload_wish = "now"
    await reloading.step()
    await reloading.step()
    fresh = reloading.take()
    assert fresh is not None and list(fresh.units) == ["mine/AAPL"]
    assert reloading.take() is None


async def test_a_file_that_is_no_toml_changes_nothing(path: Path) -> None:
    membership = Membership(MemoryBus(MemoryServer(), Keys("x")), "a", 1.0, ManualClock(), [])
    reloading = Reloading(path, membership, ManualClock())
    membership.reload_wish = ""
    await reloading.step()
    path.write_text("[strategy.mine")
    membership.reload_wish = "now"
    await reloading.step()
    assert reloading.take() is None

from __future__ import annotations

from pathlib import Path

import pytest

from services.simulator.core.floor import Save
from services.simulator.shell.store import Store
from shared.errors import ConfigError


def test_what_was_saved_comes_back_in_order(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "new"))
    store.save(
        [Save("account", "a", {"x": 1}), Save("order", "1", {"y": 1}), Save("order", "2", {})], ["{}", '{"a": 1}']
    )
    store.save([Save("order", "1", {"y": 2}), Save("order", "2", None)], [])
    store.close()
    again = Store(str(tmp_path / "new"))
    assert list(again.stored()) == [("order", "1", {"y": 2}), ("account", "a", {"x": 1})]
    assert list(again.ledger_lines()) == ["{}", '{"a": 1}']
    again.close()


def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.save([], ["{}"])
    store.close()
    assert store.ledger_path is not None
    with store.ledger_path.open("a") as lines:
        lines.write('{"seq": 2, "ki')
    again = Store(str(tmp_path))
    assert list(again.ledger_lines()) == ["{}"]
    again.save([], ['{"seq": 2}'])
    assert list(again.ledger_lines()) == ["{}", '{"seq": 2}']
    again.close()


def test_without_a_directory_nothing_is_kept(tmp_path: Path) -> None:
    store = Store("")
    store.save([Save("order", "1", {})], ["{}"])
    assert not list(store.stored()) and not list(store.ledger_lines())
    store.close()


def test_an_unusable_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ConfigError, match="SIM_STATE_DIR"):
        Store(str(path))

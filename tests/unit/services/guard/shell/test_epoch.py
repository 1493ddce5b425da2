from __future__ import annotations

import pytest

from services.guard.core.latch import Halt
from services.guard.shell.epoch import StateDir
from shared.errors import ConfigError
from shared.tws.hello import TradingClaim

CLAIM = TradingClaim(2**62 + 1, "gateway-1", "0f3c:9a")


def test_what_was_saved_is_there_for_the_next_guard(tmp_path):
    first = StateDir(tmp_path / "a" / "b")
    assert first.load_claim() is None
    assert first.load_halt(is_sim=False).is_holding
    first.save_claim(CLAIM)
    first.save_halt(Halt(False, "over", "me", 17))
    first.close()
    second = StateDir(tmp_path / "a" / "b")
    assert second.load_claim() == CLAIM
    assert second.load_halt(is_sim=False) == Halt(False, "over", "me", 17)
    second.close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"epoch": 0, "owner": "a", "incarnation": "b"}', '{"epoch": 1}', "\udcff"]
)
def test_a_damaged_epoch_refuses_the_start_instead_of_starting_from_nothing(tmp_path, text):
    (tmp_path / "epoch.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    store = StateDir(tmp_path)
    with pytest.raises(ConfigError, match="GUARD_STATE_DIR"):
        store.load_claim()
    store.close()


def test_a_damaged_halt_holds(tmp_path):
    (tmp_path / "halt.json").write_bytes(b"\xff\xfe")
    store = StateDir(tmp_path)
    assert store.load_halt(is_sim=True).is_holding
    store.close()


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    store = StateDir(tmp_path)
    store.save_claim(CLAIM)
    monkeypatch.setattr("services.guard.shell.epoch.os.fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        store.save_claim(TradingClaim(2**62 + 2, "x", "y"))
    assert store.load_claim() == CLAIM
    store.close()


def test_two_guards_do_not_share_a_directory(tmp_path):
    store = StateDir(tmp_path)
    with pytest.raises(ConfigError, match="another guard"):
        StateDir(tmp_path)
    store.close()
    StateDir(tmp_path).close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="GUARD_STATE_DIR"):
        StateDir(tmp_path / "file" / "sub")

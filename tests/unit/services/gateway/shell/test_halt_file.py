from __future__ import annotations

from pathlib import Path

import pytest

from services.gateway.core.halt_memory import HaltMemory
from services.gateway.shell.halt_file import HaltFile
from shared.errors import ConfigError

HALTED = HaltMemory(is_halted=True, who="anna", reason="news", at_ns=100, epoch=7)


def test_what_is_kept_is_there_for_the_next_process_and_another_gateway(tmp_path: Path) -> None:
    first, second = HaltFile(tmp_path / "new", "sim"), HaltFile(tmp_path / "new", "sim")
    assert first.load() is None
    first.keep(HALTED)
    second.keep(HaltMemory(is_halted=False, at_ns=50, epoch=9))
    kept = HaltFile(tmp_path / "new", "sim").load()
    assert kept is not None and kept.is_halted and kept.epoch == 9, "an older word does not undo a newer one"
    assert HaltFile(tmp_path / "new", "paper").load() is None
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["halt-sim.json"]


def test_two_containers_with_one_process_id_do_not_write_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    replace = Path.replace

    def noted(path: Path, target: Path) -> Path:
        made.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    for number, host in enumerate(("4f1c.example", "9a02")):
        monkeypatch.setattr("socket.gethostname", lambda name=host: name)
        HaltFile(tmp_path, "sim").keep(HaltMemory(is_halted=True, at_ns=number + 1))
    assert len(set(made)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["halt-sim.json"]


def test_a_damaged_file_is_a_halt_until_a_word_is_kept(tmp_path: Path) -> None:
    (tmp_path / "halt-sim.json").write_bytes(b"\xff\xfe")
    file = HaltFile(tmp_path, "sim")
    damaged = file.load()
    assert damaged is not None and damaged.is_halted
    file.keep(HaltMemory(is_halted=False, at_ns=1))
    again = file.load()
    assert again is not None and not again.is_halted


def test_a_directory_that_cannot_be_used_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="GATEWAY_STATE_DIR"):
        HaltFile(tmp_path / "file", "sim")


def test_a_disk_that_fails_is_not_in_the_way(tmp_path: Path) -> None:
    file = HaltFile(tmp_path / "gone", "sim")
    (tmp_path / "gone").rmdir()
    file.keep(HALTED)
    assert file.load() is None

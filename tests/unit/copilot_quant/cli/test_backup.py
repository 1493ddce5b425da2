from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from copilot_quant.archive import Archive, write_archive
from copilot_quant.cli import backup
from copilot_quant.local.backup import Restored
from shared.settings import BrokerSettings
from tests.unit.copilot_quant.cli.conftest import Typed

Cq = Callable[..., Typed]
ARCHIVE = Archive("sim", {"mode": "sim", "account": "DUSIM0001"}, 1_700_000_000 * 10**9, 7, {"orders": (-1, b"x")})


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The backups that were taken."""
    found: list[Path] = []

    async def take_backup(_: BrokerSettings, __: Path, path: Path) -> Archive:
        found.append(path)
        return ARCHIVE

    monkeypatch.setattr(backup, "take_backup", take_backup)
    return found


def test_a_backup_says_what_is_in_it(taken: list[Path], cq: Cq, tmp_path: Path) -> None:
    done = cq("backup", str(tmp_path / "b.tar.gz"))
    assert done.status == 0 and "sim, taken 2023-11-14" in done.out and "1 keys" in done.out
    assert cq("backup", str(tmp_path / "c.tar.gz"), "--json").json["epoch"] == 7
    assert [path.name for path in taken] == ["b.tar.gz", "c.tar.gz"]


def test_a_backup_overwrites_nothing(taken: list[Path], cq: Cq, tmp_path: Path) -> None:
    (tmp_path / "b.tar.gz").write_text("precious")
    done = cq("backup", str(tmp_path / "b.tar.gz"))
    assert done.status == 78 and "never overwrites" in done.err and not taken


def test_a_restore_says_that_it_starts_halted(cq: Cq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def restore_backup(archive: Archive, _: BrokerSettings, directory: Path) -> Restored:
        assert archive == ARCHIVE and directory == tmp_path / "state"
        return Restored(tmp_path / "redis.before-1", 9)

    monkeypatch.setattr(backup, "restore_backup", restore_backup)
    monkeypatch.setattr(backup, "running_system", lambda: None)
    file = tmp_path / "b.tar.gz"
    write_archive(file, ARCHIVE)
    done = cq("restore", str(file), "--state-dir", str(tmp_path / "state"))
    assert done.status == 0 and "HALTED" in done.out and "redis.before-1" in done.out.replace("\n", "")


def test_a_restore_refuses_a_damaged_file_and_a_running_system(
    cq: Cq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(backup, "running_system", lambda: None)
    (tmp_path / "b.tar.gz").write_text("no archive")
    done = cq("restore", str(tmp_path / "b.tar.gz"))
    assert done.status == 78 and "cannot be read as a backup" in done.err
    monkeypatch.setattr(backup, "running_system", lambda: object())
    assert "stop it first" in cq("restore", str(tmp_path / "b.tar.gz")).err

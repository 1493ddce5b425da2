from __future__ import annotations

import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from copilot_quant.archive import Archive, read_archive, read_state, wanted_keys, write_archive
from shared.bus.keys import Keys
from shared.errors import ConfigError

ARCHIVE = Archive(
    deployment="paper",
    identity={"mode": "paper", "account": "DU1", "id": "paper:paper:DU1"},
    taken_ns=1_700_000_000_000_000_000,
    epoch=7,
    redis={"orders": (-1, b"\x00\xffdump"), "decided:i": (5000, b"x")},
    state={"guard/epoch.json": '{"epoch": 7}', "gateway/halt-paper.json": "{}"},
)


def test_what_is_written_is_read_and_only_its_owner_may(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    write_archive(path, ARCHIVE)
    assert read_archive(path) == ARCHIVE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar.gz"]


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_a_cut_or_changed_archive_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "b.tar.gz"
    write_archive(path, ARCHIVE)
    content = path.read_bytes()
    path.write_bytes(content[:cut] if cut >= 0 else b"PK" + content[2:])
    with pytest.raises(ConfigError, match="cannot be read as a backup"):
        read_archive(path)


def test_an_archive_whose_parts_are_others_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "b.tar.gz", tmp_path / "c.tar.gz"
    write_archive(path, ARCHIVE)
    write_archive(other, replace(ARCHIVE, redis={"orders": (-1, b"other")}))
    with tarfile.open(path) as one, tarfile.open(other) as two, tarfile.open(tmp_path / "mixed", "w:gz") as mixed:
        for tar, names in ((one, ["manifest.json"]), (two, ["redis.msgpack"])):
            for name in names:
                mixed.addfile(tar.getmember(name), tar.extractfile(name))
    with pytest.raises(ConfigError, match="damaged"):
        read_archive(tmp_path / "mixed")


def test_a_missing_file_and_no_archive_at_all_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for name in ("text", "nothing"):
        with pytest.raises(ConfigError):
            read_archive(tmp_path / name)


def test_prices_leases_and_other_deployments_are_left_out() -> None:
    found = [
        "cq:paper:orders", "cq:paper:ledger:i", "cq:paper:fence:gateway", "cq:paper:ticks:0", "cq:paper:last:1",
        "cq:paper:lease:risk", "cq:paper:heartbeat:risk:a", "cq:paper2:orders", "cq:live:orders",
    ]  # fmt: skip
    assert wanted_keys(Keys("paper"), found) == ["cq:paper:orders", "cq:paper:ledger:i", "cq:paper:fence:gateway"]


def test_the_state_of_gateway_and_guard_is_read_where_it_is_there(tmp_path: Path) -> None:
    assert read_state(tmp_path, "paper") == {}
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "epoch.json").write_text("{}")
    (tmp_path / "guard" / "lock").write_text("")
    assert read_state(tmp_path, "paper") == {"guard/epoch.json": "{}"}

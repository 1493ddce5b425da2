from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from copilot_quant.local import ports as module
from copilot_quant.local.ports import FIRST, LAST, RESERVED_PORTS, PortReservations, can_bind, candidates, reserve_ports
from shared.errors import CqError
from tests.support import ROOT, clean_environment, free_port

HOLD = """
import json, sys
from pathlib import Path
from copilot_quant.local.ports import PortReservations
print(json.dumps(PortReservations(Path(sys.argv[1])).reserve(int(sys.argv[2]))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Eight ports of this test alone: neither this process nor another hands them out meanwhile."""
    ours = reserve_ports(8)
    monkeypatch.setattr(module, "candidates", lambda ephemeral: list(ours))
    return ours


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds 500 ports in `tmp_path/lock`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock"), "500"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ports_are_below_the_ephemeral_range_and_never_those_of_a_tws() -> None:
    ports = reserve_ports(20)
    assert len(set(ports)) == 20
    assert all(FIRST <= port <= LAST and port not in RESERVED_PORTS for port in ports)
    assert not set(ports) & set(module._ephemeral())


def test_no_port_is_handed_out_twice() -> None:
    assert free_port() not in reserve_ports(30)
    assert not set(reserve_ports(30)) & set(reserve_ports(30))


def test_a_port_that_somebody_listens_on_is_passed_over(few: list[int], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", few[3]))
        taken.listen()
        assert not can_bind(few[3])
        assert sorted(PortReservations(tmp_path / "lock").reserve(7)) == sorted(set(few) - {few[3]})


def test_processes_with_different_temporary_folders_share_the_locks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = module._lock_file()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert module._lock_file() == before


def test_too_few_are_an_error_and_not_an_endless_search(few: list[int], tmp_path: Path) -> None:
    with pytest.raises(CqError, match="no 9 free ports"):
        PortReservations(tmp_path / "lock").reserve(9)


@pytest.mark.process
def test_a_port_belongs_to_one_process_until_that_process_is_dead(
    holder: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert holder.stdout is not None
    theirs = json.loads(holder.stdout.readline())
    monkeypatch.setattr(module, "candidates", lambda ephemeral: theirs)
    with pytest.raises(CqError, match="no 1 free ports"):
        PortReservations(tmp_path / "lock").reserve(1)
    holder.kill()
    holder.wait(10)
    assert PortReservations(tmp_path / "lock").reserve(1)[0] in theirs


def test_a_kernel_that_uses_the_whole_range_leaves_the_locks_and_the_look() -> None:
    assert candidates(range(1024, 65_536)) == candidates(range(49_152, 65_536))
    assert candidates(range(20_000, 65_536)) == list(range(FIRST, 20_000))

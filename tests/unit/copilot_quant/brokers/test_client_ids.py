from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from copilot_quant.brokers.client_ids import ClientIdNotes


@pytest.fixture
def notes(tmp_path: Path) -> ClientIdNotes:
    return ClientIdNotes(tmp_path / "clients")


def test_who_has_an_id_is_named_until_it_is_given_back(notes: ClientIdNotes, tmp_path: Path) -> None:
    assert notes.holder("127.0.0.1", 7497, 11) == ""
    notes.note("127.0.0.1", 7497, 11)
    assert f"process {os.getpid()}" in notes.holder("127.0.0.1", 7497, 11)
    assert notes.holder("127.0.0.1", 7496, 11) == "" and notes.holder("127.0.0.1", 7497, 12) == ""
    assert (tmp_path / "clients").stat().st_mode & 0o077 == 0
    notes.forget("127.0.0.1", 7497, 11)
    assert notes.holder("127.0.0.1", 7497, 11) == ""


def test_the_dead_hold_nothing(notes: ClientIdNotes, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    notes.note("h", 1, 2)
    (file,) = (tmp_path / "clients").iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": ended.pid}))
    assert notes.holder("h", 1, 2) == ""
    notes.forget("h", 1, 2)
    assert file.exists()  # not ours to remove


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x"}'])
def test_a_note_that_cannot_be_read_names_nobody(notes: ClientIdNotes, tmp_path: Path, text: str) -> None:
    notes.note("h", 1, 2)
    (file,) = (tmp_path / "clients").iterdir()
    file.write_text(text)
    assert notes.holder("h", 1, 2) == ""
    notes.forget("h", 1, 2)


def test_a_folder_that_cannot_be_made_costs_only_the_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notes = ClientIdNotes(tmp_path / "file" / "clients")
    notes.note("h", 1, 2)
    assert notes.holder("h", 1, 2) == ""

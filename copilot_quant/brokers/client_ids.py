"""Remember which of our programs on this machine has which client id, since TWS does not tell (326).

A session writes a small file into a folder of this user and removes it at its end; files of dead processes count for
nothing. Known limit: programs of others, and those on other machines, take no part in this.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from shared.clock import SYSTEM_CLOCK, iso_utc


class ClientIdNotes:
    """The notes of one folder.

    Args:
        folder: made when the first note is written, for its owner's eyes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _file(self, host: str, port: int, client_id: int) -> Path:
        return self._folder / f"{host.replace('/', '_')}_{port}_{client_id}.json"

    def note(self, host: str, port: int, client_id: int) -> None:
        """Write down that this process has the id; a folder that cannot be written only costs the name."""
        content = {
            "pid": os.getpid(),
            "program": Path(sys.argv[0] or "python").name or "python",
            "since": iso_utc(SYSTEM_CLOCK.wall_ns()),
        }
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file(host, port, client_id).write_text(json.dumps(content), encoding="utf-8")
        except OSError:
            return

    def forget(self, host: str, port: int, client_id: int) -> None:
        """Remove this process's note, and no other's."""
        path = self._file(host, port, client_id)
        try:
            if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
                path.unlink()
        except (OSError, ValueError, LookupError, TypeError):
            return

    def holder(self, host: str, port: int, client_id: int) -> str:
        """Return who has the id in words, empty where no living program of ours has it."""
        try:
            content = json.loads(self._file(host, port, client_id).read_text(encoding="utf-8"))
            os.kill(int(content["pid"]), 0)
            return f"{content['program']} (process {content['pid']}, since {content['since'][:19]}Z)"
        except (OSError, ValueError, LookupError, TypeError):
            return ""


NOTES = ClientIdNotes(Path(tempfile.gettempdir()) / f"cq-clients-{os.getuid()}")

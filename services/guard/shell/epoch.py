"""Keep the highest claim and the halt on disk: written whole, synced, replaced in one step.

Invariants:
1. After a call returned, a crash or a power cut leaves the new content; before it, the old one.
2. One guard per directory: a second one is refused by a lock on it.
3. An unreadable epoch refuses the start: guessing it could let an old leader trade.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import IO

from services.guard.core.latch import Halt, restored
from shared.errors import ConfigError
from shared.tws.hello import TradingClaim


class StateDir:
    """The guard's directory; `close` releases it."""

    def __init__(self, path: Path) -> None:
        """Create the directory if needed and lock it.

        Raises:
            ConfigError: it cannot be made, written or locked.
        """
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (path / "lock").open("w", encoding="ascii")
        except OSError as e:
            raise ConfigError(f"GUARD_STATE_DIR: {str(path)!r} cannot be used ({e.strerror}): choose another") from e
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            self._lock.close()
            raise ConfigError(f"GUARD_STATE_DIR: another guard runs on {str(path)!r}: give this one its own") from e

    def close(self) -> None:
        """Release the directory."""
        self._lock.close()

    def load_claim(self) -> TradingClaim | None:
        """Return the highest claim ever admitted, or None at the first start.

        Raises:
            ConfigError: the file is there but cannot be read.
        """
        path = self._path / "epoch.json"
        text = self._read(path)
        if text is None:
            return None
        try:
            values = json.loads(text)
            return TradingClaim(int(values["epoch"]), str(values["owner"]), str(values["incarnation"]))
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(
                f"GUARD_STATE_DIR: {str(path)!r} is damaged. Stop all gateways, delete it, and start the guard again"
            ) from e

    def save_claim(self, claim: TradingClaim) -> None:
        """Put the claim on disk for good.

        Raises:
            OSError: it could not be written; what was there is still there.
        """
        self._write(self._path / "epoch.json", json.dumps(asdict(claim), sort_keys=True))

    def load_halt(self, *, is_sim: bool) -> Halt:
        """Return the halt as it was left; see `latch.restored`."""
        try:
            return restored(self._read(self._path / "halt.json"), is_sim=is_sim)
        except ConfigError:
            return restored("", is_sim=is_sim)

    def save_halt(self, halt: Halt) -> None:
        """Put the halt on disk for good.

        Raises:
            OSError: it could not be written; what was there is still there.
        """
        self._write(self._path / "halt.json", halt.to_json())

    @staticmethod
    def _read(path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"GUARD_STATE_DIR: {str(path)!r} cannot be read ({e})") from e

    def _write(self, path: Path, text: str) -> None:
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        directory = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(directory)  # the new name, too, must survive a power cut
        finally:
            os.close(directory)

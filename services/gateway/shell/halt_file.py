"""Keep the halt on this machine's disk too: written whole, synced, replaced in one step.

Gateways of one deployment may share the directory: the later word wins, and what they write says the same. In
containers they have the same process id, so that files in the making are named after the host, too.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from services.gateway.core.halt_memory import DAMAGED, HaltMemory, memory_of, newer
from shared.errors import ConfigError
from shared.logs import get_logger


class HaltFile:
    """The file of one deployment in the gateway's state directory."""

    def __init__(self, directory: Path, deployment: str) -> None:
        """Create the directory if needed.

        Raises:
            ConfigError: it cannot be made or written.
        """
        self._path = directory / f"halt-{deployment}.json"
        self._known: HaltMemory | None = None
        self._writer = f"{socket.gethostname()}-{os.getpid()}"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._known = self.load()
            probe = directory / f".probe-{self._writer}"
            probe.write_text("")
            probe.unlink(missing_ok=True)
        except OSError as e:
            raise ConfigError(
                f"GATEWAY_STATE_DIR: {str(directory)!r} cannot be used ({e.strerror}): choose another"
            ) from e

    def load(self) -> HaltMemory | None:
        """Return what is kept, None before the first time; what cannot be read counts as halted."""
        try:
            return memory_of(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return DAMAGED

    def keep(self, found: HaltMemory) -> None:
        """Keep a later word, or a higher epoch; what is known already costs nothing.

        A disk that fails is logged and never in the way of a halt: Redis and the guard keep it too.
        """
        if self._known is not None and newer(self._known, found) == self._known:
            return
        kept = newer(self.load(), found)
        try:
            self._write(kept.to_json())
        except OSError as e:
            get_logger().exception("halt_file.not_written", path=str(self._path), error=str(e))
            return
        self._known = kept

    def _write(self, text: str) -> None:
        temporary = self._path.with_suffix(f".new-{self._writer}")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the new name, too, must survive a power cut
        finally:
            os.close(directory)

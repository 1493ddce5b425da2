"""Run the Python blocks of one section in one namespace, as a person would in one session.

`python -m tests.guide.section` reads a JSON list of blocks from standard input and prints a JSON line per block: its
number, outcome (`ran`, `interrupted`, `exit N`, or the error), seconds and output. A block with an endless loop gets
the SIGINT of a Ctrl-C once it has waited inside the loop for a while; one that does not end then ends this process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from typing import Any

MARK = "guide-block "
LIMIT_S = 180.0
WAITED_S = 3.0
STOP_LIMIT_S = 30.0


class Interrupter:
    """Send SIGINT when a block has waited in its endless loop, or when its time is up."""

    def __init__(self, name: str, endless: range | None) -> None:
        self._name, self._endless = name, endless
        self._done = threading.Event()
        self._main = threading.main_thread().ident or 0
        self.was_late = False
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send nothing any more."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        began, waited = time.monotonic(), 0.0
        while not self._done.wait(0.5):
            waited = waited + 0.5 if self._is_in_loop() else 0.0
            self.was_late = time.monotonic() - began > LIMIT_S
            if waited >= WAITED_S or self.was_late:
                os.kill(os.getpid(), signal.SIGINT)
                if not self._done.wait(STOP_LIMIT_S):
                    sys.stderr.write(f"{self._name} does not stop {STOP_LIMIT_S:g} s after its SIGINT\n")
                    sys.stderr.flush()
                    os._exit(3)
                return

    def _is_in_loop(self) -> bool:
        """Say whether the main thread is in the block's own code (`time.sleep` has no frame), within the loop."""
        frame = sys._current_frames().get(self._main)
        return bool(
            frame and self._endless and frame.f_code.co_filename == self._name and frame.f_lineno in self._endless
        )


def run_block(block: dict[str, Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """Run one block; its output is what it printed."""
    said, began = io.StringIO(), time.monotonic()
    name = f"<line {block['line']}>"
    endless = range(*block["endless"]) if block["endless"] else None
    outcome = "ran"
    interrupter = Interrupter(name, endless)
    try:
        with contextlib.redirect_stdout(said):
            for statement in block["borrowed"]:
                exec(statement, namespace)
            exec(compile(block["code"], name, "exec"), namespace)
    except KeyboardInterrupt:
        outcome = "interrupted"
    except SystemExit as e:
        outcome = f"exit {e.code or 0}"
    except Exception as e:
        outcome = f"{type(e).__name__}: {e}"
    finally:
        interrupter.end()
    if interrupter.was_late:
        outcome = f"not ended after {LIMIT_S:g} s"
    seconds = round(time.monotonic() - began, 1)
    return {"number": block["number"], "outcome": outcome, "seconds": seconds, "output": said.getvalue()}


def main() -> None:
    """Run what standard input has."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in json.load(sys.stdin):
        print(MARK + json.dumps(run_block(block, namespace)), flush=True)


if __name__ == "__main__":
    main()

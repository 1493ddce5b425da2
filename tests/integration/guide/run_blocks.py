"""Run the guide's Python blocks one after the other, as a person would in one session; print what each one did.

`python run_blocks.py BLOCKS.md PORT`: one JSON line per block with title, outcome (`ran`, `interrupted`, `exit N` or
the error) and output. A block that has not ended after its time gets the SIGINT of a Ctrl-C. PORT stands in for 7497 in
the one block that names it in code.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"^## (.+?)\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LIMITS_S = {"High Availability Setup": 4.0, "Example 5: Live Strategy Execution": 25.0}
LIMIT_S = 100.0
NAMES_THE_PORT = "Testing Connection"


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Return title and code of every block."""
    return [(found[1], found[2]) for found in BLOCK.finditer(text)]


def run_block(title: str, code: str, namespace: dict[str, Any]) -> dict[str, str]:
    """Run one block; its output is what it printed."""
    said = io.StringIO()
    interrupt = threading.Timer(LIMITS_S.get(title, LIMIT_S), os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    outcome = "ran"
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(code, title, "exec"), namespace)
    except KeyboardInterrupt:
        outcome = "interrupted"
    except SystemExit as e:
        outcome = f"exit {e.code}"
    except Exception as e:
        outcome = f"{type(e).__name__}: {e}"
    finally:
        interrupt.cancel()
    return {"title": title, "outcome": outcome, "output": said.getvalue()}


def main() -> None:
    """Run every block of a file."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for title, code in blocks_of(Path(sys.argv[1]).read_text()):
        code_here = code.replace("7497", sys.argv[2]) if title == NAMES_THE_PORT else code
        print(json.dumps(run_block(title, code_here, namespace)), flush=True)


if __name__ == "__main__":
    main()

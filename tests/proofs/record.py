"""Keep what long proofs have shown, in a file that is committed: one line a run, so that runs of many days add up.

`record.jsonl` holds one JSON object a line: what was run (`proof`), when it began (`began`), at which commit, for how
long, and what came out. A run writes its line only when it is asked to (`--record`, `make … RECORD=1`), before it knows
the result, and writes the line again as it goes on: a run that is killed loses its last minute.

1. A line is known by its proof, its beginning and its seed; no other line is ever changed or taken out.
2. Lines of two branches merge by themselves (`.gitattributes`), in any order.
3. A seed of the simulation that is recorded is not run again by accident: `next_seed`.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import ROOT

RECORD = Path(__file__).parent / "record.jsonl"
WRITTEN_BY_PROOFS = ("tests/proofs/record.jsonl", "docs/reference/proofs.md", "bench/failover.*")
"""What proofs themselves write: it makes no other system of the one that ran."""

Row = dict[str, Any]

OPTION: dict[str, Any] = {
    "nargs": "?", "const": RECORD, "type": Path, "metavar": "FILE",
    "help": f"write what the run shows, whatever that is, into the committed record ({RECORD.relative_to(ROOT)})",
}  # fmt: skip
"""How a command takes `--record`."""


def commit() -> str:
    """Return the commit that runs, with `+` where files of the system differ from it; empty outside of a repository."""
    head = _git("rev-parse", "--short=10", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", *(f":(exclude){name}" for name in WRITTEN_BY_PROOFS))
    return f"{head}+" if head and changes else head


def _git(*command: str) -> str:
    done = subprocess.run(("git", *command), cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def read(path: Path = RECORD) -> list[Row]:
    """Return the rows of all runs, the first to begin first."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows: list[Row] = [json.loads(line) for line in lines if line.strip()]
    return sorted(rows, key=lambda row: str(row["began"]))


def of(rows: Sequence[Row], proof: str) -> list[Row]:
    """Return the rows of one proof."""
    return [row for row in rows if row["proof"] == proof]


def put(row: Row, path: Path = RECORD) -> None:
    """Write a run's row, in the place of the one that it wrote before; two runs that write at once both get theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        others = [one for one in read(path) if _name(one) != _name(row)]
        rows = sorted([*others, row], key=lambda one: str(one["began"]))
        whole = path.with_suffix(".new")  # a run that is killed here leaves the old file or the new one
        whole.write_text("".join(f"{json.dumps(one)}\n" for one in rows), encoding="utf-8")
        whole.replace(path)
    finally:
        os.close(folder)


def _name(row: Row) -> tuple[Any, ...]:
    return row["proof"], row["began"], row.get("seed")


def next_seed(rows: Sequence[Row]) -> int:
    """Return the seed after the highest one that the simulation's recorded runs have run."""
    return max((int(row["to_seed"]) + 1 for row in of(rows, "simulation")), default=0)

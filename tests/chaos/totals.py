"""Keep what every chaos run showed, and say what all of them came to.

`python -m tests.chaos.totals` prints the sums of what `tests.chaos.run` has kept in `.cache/chaos/totals.json`: one row
a run, clean or not, a seed that was run twice twice.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.report import Report
from tests.support import ROOT

TOTALS = Path(".cache/chaos/totals.json")


def commit() -> str:
    """Return the commit that runs, with `+` where files differ from it; empty outside of a repository."""
    command = ("git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def row_of(report: Report) -> dict[str, Any]:
    """Return what is kept of a run."""
    return {
        "seed": report.seed, "commit": report.commit, "began": report.began, "lease_s": report.lease_s,
        "seconds": report.seconds, "faults": len(report.faults),
        "not_carried_out": sum(one["is_error"] for one in report.faults),
        "orders": report.broker.get("orders", 0), "executions": report.broker.get("executions", 0),
        "takeovers": report.takeovers, "lost_by_broker": report.lost_by_broker,
        "findings": {name: len(found) for name, found in report.findings.items()}, "is_clean": report.is_clean,
    }  # fmt: skip


def read(path: Path = TOTALS) -> list[dict[str, Any]]:
    """Return the rows of all runs, the first first."""
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    return found


def add(report: Report, path: Path = TOTALS) -> list[dict[str, Any]]:
    """Add a run and return all rows; two that end at once both get theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [*read(path), row_of(report)]
        path.write_text(json.dumps(rows, indent=1))
    return rows


def lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the sums in lines: of all runs, and of those in which nothing was wrong."""
    clean = [row for row in rows if row["is_clean"]]
    found = Counter[str]()
    for row in rows:
        found.update(row["findings"])
    leases = sorted({row["lease_s"] for row in rows})
    return [
        f"all runs so far: {_sums(rows)}; lease {', '.join(f'{one:g} s' for one in leases)}",
        f"clean ones: {_sums(clean)}",
        *(f"{name.replace('_', ' ')}: {count}" for name, count in found.items()),
        *(f"NOT CLEAN: seed {row['seed']} of {row['commit']}: {_wrong(row)}" for row in rows if not row["is_clean"]),
    ]


def _sums(rows: Sequence[dict[str, Any]]) -> str:
    faults = sum(row["faults"] - row["not_carried_out"] for row in rows)
    orders, executions, takeovers = (sum(row[name] for row in rows) for name in ("orders", "executions", "takeovers"))
    minutes = sum(row["seconds"] for row in rows) / 60
    return (
        f"{len(rows)} runs, {minutes:.0f} min, {faults} faults, {orders} orders at the broker, "
        f"{executions} executions, {takeovers} take-overs"
    )


def _wrong(row: dict[str, Any]) -> str:
    wrong = ", ".join(f"{name} {count}" for name, count in row["findings"].items() if count)
    return wrong or ("it did not come to its end" if not row["findings"] else "nothing was filled")


def main() -> int:
    """Print the sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--file", type=Path, default=TOTALS)
    rows = read(parser.parse_args().file)
    print("\n".join(lines(rows)) if rows else "no run so far")
    return 0 if rows and all(row["is_clean"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Run guides as written: `python -m tests.guide [GUIDE …] [--json]`; exit status 0 only if everything in them works."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.guide.follow import Follower, Row
from tests.guide.place import Place
from tests.support import ROOT

DEFAULT = ROOT / "docs" / "guide.md"


def counts_of(rows: list[Row]) -> dict[str, int]:
    """Return how many pieces there are of each kind, and how many of them do not work."""
    found = Counter({"failed": sum(not row.is_ok for row in rows)})
    for row in rows:
        found[row.kind] += 1
        if row.kind == "command":
            found["command not run"] += row.outcome == "checked"
    return dict(found)


def show(row: Row) -> None:
    """Print a row as it comes."""
    mark = "ok  " if row.is_ok else "FAIL"
    what = " ".join(row.what.split())
    where = f"line {row.line}" if row.line else ""
    print(
        f"{mark} {where:<10} {row.kind:<8} {what[:60]:<60} {row.outcome[:60]} {row.seconds or ''} {row.remark}".rstrip()
    )
    if not row.is_ok and row.output:
        print("     | " + "\n     | ".join(row.output.splitlines()[-40:]))
    sys.stdout.flush()


def follow(
    guide: Path, *, only: str = "", has_free_ports: bool = False, is_quiet: bool = False, is_page: bool = False
) -> list[Row]:
    """Follow a guide and return its rows; `is_page`: its reader has been through the quick start.

    Raises:
        OSError: there is no such file, or its ports are in use.
    """
    text = guide.read_text()
    place = Place(has_free_ports=has_free_ports)
    rows: list[Row] = []
    with contextlib.closing(place):
        place.open()
        if is_page:
            place.write_settings()
        follower = Follower(place, text)
        for row in follower.follow(only):
            rows.append(row)
            if not is_quiet:
                show(row)
        if not only and not is_page:
            for row in follower.modes():
                rows.append(row)
                if not is_quiet:
                    show(row)
    return rows


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="make guide", description=__doc__)
    parser.add_argument("guides", nargs="*", metavar="GUIDE", type=Path, default=[DEFAULT])
    parser.add_argument("--section", default="", help="only sections whose title contains this")
    parser.add_argument("--free-ports", action="store_true", help="any ports instead of 7497 and 7496")
    parser.add_argument("--page", action="store_true", help="pages to read after the quick start: .env is there")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    told: list[dict[str, Any]] = []
    for guide in options.guides:
        try:
            rows = follow(
                guide, only=options.section, has_free_ports=options.free_ports, is_quiet=options.json,
                is_page=options.page,
            )  # fmt: skip
        except OSError as e:
            sys.stderr.write(f"make guide: {e}\n")
            return 69
        told.append({"guide": str(guide), "counts": counts_of(rows), "rows": [asdict(row) for row in rows]})
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        print("\n" + "\n".join(f"{one['guide']}: {_in_words(one['counts'])}" for one in told))
    return 1 if any(one["counts"]["failed"] for one in told) else 0


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())

"""Read what was recorded and write the page of the documentation that says what all of it came to."""

from __future__ import annotations

import json
from pathlib import Path

from bench.failover_report import Sample
from tests.proofs.record import RECORD, Row, read
from tests.proofs.table import Line, as_markdown, lines, remarks
from tests.simulation.mutants import MUTANTS
from tests.support import ROOT

PAGE = ROOT / "docs" / "reference" / "proofs.md"
SAMPLES = ROOT / "bench" / "failover.json"
NOTE = "<!-- written by `make proofs` from tests/proofs/record.jsonl and bench/failover.json -->\n\n"
HEAD = """# What the long proofs have shown

Some proofs need hours: they are run by hand, a part at a time, and each part leaves a line in
`tests/proofs/record.jsonl` when it is asked to (`RECORD=1`): clean or not, with the commit it ran at. This table adds
them up over all commits. What each of them does is in [failover](../explanation/failover.md#how-it-is-tested). All of
it runs against the simulator, none against a real IB.

"""


def now_shown(record: Path = RECORD, samples: Path = SAMPLES) -> tuple[list[Row], list[Line]]:
    """Return the recorded rows and the table."""
    rows = read(record)
    found = json.loads(samples.read_text(encoding="utf-8"))["samples"] if samples.is_file() else []
    return rows, lines(rows, [Sample(**one) for one in found], mutants=list(MUTANTS))


def page() -> str:
    """Return the page."""
    rows, table = now_shown()
    return NOTE + HEAD + as_markdown(table, remarks(rows))


def write_page() -> Path:
    """Write the page, after something was recorded."""
    PAGE.write_text(page(), encoding="utf-8")
    return PAGE.relative_to(ROOT)

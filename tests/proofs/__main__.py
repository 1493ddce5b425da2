"""Show what long proofs have shown so far against what is wanted, and write it into the documentation.

`make proofs`. Exit status 0 only if everything that is wanted was shown.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.proofs.page import now_shown, write_page
from tests.proofs.table import remarks


def main() -> int:
    """Print the table and write the page."""
    rows, table = now_shown()
    shown = Table("proof", "wanted", "shown", "there", show_lines=True)
    for line in table:
        shown.add_row(line.what, line.wanted, line.shown, "yes" if line.is_there else "not yet")
    console = Console()
    console.print(shown)
    for remark in remarks(rows):
        console.print(f"- {remark}", markup=False)
    console.print(f"wrote {write_page()}")
    return 0 if all(line.is_there for line in table) else 1


if __name__ == "__main__":
    sys.exit(main())

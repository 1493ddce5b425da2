"""Print results: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_FILE = 200
"""Columns when the output is no terminal: a table in a log must not be cut to 80."""
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, markup=False)
"""Texts of brokers, strategies and operators are printed as they are: a `[` in them is no markup."""


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: exact numbers stay text."""
    return str(value) if isinstance(value, Decimal | datetime) else value


def print_json(content: object) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(content, default=plain, ensure_ascii=False, indent=1) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table, or the sentence `empty` when it has no rows; numbers are aligned to the right."""
    rows = [list(row) for row in rows]
    if not rows:
        console.print(empty, style="dim")
        return
    table = Table(title=Text(title, style="italic"), title_justify="left", header_style="bold", expand=False)
    for number, column in enumerate(columns):
        is_number = all(isinstance(row[number], int | float | Decimal) or row[number] in ("", None) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*[cell if isinstance(cell, Text) else Text("" if cell is None else str(cell)) for cell in row])
    console.print(table)


def print_rows(
    rows: Sequence[Mapping[str, object]], *, as_json: bool, title: str, columns: Sequence[str], empty: str
) -> None:
    """Print rows of the same shape as JSON or as a table of `columns`."""
    if as_json:
        print_json([{name: plain(value) for name, value in row.items()} for row in rows])
    else:
        print_table(title, columns, [[row.get(column) for column in columns] for row in rows], empty=empty)

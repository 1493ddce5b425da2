from __future__ import annotations

import ast
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.support import (
    LIMITS,
    NEVER_SENT,
    NOTES,
    REFUSED,
    REFUSED_FIELDS,
    request_support,
    support_page,
)
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.support import ROOT
from tests.unit.services.simulator.exchange_support import Driver, order


def made_in_the_simulator() -> set[str]:
    """Return the names that are called or handed out as values anywhere in the simulator's core."""
    names: set[str] = set()
    for path in (ROOT / "services" / "simulator" / "core").glob("*.py"):
        if path.name == "support.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                names.add(called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""))
    return names


def test_what_is_never_sent_is_made_nowhere_and_everything_else_somewhere() -> None:
    made = made_in_the_simulator()
    never = {cls.__name__ for cls in NEVER_SENT}
    everything = {cls.__name__ for cls in rs.RESPONSES.classes}
    assert never <= everything
    assert everything - made == never


def test_every_request_has_a_route_and_one_word_about_it() -> None:
    routed = set(Driver().engine._routes) | {rq.StartApi}
    assert routed == set(rq.REQUESTS.classes)
    assert len({*LIMITS, *REFUSED, *NOTES}) == len(LIMITS) + len(REFUSED) + len(NOTES)
    assert {*LIMITS, *REFUSED, *NOTES} <= set(rq.REQUESTS.classes)
    assert {request_support(cls)[0] for cls in rq.REQUESTS.classes} == {"yes", "with limits", "no"}


def test_the_page_has_a_row_for_every_message() -> None:
    rows = [line for line in support_page().splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(rows) == len(rq.REQUESTS.classes) + len(rs.RESPONSES.classes)
    assert "| 4 | CancelOrder |  | yes |  |" in rows
    assert all(row.count("|") == 6 for row in rows)


@pytest.mark.parametrize(("name", "code"), REFUSED_FIELDS.items())
def test_a_field_that_is_refused_is(name: str, code: int) -> None:
    exchange = Driver()
    exchange.connect(1)
    value: Any = "All" if name.startswith("fa_") else Decimal(1) if name == "nbbo_price_cap" else True
    exchange.place(1, 1, order("BUY", 1, **{name: value}))
    assert (1, code) in exchange.errors(1) and f"| `{name}` | refused: error {code} |" in support_page()

"""A state that does not fit is told with the file and line of its field, and both ways out."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, create_model

from services.strategy.core.saved import StateMisfit
from services.strategy.shell.misfit import explained, line_of


class State(BaseModel):
    seen: int = 0
    names: list[str] = []


HERE = Path(__file__)
LINES = HERE.read_text().splitlines()


def test_the_line_is_the_field_s_own() -> None:
    assert line_of(State, "names") == f"{HERE.name}:{LINES.index('    names: list[str] = []') + 1}"


def test_a_field_that_is_nowhere_is_shown_at_its_model_and_a_model_without_source_not_at_all() -> None:
    assert line_of(State, "gone") == f"{HERE.name}:{LINES.index('class State(BaseModel):') + 1}"
    assert line_of(create_model("Made", __module__="nowhere"), "x") == ""


def test_the_message_says_what_where_and_what_to_do() -> None:
    text = str(explained(StateMisfit("dip/AAPL", State, "names.0", "Input should be a valid string")))
    assert "dip/AAPL does not fit State" in text and "'names.0' (Input should be a valid string)" in text
    assert f"{HERE.name}:" in text and "cq strategies reload" in text and "cq strategies reset dip/AAPL" in text

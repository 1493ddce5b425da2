"""An instance that cannot be made is a sentence with file and line, whatever the user's `__init__` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from services.strategy.api import Strategy
from services.strategy.core.saved import HandlerBlocked, Watched
from services.strategy.shell.loader import Declared
from services.strategy.shell.making import make_strategy
from shared.errors import BadInput

HERE = Path(__file__)
LINES = HERE.read_text().splitlines()


class Entered(Strategy):
    class State(BaseModel):
        seen: int = 0
        entry: float


class Divides(Strategy):
    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.ratio = 1 / params.nothing


class Forgets(Strategy):
    def __init__(self, params: Any) -> None:
        self.params = params


class Validates(Strategy):
    def __init__(self, params: Any) -> None:
        super().__init__(params)
        Other.model_validate({"number": "none"})


class Blocks(Strategy):
    def __init__(self, params: Any) -> None:
        super().__init__(params)
        raise HandlerBlocked("it ran longer than 0.5 s")


class Other(BaseModel):
    number: int


class Nothing(BaseModel):
    nothing: int = 0


def declared(cls: type[Strategy]) -> Declared:
    return Declared("mine", cls, Nothing(), (), str(HERE))


def line_with(text: str) -> str:
    return f":{next(number for number, line in enumerate(LINES, start=1) if line.strip() == text)}"


@pytest.mark.parametrize(
    "cls, line, words",
    [
        (Entered, "entry: float", "Entered.State cannot begin empty at 'entry' (Field required): give the field a def"),
        (Divides, "self.ratio = 1 / params.nothing", "Divides.__init__ raised ZeroDivisionError: division by zero"),
        (Forgets, "class Forgets(Strategy):", "Forgets.__init__ does not call super().__init__(params)"),
        (Validates, 'Other.model_validate({"number": "none"})', "Validates.__init__ raised ValidationError"),
        (Blocks, 'raise HandlerBlocked("it ran longer than 0.5 s")', "Blocks.__init__ blocked: it ran longer"),
    ],
)
def test_what_goes_wrong_is_said_with_its_line(cls: type[Strategy], line: str, words: str) -> None:
    watched = Watched()
    with pytest.raises(BadInput) as caught:
        make_strategy(declared(cls), "mine/IBM", watched)
    said = str(caught.value)
    assert words in said and f"{HERE.name}{line_with(line)}" in said and "\n" not in said
    assert (watched.unit, watched.calls) == ("", 1), "the watchdog saw it begin and end"


def test_one_that_can_be_made_begins_with_an_empty_state() -> None:
    strategy = make_strategy(declared(Strategy))
    assert isinstance(strategy.state, BaseModel) and strategy.params == Nothing()

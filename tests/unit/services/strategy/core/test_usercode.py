"""What user code raises has its line; what it remembers is read back as it was saved, or refused in a sentence."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from services.strategy.api import Quote, Strategy
from services.strategy.core.usercode import UnsavableState, file_of, restored, saved_of, text_of, where_of
from tests.unit.services.strategy.parts import T0, give_quote, save, unit_of


class Remembers(Strategy):
    State = dict

    def on_quote(self, quote: Quote) -> None:
        self.state["seen"] = self.state.get("seen", 0) + 1
        self.state["prices"] = {quote.contract.name: [quote.bid]}


class Quits(Strategy):
    def on_quote(self, quote: Quote) -> None:
        self.buy(quote.contract, 1)
        raise SystemExit("enough")


class Model(BaseModel):
    seen: int = 0


def strategy_of(cls: type[Strategy]) -> Strategy:
    return cls(cls.Params())


def test_a_dict_is_saved_and_there_again_on_another_worker() -> None:
    unit = unit_of(strategy_of(Remembers))
    unit.start(T0, T0)
    save(unit, force=True)
    give_quote(unit)
    commit = save(unit, force=True)
    assert commit is not None and not unit.recent_errors
    other = strategy_of(Remembers)
    unit_of(other).restore(
        commit=commit.number, state=commit.state, timers=commit.timers, cursors={}, past=commit.past or b""
    )
    assert other.state["seen"] == 1 and list(other.state["prices"]) == [unit.contracts[next(iter(unit.contracts))].name]


@pytest.mark.parametrize(
    "state, words",
    [
        ({"at": {265598: 1}}, "self.state['at'] has the key 265598: keys of a dict that is saved are text"),
        ({"last": [1, Decimal("1.5")]}, "self.state['last'][1] is a Decimal"),
        ({"pair": (1, 2)}, "self.state['pair'] is a tuple"),
        ([1, 2], "self.state is of type list: it is saved as a pydantic model or dict"),
    ],
)
def test_what_would_be_read_back_as_something_else_is_refused(state: Any, words: str) -> None:
    with pytest.raises(UnsavableState) as caught:
        saved_of(state)
    assert words in str(caught.value)


def test_a_state_that_cannot_be_saved_pauses_its_unit_and_names_its_file() -> None:
    strategy = strategy_of(Remembers)
    unit = unit_of(strategy)
    unit.start(T0, T0)
    strategy.state = {"at": T0, "who": object()}
    assert save(unit, force=True) is not None
    assert "self.state['who'] is a object" in unit.saved.paused
    assert unit.recent_errors[-1].where == __file__ and unit.recent_errors[-1].event == "saving the state"


def test_models_and_dicts_are_restored_to_their_own_type() -> None:
    assert restored(Model(), {"seen": 3}) == Model(seen=3)
    assert restored({}, {"seen": 3}) == {"seen": 3}
    with pytest.raises(ValidationError):
        restored(Model(), {"seen": "many"})
    assert saved_of(Model(seen=2)) == {"seen": 2}


def test_sys_exit_in_a_handler_is_an_error_like_any_other() -> None:
    unit = unit_of(strategy_of(Quits))
    unit.start(T0, T0)
    save(unit, force=True)
    give_quote(unit)
    (error,) = unit.recent_errors
    line = Path(__file__).read_text().splitlines().index('        raise SystemExit("enough")') + 1
    assert (error.error, error.where) == ("SystemExit: enough", f"{__file__}:{line}")
    assert not unit.outbox.intents


def test_an_error_is_one_line_and_a_class_knows_its_file() -> None:
    assert text_of(ValueError("two\n  lines")) == "ValueError: two lines" and text_of(KeyError()) == "KeyError"
    assert where_of(ValueError()) == "?"
    assert file_of(Remembers) == __file__ and file_of(type("Empty", (), {})) == "?"

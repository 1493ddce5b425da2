"""A mistake in a strategies file is named with its line, the key, what was written, and what may be written."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from services.strategy.api import Strategy
from services.strategy.shell.mistakes import check_models, line_of_table, sentence_of
from shared.errors import BadInput


class Params(BaseModel):
    quantity: int = Field(default=1, ge=1)
    name: str = ""


def said(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Params.model_validate(values, extra="forbid")
    return sentence_of(caught.value, Params)


def test_the_sentence_has_the_key_what_is_wrong_and_what_was_written() -> None:
    assert said(quantity="many").startswith("quantity: Input should be a valid integer")
    assert said(quantity="many").endswith(", not 'many'")
    assert said(quantity=0) == "quantity: Input should be greater than or equal to 1, not 0"
    assert said(quantitty=1) == "quantitty: there is no such key; there are: quantity, name"


@pytest.mark.parametrize("header", ["[strategy.dip]", " [ strategy . dip ] # mine", '[strategy."dip"]'])
def test_the_line_of_a_table_is_found_however_it_is_written(header: str) -> None:
    assert line_of_table(f"# strategies\n[strategy.dip2]\n{header}\n", "dip") == 3
    assert line_of_table("[strategy]\ndip = { file = 'a' }\n", "dip") == 0


def test_params_have_to_be_a_model_and_a_state_a_model_or_a_dict() -> None:
    class Wrong(Strategy):
        class Params:
            pass

    class Odd(Strategy):
        State = int

    class Fine(Strategy):
        State = dict

    check_models(Fine)
    with pytest.raises(BadInput, match=r"test_mistakes\.py:\d+: Wrong\.Params has to be a pydantic model"):
        check_models(Wrong)
    with pytest.raises(BadInput, match=r"Odd\.State has to be a pydantic model or dict"):
        check_models(Odd)

from __future__ import annotations

import pytest

from services.simulator.shell.remote import Remote, parameters_of
from shared.errors import BadInput, BrokerUnavailable
from tests.support import free_port


def test_words_become_parameters() -> None:
    words = ["seconds=3", "abrupt=true", "symbol=AAPL", "codes=[399, 2109]", "pay-after-s=0.5", "text=a=b"]
    assert parameters_of(words) == {
        "seconds": 3, "abrupt": True, "symbol": "AAPL", "codes": [399, 2109], "pay_after_s": 0.5, "text": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize("word", ["seconds", "=3"])
def test_a_word_without_a_name_or_value_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match="write name=value"):
        parameters_of([word])


def test_nobody_there_is_said_with_what_to_do() -> None:
    with pytest.raises(BrokerUnavailable, match="start one with `cq simulator`"):
        Remote("127.0.0.1", free_port()).json("/truth")

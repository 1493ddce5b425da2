"""A `with` block connects and lets go, or raises what `last_error` says."""

from __future__ import annotations

import pytest

from copilot_quant.connecting import Connecting
from shared.errors import BrokerUnavailable


class Session(Connecting):
    def __init__(self, error: str) -> None:
        self.error, self.calls = error, list[str]()

    def connect(self) -> bool:
        self.calls.append("connect")
        self.last_error = self.error
        return not self.error

    def disconnect(self) -> None:
        self.calls.append("disconnect")


def test_a_block_connects_and_lets_go_whatever_happens_in_it() -> None:
    session = Session("")

    def use() -> None:
        with session as same:
            assert same is session and session.calls == ["connect"]
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert session.calls == ["connect", "disconnect"]


def test_what_does_not_connect_raises_its_reason_and_is_not_let_go() -> None:
    session = Session("nobody there")
    with pytest.raises(BrokerUnavailable, match="nobody there"), session:
        pass
    assert session.calls == ["connect"]
    assert str(session.not_connected()) == "not connected: nobody there"
    assert str(Session("").not_connected()) == "not connected: call connect() first"

"""The wire: frames from any cut of the bytes, and a decoder that tells what it cannot read."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Sequence
from typing import Any

import pytest

from services.gateway.ports import SessionListener
from services.gateway.shell.ib_library import load_library
from services.gateway.shell.ib_wire import HEAD, MAX_FRAME_BYTES, Answers, open_wire
from shared.errors import BrokerUnavailable

LIBRARY = load_library(os.environ.get("TEST_LIBRARY") or "ib_insync")
"""The other one is put in by tests/conformance/tws/test_gateway_on_ib_async.py."""


class Session:
    """Where a wire writes to."""

    def __init__(self) -> None:
        self.listener: Any = self
        self.written: list[bytes] = []
        self.told: list[tuple[Any, ...]] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def take_bytes(self, data: bytes) -> None:
        raise AssertionError

    def lost(self, reason: str) -> None:
        raise AssertionError

    def unreadable(self, message_id: int, fields: Sequence[str], error: str) -> None:
        self.told.append((message_id, error))

    def price_tick(self, *values: object) -> None:
        self.told.append(values)


def frame(*fields: object) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode()
    return HEAD.pack(len(body)) + body


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def wire(session: Session) -> Any:
    return open_wire(LIBRARY, Answers(5, "America/New_York"), session)


def test_frames_come_whole_however_the_bytes_are_cut(wire: Any) -> None:
    data = frame(1, "a") + frame(2) + frame(3, "")
    expected = [["1", "a"], ["2"], ["3", ""]]
    assert wire.take_bytes(data) == expected
    assert [made for byte in data for made in wire.take_bytes(bytes([byte]))] == expected


def test_a_frame_without_bound_is_refused(wire: Any) -> None:
    with pytest.raises(BrokerUnavailable, match="no TWS port"):
        wire.take_bytes(HEAD.pack(MAX_FRAME_BYTES + 1))


def test_what_does_not_decode_is_told_and_stops_nothing(wire: Any, session: Session) -> None:
    for fields in (["11", "x"], ["3", "no number"], ["99999", "x"], [], ["word"]):
        wire.decoder.interpret(fields)
    wire.decoder.interpret(["1", "6", "9", "1", "10.5", "3", "0"])
    assert [told[0] for told in session.told[:2]] == [11, 3]
    assert session.told[-1] == (9, 1, 10.5, 3.0)


@pytest.mark.parametrize(
    "module", ["Contract", "Order", "OrderState", "Execution", "ContractDetails", "CommissionReport"]
)
@pytest.mark.parametrize("text", [None, "", "0", "1", "7"])
def test_fields_get_the_types_that_the_library_gives_them(wire: Any, module: str, text: str | None) -> None:
    """Whatever of an object came: nothing (None), an empty text, or a number in each field that is no text."""
    kind = getattr(importlib.import_module(LIBRARY.name), module)
    ours, theirs = kind(), kind()
    for made in (ours, theirs):
        for field in dataclasses.fields(kind):
            if text is not None and type(field.default) in (int, float, bool):
                setattr(made, field.name, text)
    wire.decoder.parse(ours)
    LIBRARY.decoder.parse(wire.decoder, theirs)
    assert vars(ours) == vars(theirs)
    assert [type(value) for value in vars(ours).values()] == [type(value) for value in vars(theirs).values()]


def test_what_is_no_number_where_one_belongs_is_an_error(wire: Any) -> None:
    order = importlib.import_module(LIBRARY.name).Order()
    order.permId = "x"
    with pytest.raises(ValueError, match="invalid literal"):
        wire.decoder.parse(order)


def test_a_group_leaves_in_one_write(wire: Any, session: Session) -> None:
    wire.batch = []
    wire.sendMsg("one\0")
    wire.sendMsg("two\0")
    assert not session.written and len(wire.batch) == 2
    wire.batch = None
    wire.sendMsg("three\0")
    assert session.written == [frame("three")]


def test_a_listener_needs_nothing_more() -> None:
    assert SessionListener().unreadable(1, [], "") is None  # type: ignore[func-returns-value]

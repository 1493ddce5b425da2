from __future__ import annotations

import pytest

from services.guard.core.requests_policy import READ_REQUESTS, may_read, message_id_of
from shared.errors import DecodeError


@pytest.mark.parametrize("payload, number", [(b"3\0", 3), (b"0003\0x", 3), (b"71\x002\0", 71)])
def test_the_message_id_is_the_first_field(payload, number):
    assert message_id_of(payload) == number


@pytest.mark.parametrize(
    "payload", [b"", b"3", b"\0", b"+3\0", b" 3\0", b"-3\0", b"3 \0", b"\xb3\0", b"12345\0", b"\0\0\0\xcb"]
)
def test_what_has_no_message_id(payload):
    with pytest.raises(DecodeError):
        message_id_of(payload)


@pytest.mark.parametrize("number", [0, 3, 4, 14, 15, 19, 21, 58, 65, 66, 69, 71, 72, 73, 109, 203, 9999])
def test_what_is_not_known_to_read_may_not(number):
    assert number not in READ_REQUESTS
    assert not may_read(number, 7)


def test_open_orders_bind_for_client_0():
    assert may_read(5, 1)
    assert not may_read(5, 0)

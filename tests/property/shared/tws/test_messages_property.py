"""A message that was written is read back as it was, at every version; and no bytes at all break the reader."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DecodeError
from shared.tws.connection import BadRequest, ClientConnection, Hello, ProtocolError, ServerConnection, SessionState
from shared.tws.framing import FrameReader, encode_frame
from shared.tws.hello import ClientHello, TradingClaim, encode_hello, parse_hello, split_claim
from shared.tws.layout import REQUESTS, RESPONSES
from shared.tws.requests import Request, StartApi, decode_request, encode_request
from shared.tws.responses import decode_response
from tests.property.shared.tws.messages import SELF_LAID_OUT, VERSIONS, of_message

CASES = [(REQUESTS, cls) for cls in REQUESTS.classes] + [(RESPONSES, cls) for cls in RESPONSES.classes]


@pytest.mark.parametrize("table, cls", CASES, ids=lambda value: getattr(value, "__name__", ""))
@given(data=st.data())
@settings(max_examples=12)
def test_what_is_written_is_read_back(table, cls, data):
    version = data.draw(st.sampled_from(VERSIONS))
    message = data.draw(of_message(cls, version))
    payload = table.encode(message, version)
    again = table.decode(payload, version)
    assert type(again) is cls
    if cls not in SELF_LAID_OUT:
        assert again == message
        assert table.encode(again, version) == payload
    else:  # such a layout reads "0.0000", a price that is not set, as it reads the "0.0" that it writes
        assert table.decode(table.encode(again, version), version) == again


@pytest.mark.parametrize("cls", [cls for cls in REQUESTS.classes if cls in SELF_LAID_OUT], ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_long_requests_keep_everything_their_version_carries(cls, data):
    """Reading is a left inverse of writing on everything that reading can produce."""
    version = data.draw(st.sampled_from(VERSIONS))
    once = REQUESTS.decode(REQUESTS.encode(data.draw(of_message(cls, version)), version), version)
    assert REQUESTS.decode(REQUESTS.encode(once, version), version) == once


@given(payload=st.binary(max_size=400), version=st.sampled_from(VERSIONS))
@settings(max_examples=300)
def test_any_payload_is_a_request_or_a_decode_error(payload, version):
    for decode in (decode_request, decode_response):
        try:
            decode(payload, version)
        except DecodeError:
            pass


@given(data=st.data(), version=st.sampled_from(VERSIONS))
@settings(max_examples=300)
def test_a_broken_message_is_another_message_or_a_decode_error(data, version):
    table, cls = data.draw(st.sampled_from(CASES))
    words = table.encode(data.draw(of_message(cls, version)), version).split(b"\0")
    index = data.draw(st.integers(0, len(words) - 1))
    evil = [
        b"",
        b"x",
        b"-1",
        b"999999999",
        b"1e999",
        b"1e-999999",
        b"nan",
        b"inf",
        b"1" * 5000,
        b"\xff",
        b"\\ud800",
        b"1_0",
    ]
    words[index] = data.draw(st.sampled_from(evil))
    try:
        table.decode(b"\0".join(words), version)
    except DecodeError:
        pass


def _chunks(data: st.DataObject, whole: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@given(payloads=st.lists(st.binary(max_size=50), max_size=6), tail=st.binary(max_size=10), data=st.data())
def test_frames_do_not_depend_on_how_the_bytes_are_cut(payloads, tail, data):
    stream = b"".join(encode_frame(payload) for payload in payloads) + tail
    whole, cut, single = FrameReader(40), FrameReader(40), FrameReader(40)
    expected = whole.receive_data(stream)
    assert [f for chunk in _chunks(data, stream) for f in cut.receive_data(chunk)] == expected
    assert [f for byte in stream for f in single.receive_data(bytes([byte]))] == expected
    assert (cut.error is None) == (whole.error is None) == (single.error is None)
    assert max(whole.pending, cut.pending) <= 44


@given(stream=st.binary(max_size=300), greet=st.booleans(), data=st.data())
@settings(max_examples=300)
def test_any_bytes_give_events_and_the_cut_does_not_matter(stream, greet, data):
    if greet:
        start = encode_frame(encode_request(StartApi(1), 176)) if data.draw(st.booleans()) else b""
        stream = encode_hello(ClientHello(100, 176)) + start + stream
    whole, cut = ServerConnection("20261123 10:00:00 EST"), ServerConnection("20261123 10:00:00 EST")
    events = whole.receive_data(stream)
    assert [e for chunk in _chunks(data, stream) for e in cut.receive_data(chunk)] == events
    assert whole.data_to_send() == cut.data_to_send()
    assert all(isinstance(event, Hello | Request | BadRequest | ProtocolError) for event in events)
    assert not any(isinstance(event, ProtocolError) for event in events[:-1])
    if any(isinstance(event, ProtocolError) for event in events):
        assert whole.state is SessionState.CLOSED
        assert whole.receive_data(b"more") == []


@given(stream=st.binary(max_size=200))
def test_any_bytes_from_a_server_give_events(stream):
    client = ClientConnection()
    client.receive_data(stream)


_names = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=",="), min_size=1, max_size=20)
_claims = st.builds(TradingClaim, st.integers(1, 2**63 - 1), _names, _names)


@given(claim=_claims, before=st.sampled_from(["", "+PACEAPI "]), after=st.sampled_from(["", " +OTHER"]))
def test_a_claim_comes_out_of_the_hello_and_leaves_the_rest(claim, before, after):
    hello = ClientHello(157, 176, before + claim.as_option() + after)
    assert parse_hello(encode_hello(hello)[8:]) == hello
    found, rest = split_claim(hello.options)
    assert found == claim
    assert rest == (before + after.strip()).strip()


@given(payload=st.binary(max_size=60))
def test_any_hello_parses_or_is_a_decode_error(payload):
    for candidate in (payload, b"v157..176 " + payload, b"v157..176 cq.epoch=" + payload):
        try:
            split_claim(parse_hello(candidate).options)
        except DecodeError:
            pass

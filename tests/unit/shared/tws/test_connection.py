from __future__ import annotations

import pytest

from shared.errors import InvariantBroken
from shared.tws.connection import (
    BadRequest,
    ClientConnection,
    Hello,
    ProtocolError,
    ServerConnection,
    ServerHello,
    SessionState,
)
from shared.tws.framing import FrameReader, encode_frame
from shared.tws.hello import ClientHello, encode_hello
from shared.tws.requests import ReqCurrentTime, StartApi, encode_request
from shared.tws.responses import CurrentTime, ErrorMessage, ManagedAccounts, NextValidId

TIME = "20261123 10:00:00 EST"


def frame(*words: str) -> bytes:
    return encode_frame("".join(word + "\0" for word in words).encode())


def started(version: int = 176) -> ServerConnection:
    server = ServerConnection(TIME)
    server.receive_data(encode_hello(ClientHello(100, version)) + frame("71", "2", "5", ""))
    server.data_to_send()
    return server


def test_the_handshake_reply_goes_out_alone():
    server = ServerConnection(TIME)
    assert server.receive_data(b"API\0" + encode_frame(b"v157..176 +PACEAPI")) == [Hello(157, 176, "+PACEAPI", 176)]
    assert server.data_to_send() == frame("176", TIME)
    with pytest.raises(InvariantBroken):
        server.send(NextValidId(1))
    assert server.receive_data(frame("71", "2", "5", "")) == [StartApi(5)]
    assert (server.state, server.client_id) == (SessionState.READY, 5)
    server.send(ManagedAccounts("DUSIM1"), NextValidId(1))
    assert server.data_to_send() == frame("15", "1", "DUSIM1") + frame("9", "1", "1")


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"API\x01", b"63\0", b"\x16\x03\x01"])
def test_another_protocol_ends_the_session(start):
    server = ServerConnection(TIME)
    (event,) = server.receive_data(start)
    assert isinstance(event, ProtocolError)
    assert server.receive_data(b"API\0") == []
    assert server.data_to_send() == b""


@pytest.mark.parametrize("hello", [b"v213..221", b"v1..2", b"v176..157", b"157..176", b"v157..176x", b"\xff", b""])
def test_a_hello_that_cannot_be_served_ends_the_session(hello):
    (event,) = ServerConnection(TIME).receive_data(b"API\0" + encode_frame(hello))
    assert isinstance(event, ProtocolError)


def test_a_hello_longer_than_any_client_sends_ends_the_session_before_it_is_kept():
    (event,) = ServerConnection(TIME).receive_data(b"API\0\x00\x01\x00\x00v")
    assert isinstance(event, ProtocolError)


def test_a_bad_request_is_named_and_the_session_goes_on():
    server = started()
    bad = (
        frame("4", "1", "17")
        + frame("4", "1", "x", "")
        + frame("999", "1")
        + frame("0x", "1")
        + frame("71", "2", "5", "")
    )
    events = server.receive_data(bad + frame("49", "1"))
    assert [(e.message_id, e.request_id, e.is_unknown) for e in events[:-1] if isinstance(e, BadRequest)] == [
        (4, 17, False),
        (4, -1, False),
        (999, -1, True),
        (None, -1, False),
        (71, -1, False),
    ]
    assert events[-1] == ReqCurrentTime()


def test_a_request_before_start_api_is_refused():
    server = ServerConnection(TIME)
    events = server.receive_data(encode_hello(ClientHello(157, 176)) + frame("49", "1"))
    assert isinstance(events[1], BadRequest)
    assert server.state is SessionState.START


def test_a_frame_beyond_the_limit_ends_the_session():
    server = started()
    events = server.receive_data(frame("49", "1") + b"\xff\xff\xff\xff")
    assert [type(event) for event in events] == [ReqCurrentTime, ProtocolError]


def test_a_frame_reader_keeps_only_what_is_incomplete():
    reader = FrameReader()
    assert reader.receive_data(encode_frame(b"ab") + b"\0\0") == [b"ab"]
    assert reader.pending == 2


def test_the_two_sides_understand_each_other():
    server, client = ServerConnection(TIME, cap=170), ClientConnection(ClientHello(157, 176))
    server.receive_data(client.data_to_send())
    assert client.receive_data(server.data_to_send()) == [ServerHello(170, TIME)]
    client.send(StartApi(3))
    client.send(ReqCurrentTime())
    assert server.receive_data(client.data_to_send()) == [StartApi(3), ReqCurrentTime()]
    server.send(CurrentTime(17), ErrorMessage(-1, 2104, "Market data farm connection is OK:usfarm"))
    assert client.receive_data(server.data_to_send()) == [
        CurrentTime(17),
        ErrorMessage(-1, 2104, "Market data farm connection is OK:usfarm"),
    ]


def test_a_client_does_not_send_before_the_hello_is_answered():
    with pytest.raises(InvariantBroken):
        ClientConnection().send(ReqCurrentTime())


def test_requests_carry_their_version_fields():
    assert encode_request(StartApi(5), 176) == b"71\x002\x005\0\0"

from __future__ import annotations

from decimal import Decimal

import pytest

from services.guard.core import gate as g
from services.guard.core.latch import Halt
from shared.tws import requests as q
from shared.tws import responses as r
from shared.tws.contract import ComboLeg, TwsContract
from shared.tws.hello import ClientHello, TradingClaim, encode_hello
from shared.tws.order import TwsOrder
from shared.tws.responses import ErrorMessage, decode_response

OPEN = Halt(is_holding=False)
A = TradingClaim(10, "gateway-1", "inc")
B = TradingClaim(11, "gateway-2", "inc")
ORDER = q.PlaceOrder(7, TwsContract(symbol="AAPL"), TwsOrder("BUY", Decimal(1), "MKT"))
WHAT_IF = q.PlaceOrder(7, TwsContract(symbol="AAPL"), TwsOrder("BUY", Decimal(1), "MKT", what_if=True))


def gate(halt: Halt = OPEN, highest: TradingClaim | None = None) -> g.Gate:
    return g.Gate(frozenset({101, 102}), highest, halt, stored=highest)


def hello(claim: TradingClaim | None = None, versions: str = "v157..176", options: str = "") -> bytes:
    return f"{versions} {options} {claim.as_option() if claim else ''}".rstrip().encode()


def frame(request: q.Request) -> bytes:
    return q.encode_request(request, 176)


def started(it: g.Gate, number: int, client_id: int, claim: TradingClaim | None = None) -> list[g.Effect]:
    it.hello(number, hello(claim))
    it.server_version(number, b"176\x00time\0")
    return it.client_frame(number, frame(q.StartApi(client_id)))


def error_of(effects: list[g.Effect]) -> ErrorMessage:
    (reply,) = [e for e in effects if isinstance(e, g.Reply)]
    error = decode_response(reply.payload, 176)
    assert isinstance(error, ErrorMessage)
    return error


def test_the_claim_is_stripped_and_other_options_stay():
    effects = gate().hello(1, hello(A, options="+PACEAPI"))
    assert effects == [g.Remember(A), g.Open(1, encode_hello(ClientHello(157, 176, "+PACEAPI")))]


def test_a_higher_epoch_cuts_the_lower_before_it_opens():
    it = gate()
    started(it, 1, 101, A)
    effects = it.hello(2, hello(B))
    assert [type(e) for e in effects] == [g.Cut, g.Remember, g.Open]
    assert isinstance(effects[0], g.Cut) and effects[0].session == 1
    assert it.client_frame(1, frame(ORDER)) == []  # what the lower one still sends goes nowhere


@pytest.mark.parametrize(
    "claim",
    [TradingClaim(9, "gateway-1", "inc"), TradingClaim(10, "gateway-2", "inc"), TradingClaim(10, "gateway-1", "x")],
)
def test_a_lower_epoch_or_the_same_of_another_is_refused(claim):
    it = gate(highest=A)
    assert [type(e) for e in it.hello(1, hello(claim))] == [g.Refused, g.Close]
    assert it.sessions == {}
    assert it.highest == A


def test_the_same_leader_may_connect_again_and_replaces_its_own_client_id():
    it = gate()
    started(it, 1, 101, A)
    started(it, 2, 102, A)
    it.stored = A
    assert it.hello(3, hello(A)) == [g.Open(3, encode_hello(ClientHello(157, 176)))]
    it.server_version(3, b"176\x00time\0")
    effects = it.client_frame(3, frame(q.StartApi(101)))
    assert [type(e) for e in effects] == [g.Cut, g.Forward]
    assert sorted(it.sessions) == [2, 3]


def test_a_claim_that_could_not_be_stored_is_stored_at_the_next_try():
    it = gate()
    it.hello(1, hello(A))  # the disk was full: the shell did not set `stored`
    assert g.Remember(A) in it.hello(2, hello(A))


@pytest.mark.parametrize("payload", [b"v157..176 cq.epoch=1", b"hello", b"v213..226", b"v38..150"])
def test_a_hello_that_cannot_be_understood_opens_nothing(payload):
    assert [type(e) for e in gate().hello(1, payload)] == [g.Refused, g.Close]


def test_versions_that_cannot_be_read_here_are_not_offered():
    (effect,) = gate().hello(1, hello(versions="v100..226"))
    assert effect == g.Open(1, encode_hello(ClientHello(157, 200)))


@pytest.mark.parametrize("reply", [b"201\x00time\0", b"x\0t\0", b"", b"-1\0host\0"])
def test_a_broker_that_answers_with_another_version_ends_the_session(reply):
    it = gate()
    it.hello(1, hello())
    assert [type(e) for e in it.server_version(1, reply)] == [g.Close]


def test_trading_client_ids_belong_to_claimed_sessions():
    effects = started(gate(), 1, 101)
    assert [type(e) for e in effects] == [g.Refused, g.Reply, g.Close]
    assert error_of(effects).code == 326
    assert [type(e) for e in started(gate(), 1, 7, A)] == [g.Refused, g.Reply, g.Close]
    assert [type(e) for e in started(gate(), 1, 7)] == [g.Forward]


READS = [q.ReqPositions(), q.ReqOpenOrders(), q.ReqMktData(1, TwsContract(symbol="A")), q.ReqCurrentTime(), q.ReqIds()]
WRITES = [
    ORDER,
    WHAT_IF,
    q.CancelOrder(7),
    q.ReqGlobalCancel(),
    q.ExerciseOptions(7, TwsContract()),
    q.ReqAutoOpenOrders(True),
    q.ReplaceFA(1, "<x/>", 7),
    q.UpdateDisplayGroup(7, "x"),
    q.SetServerLogLevel(5),
]


@pytest.mark.parametrize("request_", READS)
def test_a_session_without_a_claim_may_read(request_):
    it = gate()
    started(it, 1, 7)
    assert it.client_frame(1, frame(request_)) == [g.Forward(1, frame(request_))]


@pytest.mark.parametrize("request_", WRITES)
def test_a_session_without_a_claim_may_not_write_and_stays_open(request_):
    it = gate()
    started(it, 1, 7)
    effects = it.client_frame(1, frame(request_))
    assert [type(e) for e in effects] == [g.Refused, g.Reply]
    error = error_of(effects)
    assert (error.id, error.code) == (
        q.REQUESTS.ids_of(frame(request_))[1],
        201 if isinstance(request_, q.PlaceOrder) else 321,
    )
    assert it.client_frame(1, frame(q.ReqPositions()))


def test_every_request_is_either_read_or_write():
    """A new request class must be put on one side on purpose; unknown ids are writes."""
    from services.guard.core.requests_policy import READ_REQUESTS

    reads = {cls.__name__ for cls in q.REQUESTS.classes if q.REQUESTS.message_id(cls) in READ_REQUESTS}
    writes = {
        "PlaceOrder",
        "CancelOrder",
        "ReqGlobalCancel",
        "ExerciseOptions",
        "ReqAutoOpenOrders",
        "ReplaceFA",
        "UpdateDisplayGroup",
        "SetServerLogLevel",
        "StartApi",
        "VerifyRequest",
        "VerifyMessage",
        "VerifyAndAuthRequest",
        "VerifyAndAuthMessage",
    }
    assert reads | writes == {cls.__name__ for cls in q.REQUESTS.classes}
    assert not reads & writes
    it = gate()
    started(it, 1, 7)
    assert [type(e) for e in it.client_frame(1, b"9999\x001\0")] == [g.Refused, g.Reply]


def test_nothing_rides_behind_a_read_request():
    it = gate()
    started(it, 1, 7)
    effects = it.client_frame(1, frame(q.ReqPositions()) + frame(ORDER))
    assert [type(e) for e in effects] == [g.Refused, g.Reply]


def test_client_0_does_not_bind_manual_orders_through_a_read_session():
    it = gate()
    started(it, 1, 0)
    assert [type(e) for e in it.client_frame(1, frame(q.ReqOpenOrders()))] == [g.Refused, g.Reply]


@pytest.mark.parametrize("payload", [b"", b"x\0", b"\xff\xff\xff\xff", b" 3\0", b"+3\0", b"00003\0"])
def test_a_frame_without_a_message_id_ends_the_session(payload):
    it = gate()
    started(it, 1, 101, A)
    assert [type(e) for e in it.client_frame(1, payload)] == [g.Close]


def test_requests_before_start_api_and_a_second_one_end_the_session():
    it = gate()
    it.hello(1, hello())
    it.server_version(1, b"176\x00time\0")
    assert [type(e) for e in it.client_frame(1, frame(q.ReqPositions()))] == [g.Close]
    started(it, 2, 7)
    assert [type(e) for e in it.client_frame(2, frame(q.StartApi(101)))] == [g.Close]


def test_a_halt_stops_orders_and_lets_cancels_and_questions_pass():
    it = gate(Halt(is_holding=True, reason="storm"))
    started(it, 1, 101, A)
    effects = it.client_frame(1, frame(ORDER))
    assert [type(e) for e in effects] == [g.Refused, g.Reply]
    assert (error_of(effects).id, error_of(effects).code) == (7, 201)
    assert "storm" in error_of(effects).text
    for request in (q.CancelOrder(7), q.ReqGlobalCancel(), WHAT_IF, q.ReqPositions()):
        assert it.client_frame(1, frame(request)) == [g.Forward(1, frame(request))]
    it.halt = OPEN
    assert it.client_frame(1, frame(ORDER)) == [g.Forward(1, frame(ORDER))]


def test_an_order_that_does_not_decode_is_an_order():
    it = gate(Halt(is_holding=True))
    started(it, 1, 101, A)
    assert [type(e) for e in it.client_frame(1, frame(WHAT_IF) + b"extra\0")] == [g.Refused, g.Reply]


def test_a_halt_lets_a_position_be_closed_and_not_turned():
    it = gate(Halt(is_holding=True, reason="storm"))
    started(it, 1, 101, A)
    contract = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK")
    for message in (r.Position("DUSIM1", contract, Decimal(100), 1.0), r.PositionEnd(), r.OpenOrderEnd()):
        it.broker_frame(1, r.encode_response(message, 176))

    def sell(number: int, quantity: int) -> bytes:
        return frame(q.PlaceOrder(number, contract, TwsOrder("SELL", Decimal(quantity), "MKT", account="DUSIM1")))

    assert it.client_frame(1, sell(8, 60)) == [g.Forward(1, sell(8, 60))]
    assert [type(e) for e in it.client_frame(1, sell(9, 41))] == [g.Refused, g.Reply]
    assert it.client_frame(1, sell(9, 40)) == [g.Forward(1, sell(9, 40))]


def test_a_session_beside_begins_anew_what_is_known_only_once_the_broker_lets_it_in():
    it = gate(Halt(is_holding=True, reason="storm"))
    started(it, 1, 101, A)
    contract = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK")
    lists = (r.Position("DUSIM1", contract, Decimal(100), 1.0), r.PositionEnd(), r.OpenOrderEnd())

    def told(number: int, *messages: r.Response) -> None:
        for message in messages:
            it.broker_frame(number, r.encode_response(message, 176))

    def closes(number: int, order_id: int) -> bool:
        terms = TwsOrder("SELL", Decimal(1), "MKT", account="DUSIM1")
        payload = frame(q.PlaceOrder(order_id, contract, terms))
        return it.client_frame(number, payload) == [g.Forward(number, payload)]

    told(1, *lists)
    assert closes(1, 8)
    started(it, 2, 102, A)
    assert closes(1, 9) and not closes(2, 10), "nobody knows yet what the second session is"
    told(2, ErrorMessage(-1, 326, "Unable to connect as the client id is already in use."))
    it.closed(2)
    assert closes(1, 11), "it was refused: nothing has changed"
    started(it, 3, 102, A)
    told(3, r.ManagedAccounts("DUSIM1"), r.NextValidId(1))
    assert not closes(1, 12)
    told(3, *lists)
    assert closes(1, 13) and closes(3, 14)


def test_a_halted_contract_may_only_be_reduced_and_others_go_on():
    it = gate(Halt(is_holding=False, contracts={265598: "anna: news"}))
    started(it, 1, 101, A)
    apple = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK")
    for message in (r.Position("DUSIM1", apple, Decimal(100), 1.0), r.PositionEnd(), r.OpenOrderEnd()):
        it.broker_frame(1, r.encode_response(message, 176))

    def passes(contract: TwsContract, side: str, *, what_if: bool = False) -> bool:
        order = TwsOrder(side, Decimal(60), "MKT", account="DUSIM1", what_if=what_if)
        payload = frame(q.PlaceOrder(8, contract, order))
        effects = it.client_frame(1, payload)
        return effects == [g.Forward(1, payload)]

    assert (
        not passes(apple, "BUY")
        and "265598 is halted: anna: news"
        in error_of(it.client_frame(1, frame(q.PlaceOrder(8, apple, TwsOrder("BUY", Decimal(1), "MKT"))))).text
    )
    assert passes(apple, "BUY", what_if=True) and passes(apple, "SELL")
    assert passes(TwsContract(con_id=9, symbol="IBM", sec_type="STK"), "BUY")
    assert not passes(TwsContract(symbol="IBM", sec_type="STK"), "BUY"), "it may be the halted one by another name"
    combo = TwsContract(
        symbol="AAPL,IBM",
        sec_type="BAG",
        combo_legs=(ComboLeg(9, 1, "BUY", "SMART"), ComboLeg(265598, 1, "SELL", "SMART")),
    )
    assert not passes(combo, "BUY")
    assert it.client_frame(1, frame(q.CancelOrder(7))) == [g.Forward(1, frame(q.CancelOrder(7)))]
    assert [type(e) for e in it.client_frame(1, frame(ORDER) + b"extra\0")] == [g.Refused, g.Reply]
    it.halt = OPEN
    assert passes(apple, "BUY") and passes(combo, "BUY")


def test_an_order_that_was_forwarded_counts_from_the_next_question_on():
    it = gate()
    started(it, 1, 101, A)
    contract = TwsContract(con_id=265598, symbol="AAPL", sec_type="STK")
    for message in (r.Position("DUSIM1", contract, Decimal(100), 1.0), r.PositionEnd(), r.OpenOrderEnd()):
        it.broker_frame(1, r.encode_response(message, 176))

    def sell(number: int, quantity: int) -> bytes:
        return frame(q.PlaceOrder(number, contract, TwsOrder("SELL", Decimal(quantity), "MKT", account="DUSIM1")))

    assert it.client_frame(1, sell(8, 60)) == [g.Forward(1, sell(8, 60))]
    it.halt = Halt(is_holding=True, reason="storm")
    assert [type(e) for e in it.client_frame(1, sell(9, 41))] == [g.Refused, g.Reply]
    assert it.client_frame(1, sell(9, 40)) == [g.Forward(1, sell(9, 40))]
    it.catch_up()
    it.catch_up()
    assert [type(e) for e in it.client_frame(1, sell(10, 1))] == [g.Refused, g.Reply], (
        "nothing was counted twice or lost"
    )


def test_what_a_reading_session_is_told_does_not_count():
    it = gate(Halt(is_holding=True))
    started(it, 1, 101, A)
    started(it, 2, 7)
    it.broker_frame(2, r.encode_response(r.PositionEnd(), 176))
    it.broker_frame(1, b"junk")
    assert it.exposure._has_positions is False

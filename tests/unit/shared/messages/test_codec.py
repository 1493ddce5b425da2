from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import Any, get_args, get_origin

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput, DecodeError, UnknownVersion
from shared.messages import REGISTRY, decode_fields, encode_fields
from shared.messages.codec import MAX_BODY_BYTES, decode_body, encode_body
from shared.messages.market import (
    Tick,
    is_valid_tick,
    pack_ticks,
    pack_valid,
    quote_tick,
    trade_tick,
    unpack_ticks,
)
from shared.messages.orders import Group, Intent, OrderLeg, OrderState, OrderType, Side


def leg_of(quantity: Decimal, limit_price: Decimal) -> OrderLeg:
    return OrderLeg(side=Side.BUY, quantity=quantity, order_type=OrderType.LIMIT, limit_price=limit_price)


def an_intent() -> Intent:
    return Intent(
        ts_init_ns=1_700_000_000_123_456_789,
        intent_id="a" * 20,
        legs=(
            OrderLeg(side=Side.BUY, quantity=Decimal("0.1"), order_type=OrderType.LIMIT, limit_price=Decimal("1.10")),
        ),
        con_id=265598,
        strategy="s",
        account="DUSIM0001",
        valid_until_ns=2,
    )


def test_a_message_comes_back_equal_with_readable_fields_beside_it() -> None:
    fields = encode_fields(an_intent(), source="strategy:w1", epoch=7)
    assert list(fields) == ["type", "key", "id", "source", "epoch", "ts", "body"]
    assert fields["key"] == b"265598" and fields["ts"] == b"2023-11-14T22:13:20.123456Z"
    envelope = decode_fields({name.encode(): value for name, value in fields.items()}, entry_id="1-0", stream="s")
    assert envelope.message == an_intent()
    assert (envelope.source, envelope.epoch) == ("strategy:w1", 7)
    decoded = envelope.message
    assert isinstance(decoded, Intent)
    assert str(decoded.legs[0].limit_price) == "1.10"


def test_release_n_reads_what_the_one_before_wrote_and_refuses_a_newer_one() -> None:
    content = msgpack.unpackb(encode_body(an_intent()))
    content["added_later_with_a_default"] = 1
    assert decode_body("intent", msgpack.packb(content)) == an_intent()
    content["v"] = Intent.VERSION + 1
    with pytest.raises(UnknownVersion, match="upgrade"):
        decode_body("intent", msgpack.packb(content))


@pytest.mark.parametrize(
    "body, words",
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (msgpack.packb([1]), "not a map"),
        (msgpack.packb({"x": 1}), "no usable version"),
        (msgpack.packb({"v": 1}), "does not fit its model"),
        (b"x" * (MAX_BODY_BYTES + 1), "over the limit"),
    ],
)
def test_a_bad_body_is_one_sentence(body: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        decode_body("intent", body)


@given(kind=st.sampled_from([*REGISTRY, "nonsense"]), body=st.binary(max_size=200))
def test_no_body_raises_anything_but_bad_input(kind: str, body: bytes) -> None:
    try:
        decode_body(kind, body)
    except BadInput:
        pass


@given(fields=st.dictionaries(st.sampled_from([b"type", b"body", b"source", b"epoch"]), st.binary(max_size=20)))
def test_no_fields_raise_anything_but_bad_input(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(BadInput):
        decode_fields(fields)


def leg(**changes: object) -> dict[str, object]:
    return {"side": "BUY", "quantity": 1, "order_type": "MKT", **changes}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"legs": [leg(limit_price=1)]}, "takes no limit price"),
        ({"legs": [leg(order_type="STP")]}, "needs stop price"),
        ({"legs": [leg(quantity=0)]}, "greater than 0"),
        ({"legs": [leg(quantity="NaN")]}, "finite"),
        ({"legs": [leg(), leg(leg=1)]}, "exactly one leg"),
        ({"legs": [leg(), leg(leg=1)], "group": "bracket"}, "names leg 0"),
        ({"legs": [leg(leg=1)]}, "count 0, 1"),
        ({"action": "modify"}, "names one intent"),
        ({"intent_id": "short"}, "at least 20"),
    ],
)
def test_an_intent_that_does_not_hang_together_is_refused(changes: dict[str, object], words: str) -> None:
    content = {**an_intent().model_dump(mode="json"), **changes, "v": 1}
    with pytest.raises(DecodeError, match=words.replace("needs stop price", "needs")):
        decode_body("intent", msgpack.packb(content))


def test_a_bracket_names_its_parent() -> None:
    legs = [leg(), leg(leg=1, parent_leg=0, order_type="LMT", limit_price="2"), leg(leg=2, parent_leg=0)]
    content = {**an_intent().model_dump(mode="json"), "legs": legs, "group": "bracket", "v": 1}
    decoded = decode_body("intent", msgpack.packb(content))
    assert isinstance(decoded, Intent) and decoded.group is Group.BRACKET


def test_every_state_says_whether_it_is_final() -> None:
    working = {"claimed", "pending", "working", "cancel_pending", "inactive", "unknown"}
    assert {state.value for state in OrderState if not state.is_final} == working


FLOATS = st.floats(allow_nan=False)


@given(
    ticks=st.lists(
        st.builds(
            Tick,
            *[st.integers(0, 2**63 - 1)] * 3,
            st.integers(0, 255),
            st.integers(0, 255),
            st.integers(0, 65535),
            st.just(0),
            FLOATS,
            FLOATS,
            FLOATS,
            FLOATS,
        )
    )
)
def test_ticks_come_back_exactly(ticks: list[Tick]) -> None:
    assert list(unpack_ticks(pack_ticks(ticks))) == ticks


def test_a_torn_batch_is_refused() -> None:
    with pytest.raises(DecodeError, match="whole number"):
        unpack_ticks(b"x" * 65)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "tick, is_valid",
    [
        (quote_tick(1, 1, 1, 1, 10.0, 1, 10.01, 1), True),
        (quote_tick(1, 1, 1, 1, NAN, 0, 10.01, 1), True),
        (quote_tick(1, 1, 1, 1, INF, 0, 10.01, 1), False),
        (quote_tick(0, 1, 1, 1, 10.0, 1, 10.01, 1), False),
        (quote_tick(1, 1, 1, 1, 10.0, -1, 10.01, 1), False),
        (trade_tick(1, 1, 1, 1, 10.0, 0), True),
        (trade_tick(1, 1, 1, 1, 0.0, 1), False),
        (trade_tick(1, 1, 1, 1, NAN, 1), False),
        (trade_tick(1, -1, 1, 1, 1.0, 1), False),
    ],
)
def test_which_ticks_may_enter(tick: Tick, is_valid: bool) -> None:
    assert is_valid_tick(tick) is is_valid
    assert pack_valid([tick]) == (pack_ticks([tick] * is_valid), not is_valid)


STRANGE = st.one_of(st.floats(0.01, 1e6), st.sampled_from([0.0, -0.0, -1.0, NAN, INF, -INF, 5e-324, 1.7e308]))
NEARLY_VALID = st.builds(
    Tick, st.sampled_from([265598, 256, 1, 0, -1]), st.sampled_from([7, 0, -1]), st.just(7),
    st.sampled_from([0, 1, 2, 3]), st.just(1), st.just(0), st.just(0), STRANGE, STRANGE, STRANGE, STRANGE,
)  # fmt: skip


@given(st.lists(NEARLY_VALID, max_size=5), st.integers(0, 20))
def test_what_may_not_enter_is_left_out_and_counted(ticks: list[Tick], sound: int) -> None:
    batch = [*ticks, *[quote_tick(265598, 1, 1, 1, 10.0, 1, 10.01, 1)] * sound]
    valid = [tick for tick in batch if is_valid_tick(tick)]
    assert pack_valid(batch) == (pack_ticks(valid), len(batch) - len(valid))


def sample(annotation: Any) -> Any:
    """Return a value of a field's type, as odd as the type allows."""
    if annotation in (str, int, bool):
        return {str: "ü\n", int: (1 << 63) + 1, bool: True}[annotation]
    if annotation is Decimal:
        return Decimal("1E+3")
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        return (sample(inner[0]), sample(inner[0]))
    if origin is not None:  # X | None
        return sample(inner[0])
    if issubclass(annotation, Enum):
        return list(annotation)[-1]
    return annotation.model_construct(**{name: sample(one.annotation) for name, one in annotation.model_fields.items()})


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_message_is_written_as_its_model_dumps_it(name: str) -> None:
    cls = REGISTRY[name]
    message = sample(cls)
    assert msgpack.unpackb(encode_body(message)) == {**message.model_dump(mode="json"), "v": cls.VERSION}
    nothing: dict[str, Any] = dict.fromkeys(cls.model_fields)
    empty = cls.model_construct(**nothing)
    assert set(msgpack.unpackb(encode_body(empty)).values()) == {None, cls.VERSION}


def test_a_message_that_cannot_travel_leaves_nothing_for_the_next_one() -> None:
    bad = an_intent().model_copy(update={"reason": object()})
    with pytest.raises(TypeError, match="a object cannot travel"):
        encode_body(bad)
    assert decode_body("intent", encode_body(an_intent())) == an_intent()

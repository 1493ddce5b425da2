"""A short run of the fuzzer (`make fuzz` runs a long one), and proof that it would see what it looks for."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.tws.requests import decode_request, encode_request
from tests.fuzz import codec
from tests.fuzz.mutate import Mutator, requests, responses


def test_a_short_run_breaks_nothing() -> None:
    counts: Counter[str] = Counter()
    codec.codec(99, 60, counts)
    codec.streams(99, 100, counts)
    codec.exchange(99, 100, counts)
    assert counts["requests"] == counts["responses"] == 60 * 9
    assert counts["requests that were messages"] > 20
    assert counts["requests to an exchange"] == 300


def test_a_decoder_that_raises_something_else_is_reported_with_its_input() -> None:
    def decode(payload: bytes, version: int) -> object:
        return decode_request(payload, version) if len(payload) < 50 else payload[len(payload)]

    mutator = Mutator(1, requests(176))
    long = next(payload for payload in iter(mutator.next, b"") if len(payload) >= 50)
    with pytest.raises(codec.Broken, match=long.hex()):
        codec.check_payload(decode, encode_request, long, 176)


def test_the_corpus_is_good_and_the_mutations_follow_from_the_seed() -> None:
    corpus = [*requests(200), *responses(200)]
    assert all(decode_request(payload, 200) for payload in requests(200))
    one, two, other = Mutator(3, corpus), Mutator(3, corpus), Mutator(4, corpus)
    made = [one.next() for _ in range(50)]
    assert made == [two.next() for _ in range(50)]
    assert made != [other.next() for _ in range(50)]

"""Make bad input out of good: a corpus of every message at several server versions, and seeded mutations of it."""

from __future__ import annotations

from services.simulator.core.chance import Chance
from shared.tws.contract import ComboLeg, TwsContract
from shared.tws.order import TwsOrder
from shared.tws.requests import REQUESTS, PlaceOrder, encode_request
from shared.tws.responses import RESPONSES, encode_response
from tests.conformance.tws.distinct import Values, distinct

VERSIONS = (157, 163, 166, 170, 176, 178, 186, 194, 200)
EVIL = (
    b"", b"0", b"1", b"-1", b"2147483647", b"-2147483648", b"9223372036854775807", b"99999999999999999999", b"1e308",
    b"1e-400", b"1e999999", b"nan", b"inf", b"Infinity", b"0x10", b"1_000", b"\xff\xfe", b"\\ud800", b"\\U0010ffff",
    b"%s%n", b"../../etc/passwd", b"A" * 5000, "\u0661".encode(), b"BAG", b"200000", b"v157..176", b"API",
)  # fmt: skip
AAPL = TwsContract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")


def requests(version: int) -> list[bytes]:
    """Return one frame's payload of every request, a good contract in each that has one, and a few orders."""
    made = []
    for cls in REQUESTS.classes:
        if cls is PlaceOrder:
            continue
        values = Values()
        names = getattr(cls, "__annotations__", {})
        given = {"contract": AAPL} if "contract" in names else {}
        if hasattr(cls, "write_fields"):
            request = cls(**given, **({"req_id": 5} if "req_id" in names else {}))
        else:
            request = values.of_class(cls, None, **given)
        made.append(encode_request(request, version))
    legs = (ComboLeg(1, 1, "BUY", "SMART"), ComboLeg(2, 1, "SELL", "SMART"))
    combination = TwsContract(symbol="SPY", sec_type="BAG", exchange="SMART", currency="USD", combo_legs=legs)
    plain = TwsOrder(action="BUY", order_type="MKT")
    for number, (contract, order) in enumerate(
        ((AAPL, plain), (combination, plain), (AAPL, Values().order("PEG BENCH")), (AAPL, Values().order("LMT")))
    ):
        made.append(encode_request(PlaceOrder(number + 1, contract, order), version))
    return made


def responses(version: int) -> list[bytes]:
    """Return one frame's payload of every response."""
    return [encode_response(each, version) for each in distinct() if RESPONSES.since(type(each)) <= version]


class Mutator:
    """Change good payloads for the worse, by a seed."""

    def __init__(self, seed: int, corpus: list[bytes]) -> None:
        self._chance = Chance(seed)
        self._corpus = corpus

    def next(self) -> bytes:
        """Return the next payload: one of the corpus with one to four changes, sometimes plain noise."""
        chance = self._chance
        if chance.unit() < 0.02:
            return bytes(chance.below(256) for _ in range(chance.below(200)))
        payload = self._corpus[chance.below(len(self._corpus))]
        for _ in range(1 if chance.unit() < 0.6 else 1 + chance.below(4)):
            payload = self._change(payload)
        return payload

    def _change(self, payload: bytes) -> bytes:
        chance, words = self._chance, payload.split(b"\0")
        place = chance.below(len(words))
        kind = chance.below(8)
        if kind == 0:
            words[place] = EVIL[chance.below(len(EVIL))]
        elif kind == 1:
            del words[place]
        elif kind == 2:
            words.insert(place, EVIL[chance.below(len(EVIL))])
        elif kind == 3:
            words[place], words[-1] = words[-1], words[place]
        elif kind == 4:
            other = self._corpus[chance.below(len(self._corpus))].split(b"\0")
            words[place:] = other[chance.below(len(other)) :]
        elif kind == 5 and payload:
            at = chance.below(len(payload))
            return payload[:at] + bytes([payload[at] ^ (1 << chance.below(8))]) + payload[at + 1 :]
        elif kind == 6 and payload:
            return payload[: chance.below(len(payload))]
        else:
            words = words[:place] + words[place : place + 3] * (1 + chance.below(40)) + words[place:]
        return b"\0".join(words)

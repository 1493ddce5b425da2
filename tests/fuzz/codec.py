"""Feed the codec, both ways, and a running exchange with mutated messages, and count them.

`python -m tests.fuzz.codec [--seconds 60] [--seed 1]`. It ends with the counts, or with the input that broke something
in hex. What must hold: a payload decodes or is a `DecodeError`; what decoded encodes again; a stream gives events; an
exchange answers the client that behaves, whatever the others send, and does not grow.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable

from services.simulator.core.chance import Chance
from services.simulator.core.floor import CloseSession
from shared.errors import DecodeError
from shared.tws.connection import ServerConnection
from shared.tws.framing import encode_frame
from shared.tws.hello import ClientHello, encode_hello
from shared.tws.requests import ReqCurrentTime, StartApi, decode_request, encode_request
from shared.tws.responses import CurrentTime, decode_response, encode_response
from tests.fuzz.mutate import VERSIONS, Mutator, requests, responses
from tests.unit.services.simulator.exchange_support import Driver

BATCH = 500
MAX_TIMERS = 20_000


class Broken(Exception):
    """An input did what no input may do."""

    def __init__(self, what: str, version: int, payload: bytes, cause: BaseException | str) -> None:
        super().__init__(f"{what} at {version}: {cause!r}: {payload.hex()}")


def check_payload(
    decode: Callable[[bytes, int], object], encode: Callable[..., bytes], payload: bytes, version: int
) -> bool:
    """Decode one payload; return whether it was a message.

    Raises:
        Broken: anything but a message or a `DecodeError`, or a message that cannot be encoded.
    """
    try:
        message = decode(payload, version)
    except DecodeError:
        return False
    except Exception as e:
        raise Broken(decode.__name__, version, payload, e) from e
    try:
        encode(message, version)
    except Exception as e:
        raise Broken(encode.__name__, version, payload, e) from e
    return True


def codec(seed: int, count: int, counts: Counter[str]) -> None:
    """Try payloads in both directions."""
    for version in VERSIONS:
        for name, corpus, decode, encode in (
            ("requests", requests(version), decode_request, encode_request),
            ("responses", responses(version), decode_response, encode_response),
        ):
            mutator = Mutator(seed * 1000 + version, corpus)
            for _ in range(count):
                is_message = check_payload(decode, encode, mutator.next(), version)
                counts[name] += 1
                counts[f"{name} that were messages"] += is_message


def streams(seed: int, count: int, counts: Counter[str]) -> None:
    """Try whole sessions as bytes, cut anywhere, with lengths that lie now and then."""
    chance = Chance(seed)
    mutator = Mutator(seed, requests(176))
    for _ in range(count):
        connection = ServerConnection("20261123 10:00:00 EST", max_request=1 << 16)
        stream = encode_hello(ClientHello(100, 200)) + encode_frame(encode_request(StartApi(1), 200))
        for _ in range(chance.below(6)):
            frame = encode_frame(mutator.next()[: 1 << 16])
            stream += bytes([chance.below(256)]) + frame[1:] if chance.unit() < 0.05 else frame
        try:
            while stream:
                size = 1 + chance.below(len(stream))
                connection.receive_data(stream[:size])
                stream = stream[size:]
        except Exception as e:
            raise Broken("ServerConnection", 200, stream, e) from e
        counts["streams"] += 1


def exchange(seed: int, count: int, counts: Counter[str]) -> None:
    """Let two sessions send bad requests and one ask the time: it is answered each time."""
    for version in (157, 176, 200):
        driver = Driver(tick_rate=2.0, seed=seed)
        good = driver.connect(1, version)
        bad = [driver.connect(2, version), driver.connect(3, version)]
        codecs = {session: _ready(version) for session in bad}
        mutator = Mutator(seed * 7 + version, requests(version))
        for index in range(count):
            session, payload = bad[index % 2], mutator.next()
            try:
                for event in codecs[session].receive_data(encode_frame(payload[: 1 << 16])):
                    driver.ask(session, event)
                if index % 20 == 0:
                    driver.run(0.5)
                    answer = driver.ask(good, ReqCurrentTime())
                    assert any(isinstance(each, CurrentTime) for each in answer), "the good client was not answered"
                    for sent in driver.sent.values():
                        for each in sent:
                            encode_response(each, version)
                        sent.clear()
            except Exception as e:
                raise Broken("the exchange", version, payload, e) from e
            counts["requests to an exchange"] += 1
        assert not any(isinstance(each, CloseSession) for each in driver.effects)
        waiting = len(driver.engine.floor._timers)
        assert waiting < MAX_TIMERS, f"{waiting} timers wait"


def _ready(version: int) -> ServerConnection:
    connection = ServerConnection("20261123 10:00:00 EST", cap=version)
    connection.receive_data(
        encode_hello(ClientHello(100, version)) + encode_frame(encode_request(StartApi(2), version))
    )
    return connection


def main() -> int:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    end, seed = time.monotonic() + options.seconds, options.seed
    while time.monotonic() < end:
        codec(seed, BATCH, counts)
        streams(seed, BATCH, counts)
        exchange(seed, BATCH, counts)
        seed += 1
    for name, number in sorted(counts.items()):
        print(f"{name}: {number}")
    print(f"seeds {options.seed} to {seed - 1}, nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main())

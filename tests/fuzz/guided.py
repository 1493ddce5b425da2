"""Fuzz the codec with coverage as the guide: `pip install atheris` first (Linux; it is no dependency of ours), then

    python -m tests.fuzz.guided requests|responses|streams [-runs=100000] [a folder to keep the corpus in]

An input is two bytes that choose the server version, and a payload; for streams, all bytes after a good hello.
"""

from __future__ import annotations

import sys
from typing import Any

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports(include=["shared.tws"]):
    from shared.tws.connection import ServerConnection
    from shared.tws.hello import ClientHello, encode_hello
    from shared.tws.requests import decode_request, encode_request
    from shared.tws.responses import decode_response, encode_response

from tests.fuzz.codec import check_payload
from tests.fuzz.mutate import VERSIONS

HELLO = encode_hello(ClientHello(100, 200))


def one_request(data: bytes) -> None:
    """Try a request."""
    check_payload(decode_request, encode_request, data[2:], VERSIONS[sum(data[:2]) % len(VERSIONS)])


def one_response(data: bytes) -> None:
    """Try a response."""
    check_payload(decode_response, encode_response, data[2:], VERSIONS[sum(data[:2]) % len(VERSIONS)])


def one_stream(data: bytes) -> None:
    """Try what follows a hello."""
    ServerConnection("20261123 10:00:00 EST", cap=200, max_request=1 << 16).receive_data(HELLO + data)


TARGETS: dict[str, Any] = {"requests": one_request, "responses": one_response, "streams": one_stream}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()

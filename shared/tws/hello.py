"""Read and write the first bytes of a session: `API` and NUL, then a frame with the versions the client speaks.

The frame is `v<min>..<max>`, or `v<min>` if both are the same, and after a blank the connect options. There is no
final NUL in it. The trading session of this system puts a claim among the options:

    v157..176 cq.epoch=1732358400000000,cq.owner=gateway-1,cq.incarnation=0f3c...

which the guard reads, checks and strips: TWS never sees it (architecture §4, the guard). Options stand apart by
blanks, as in `+PACEAPI cq.epoch=...`.

Source: ib-facts B.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import DecodeError
from shared.tws.framing import encode_frame

API_PREFIX = b"API\0"
MAX_HELLO = 4096
"""Bytes in the hello's frame; the clients' own have some ten."""
_CLAIM_PREFIX = "cq."
_VERSIONS = re.compile(r"v([0-9]{1,4})(?:\.\.([0-9]{1,4}))?(?: (.*))?", re.DOTALL)
_NAME = re.compile(r"[!-+\--<>-~]{1,200}")  # printable ASCII but blank, comma and the equals sign
_CLAIM = re.compile(r"cq\.epoch=([1-9][0-9]{0,18}),cq\.owner=([^,=]+),cq\.incarnation=([^,=]+)")
_MAX_EPOCH = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers: the versions it speaks, both included, and its connect options."""

    min_version: int
    max_version: int
    options: str = ""


@dataclass(frozen=True, slots=True)
class TradingClaim:
    """A gateway's claim to be the leader: its epoch, its name, and the incarnation of the order-flow server.

    Raises:
        ValueError: the epoch is not in 1..2^63-1, or a name is empty, too long, or not plain printable ASCII.
    """

    epoch: int
    owner: str
    incarnation: str

    def __post_init__(self) -> None:
        """Refuse what could not be read back."""
        if not 1 <= self.epoch <= _MAX_EPOCH:
            raise ValueError(f"the epoch of a trading claim is {self.epoch}, not in 1..2^63-1")
        for label, name in (("owner", self.owner), ("incarnation", self.incarnation)):
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"the {label} of a trading claim is {name[:40]!r}, not 1 to 200 printable ASCII characters"
                    " without blank, comma and equals sign"
                )

    def as_option(self) -> str:
        """Return the claim as a connect option, for `ib.client.setConnectOptions` of the gateway's session."""
        return f"cq.epoch={self.epoch},cq.owner={self.owner},cq.incarnation={self.incarnation}"


def parse_hello(payload: bytes) -> ClientHello:
    """Return what the hello's frame offers.

    Raises:
        DecodeError: it is not a hello.
    """
    try:
        text = payload.decode("ascii")
    except UnicodeDecodeError as e:
        raise DecodeError("the hello is not ASCII") from e
    match = _VERSIONS.fullmatch(text.rstrip("\0"))
    if match is None:
        raise DecodeError(f"the hello is {text[:40]!r}, not v<min>..<max> and options")
    lowest = int(match[1])
    highest = int(match[2]) if match[2] else lowest
    if lowest > highest:
        raise DecodeError(f"the hello offers versions {lowest} to {highest}")
    return ClientHello(lowest, highest, match[3] or "")


def encode_hello(hello: ClientHello) -> bytes:
    """Return the session's first bytes: `API`, NUL, and the hello's frame."""
    options = f" {hello.options}" if hello.options else ""
    return API_PREFIX + encode_frame(f"v{hello.min_version}..{hello.max_version}{options}".encode("ascii"))


def split_claim(options: str) -> tuple[TradingClaim | None, str]:
    """Return the claim among the connect options, if there is one, and the options without it.

    Raises:
        DecodeError: an option starts like a claim but is none, or there are two.
    """
    words = options.split(" ")
    claims = [word for word in words if word.lower().startswith(_CLAIM_PREFIX)]
    rest = " ".join(word for word in words if word and word not in claims)
    if not claims:
        return None, rest
    match = _CLAIM.fullmatch(claims[0])
    if len(claims) > 1 or match is None:
        raise DecodeError(f"the trading claim {' '.join(claims)[:80]!r} is malformed")
    try:
        return TradingClaim(int(match[1]), match[2], match[3]), rest
    except ValueError as e:
        raise DecodeError(str(e)) from e

"""Decide who may trade: sessions in, what to forward, cut and refuse out.

Invariants (each has a property test):
1. Once a session of epoch n was opened upstream, no byte of a lower epoch goes upstream any more; every lower session
   is cut, and the new epoch is on disk, before the first byte of the higher one is forwarded.
2. A session without a claim forwards read requests only, and only such as decode exactly: nothing rides behind them.
3. While the latch holds, all or the order's contract, no placeOrder passes but what-if questions and what can only
   reduce (see `exposure`); cancels always pass.
4. The claim never goes upstream.
5. Trading client ids are opened by claimed sessions only, and claimed sessions open no others.
6. One that the broker refuses (326) beside another takes nothing away from what is known to reduce.

Effects are carried out in their order and without a pause between them; that order is the barrier.

Known limits: bytes that the broker's machine has received of a cut session may still be read by it; the trading client
id being in use (326) is the fence behind this one. What a session offers is cut down to the server versions whose
layouts are known here (157 to 200): a frame that could not be read could hide an order. Clients that speak only newer
ones (protobuf, from 201: rust-ibapi 3) cannot come through a guard.

Source: architecture §4 (the guard, halt), ib-facts A.1, A.4, B.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.guard.core.exposure import WATCHED, Exposure
from services.guard.core.latch import Halt
from services.guard.core.requests_policy import CANCEL_ORDER, PLACE_ORDER, START_API, may_read, message_id_of
from shared.errors import DecodeError
from shared.tws import versions
from shared.tws.fields import split_fields
from shared.tws.hello import ClientHello, TradingClaim, encode_hello, parse_hello, split_claim
from shared.tws.layout import REQUESTS
from shared.tws.requests import PlaceOrder, StartApi, decode_request
from shared.tws.responses import ErrorMessage, decode_response, encode_response

SessionId = int

ERROR = 4
"""Message id of an error, by which the broker refuses a client id."""
REJECTED = 201
VALIDATION_FAILED = 321
CLIENT_ID_IN_USE = 326
_NAMES = {REQUESTS.message_id(cls): cls.__name__ for cls in REQUESTS.classes}


@dataclass(frozen=True, slots=True)
class Remember:
    """Put the highest claim on disk, for good, before going on."""

    claim: TradingClaim


@dataclass(frozen=True, slots=True)
class Cut:
    """Abort both sides of a session at once; bytes not yet sent are thrown away."""

    session: SessionId
    reason: str


@dataclass(frozen=True, slots=True)
class Open:
    """Connect upstream and send these bytes as the session's first."""

    session: SessionId
    first_bytes: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """Send a frame upstream."""

    session: SessionId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Send a frame to the client, as if the broker had."""

    session: SessionId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is left to the client, then close both sides."""

    session: SessionId
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Count and log a refusal; nothing to do for the session."""

    session: SessionId
    kind: str
    text: str


Effect = Remember | Cut | Open | Forward | Reply | Close | Refused


@dataclass(slots=True)
class _Session:
    claim: TradingClaim | None
    version: int = 0
    client_id: int | None = None
    is_beside: bool = False
    """A trading session beside another one that the broker has not let in yet: until then nothing is begun anew."""
    is_ended: bool = False
    """Nothing is forwarded any more; it stays known until its sockets are gone, so that it can still be cut."""


@dataclass(slots=True)
class Gate:
    """All sessions of one guard; the shell tells it what happens and carries out what it returns."""

    trading_client_ids: frozenset[int]
    highest: TradingClaim | None
    halt: Halt
    stored: TradingClaim | None = None
    """What the disk holds; the shell sets it after each `Remember`, so that a failed one is tried again."""
    _exposure: Exposure = field(default_factory=Exposure)
    _unread: list[tuple[int, bytes, int]] = field(default_factory=list)
    """Orders that were forwarded while no halt holds and not counted yet: client id, frame, server version."""
    _sessions: dict[SessionId, _Session] = field(default_factory=dict)

    @property
    def sessions(self) -> dict[SessionId, TradingClaim | None]:
        """Return the open sessions and their claims."""
        return {number: session.claim for number, session in self._sessions.items()}

    def hello(self, number: SessionId, payload: bytes) -> list[Effect]:
        """Admit or refuse a new session by the frame of its hello."""
        try:
            hello = parse_hello(payload)
            claim, options = split_claim(hello.options)
        except DecodeError as e:
            return [Refused(number, "hello", str(e)), Close(number, str(e))]
        lowest, highest = max(hello.min_version, versions.MIN_SUPPORTED), min(hello.max_version, versions.MAX_SUPPORTED)
        if lowest > highest:
            text = (
                f"the client speaks server versions {hello.min_version} to {hello.max_version}, the guard reads"
                f" {versions.MIN_SUPPORTED} to {versions.MAX_SUPPORTED}"
            )
            return [Refused(number, "hello", text), Close(number, text)]
        effects: list[Effect] = []
        if claim is not None:
            if (refusal := self._refusal(claim)) is not None:
                return [Refused(number, "claim", refusal), Close(number, refusal)]
            self.highest = claim
            effects += self._cut_lower(claim)
            if claim != self.stored:
                effects.append(Remember(claim))
        self._sessions[number] = _Session(claim)
        first_bytes = encode_hello(ClientHello(lowest, highest, options))
        return [*effects, Open(number, first_bytes)]

    def server_version(self, number: SessionId, payload: bytes) -> list[Effect]:
        """Take the broker's answer to the hello; clients' frames before it cannot be read."""
        session = self._sessions.get(number)
        if session is None or session.is_ended:
            return []
        try:
            word = split_fields(payload)[0]
        except DecodeError:
            word = ""
        known = range(versions.MIN_SUPPORTED, versions.MAX_SUPPORTED + 1)
        if not (word.isascii() and word.isdigit() and len(word) <= 4 and int(word) in known):
            return self._end(
                number, f"the broker answers with server version {word[:20]!r}, which nobody here can read"
            )
        session.version = int(word)
        return [Reply(number, payload)]

    def client_frame(self, number: SessionId, payload: bytes) -> list[Effect]:
        """Decide about one frame of a client."""
        session = self._sessions.get(number)
        if session is None or session.is_ended:
            return []  # cut while the frame was on its way
        if not session.version:
            return self._end(number, "a request came before the handshake was over")
        try:
            message_id = message_id_of(payload)
        except DecodeError as e:
            return self._end(number, str(e))
        if message_id == START_API:
            return self._start_api(number, session, payload)
        if session.client_id is None:
            return self._end(number, "a request came before START_API")
        if session.claim is None:
            return self._reading_frame(number, session, session.client_id, payload, message_id)
        return self._trading_frame(number, session, session.client_id, payload, message_id)

    def _reading_frame(
        self, number: SessionId, session: _Session, client_id: int, payload: bytes, message_id: int
    ) -> list[Effect]:
        text = "this session may only read: orders go through the leader's trading session"
        if may_read(message_id, client_id):
            try:
                decode_request(payload, session.version)
                return [Forward(number, payload)]
            except DecodeError as e:
                text = f"malformed: {e}"
        return self._refuse(number, session, payload, message_id, text)

    def _trading_frame(
        self, number: SessionId, session: _Session, client_id: int, payload: bytes, message_id: int
    ) -> list[Effect]:
        if message_id == PLACE_ORDER:
            if not self.halt.is_holding and not self.halt.contracts:
                self._unread.append((client_id, payload, session.version))
                return [Forward(number, payload)]
            order = _order_of(payload, session.version)
            passes = not session.is_beside and self._passes_halt(client_id, order)
            if (text := self._why_held(order)) and not passes:
                return self._refuse(number, session, payload, message_id, text)
            if order is not None:
                self.exposure.sent(client_id, order)
        return [Forward(number, payload)]

    def catch_up(self) -> None:
        """Count the orders that were forwarded unread; the shell calls this when their bytes have left."""
        unread, self._unread = self._unread, []
        for client_id, payload, version in unread:
            order = _order_of(payload, version)
            if order is not None:
                self._exposure.sent(client_id, order)

    @property
    def exposure(self) -> Exposure:
        """Return what is known of positions and working orders, every forwarded order counted."""
        if self._unread:
            self.catch_up()
        return self._exposure

    def broker_frame(self, number: SessionId, payload: bytes) -> None:
        """Look at a frame of the broker after it was forwarded: positions and orders of trading sessions count."""
        session = self._sessions.get(number)
        if session is None or session.claim is None or session.client_id is None:
            return
        try:
            message_id = message_id_of(payload)
            if session.is_beside:
                self._let_in(session, session.client_id, message_id)
            if message_id in WATCHED:
                self.exposure.observe(decode_response(payload, session.version))
        except DecodeError:
            return  # what is not known is not a reduction

    def closed(self, number: SessionId) -> None:
        """Forget a session whose sockets are gone."""
        self._sessions.pop(number, None)

    def _refusal(self, claim: TradingClaim) -> str | None:
        highest = self.highest
        if highest is None or claim.epoch > highest.epoch or claim == highest:
            return None
        if claim.epoch < highest.epoch:
            return f"epoch {claim.epoch} of {claim.owner} is lower than {highest.epoch} of {highest.owner}"
        return f"epoch {claim.epoch} belongs to {highest.owner}, not to {claim.owner} (or to another incarnation)"

    def _why_held(self, order: PlaceOrder | None) -> str:
        """Return why an order may only reduce now, nothing if it may pass."""
        if self.halt.is_holding:
            return f"trading is halted: {self.halt.reason}"
        if order is None:
            return "it cannot be read, and a contract is halted"
        contract = order.contract
        con_ids = [leg.con_id for leg in contract.combo_legs] if contract.sec_type == "BAG" else [contract.con_id]
        for con_id in con_ids or [0]:
            if not con_id:
                return "it does not name its contract by id, and a contract is halted"
            if con_id in self.halt.contracts:
                return f"contract {con_id} is halted: {self.halt.contracts[con_id]}"
        return ""

    def _passes_halt(self, client_id: int, order: PlaceOrder | None) -> bool:
        return order is not None and (order.order.what_if or self.exposure.reduces(client_id, order))

    def _cut_lower(self, claim: TradingClaim) -> list[Effect]:
        lower = [n for n, s in self._sessions.items() if s.claim is not None and s.claim != claim]
        for number in lower:
            del self._sessions[number]
        return [Cut(number, f"epoch {claim.epoch} of {claim.owner} has taken over") for number in lower]

    def _start_api(self, number: SessionId, session: _Session, payload: bytes) -> list[Effect]:
        client_id = _start_api_client_id(payload, session.version)
        if client_id is None or session.client_id is not None:
            return self._end(number, "START_API is malformed or came twice")
        is_trading = client_id in self.trading_client_ids
        if is_trading != (session.claim is not None):
            text = (
                f"client id {client_id} is kept for the leader's trading session"
                if is_trading
                else f"client id {client_id} is not one of the trading client ids, which a claimed session must use"
            )
            refusal = _error(session.version, -1, CLIENT_ID_IN_USE, f"Unable to connect: {text}")
            return [Refused(number, "client_id", text), Reply(number, refusal), *self._end(number, text)]
        session.client_id = client_id
        # The same leader coming back for its own id: its older connection, perhaps half dead, must not block it (326).
        effects: list[Effect] = []
        if session.claim is not None:
            twins = [n for n, s in self._sessions.items() if n != number and s.claim and s.client_id == client_id]
            for twin in twins:
                del self._sessions[twin]
                effects.append(Cut(twin, f"its owner has connected again with client id {client_id}"))
            session.is_beside = bool(self._others(client_id))
            if not session.is_beside:
                self.exposure.session_started(client_id, frozenset())
        return [*effects, Forward(number, payload)]

    def _others(self, client_id: int) -> frozenset[int]:
        """Return the client ids of the other trading sessions."""
        ids = (session.client_id for session in self._sessions.values() if session.claim is not None)
        return frozenset(other for other in ids if other is not None and other != client_id)

    def _let_in(self, session: _Session, client_id: int, message_id: int) -> None:
        """Begin anew once the broker's first word shows that it took the client id: a refusal (326) changes nothing."""
        if message_id != ERROR:
            session.is_beside = False
            self.exposure.session_started(client_id, self._others(client_id))

    def _refuse(self, number: SessionId, session: _Session, payload: bytes, message_id: int, text: str) -> list[Effect]:
        name = _NAMES.get(message_id, f"message {message_id}")
        refused = Refused(
            number, "order" if message_id in (PLACE_ORDER, CANCEL_ORDER) else "request", f"{name}: {text}"
        )
        subject = REQUESTS.ids_of(payload)[1]
        if message_id == PLACE_ORDER:
            answer = _error(session.version, subject, REJECTED, f"Order rejected - reason:guard: {text}")
        else:
            cause = f"Error validating request.-'guard' : cause - {name}: {text}"
            answer = _error(session.version, subject, VALIDATION_FAILED, cause)
        return [refused, Reply(number, answer)]

    def _end(self, number: SessionId, reason: str) -> list[Effect]:
        self._sessions[number].is_ended = True
        return [Close(number, reason)]


def _order_of(payload: bytes, version: int) -> PlaceOrder | None:
    """Return the order of a placeOrder frame, or None if it does not decode."""
    try:
        request = decode_request(payload, version)
    except DecodeError:
        return None
    return request if isinstance(request, PlaceOrder) else None


def _start_api_client_id(payload: bytes, version: int) -> int | None:
    try:
        request = decode_request(payload, version)
    except DecodeError:
        return None
    return request.client_id if isinstance(request, StartApi) and request.client_id >= 0 else None


def _error(version: int, subject: int, code: int, text: str) -> bytes:
    return encode_response(ErrorMessage(subject, code, text), version)

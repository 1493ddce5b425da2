"""The guard as a process: its real core between simulated wires, its disk, its control, its crashes.

The shell's rules are kept: effects in order with nothing in between, `Remember` before the first byte upstream, a halt
acknowledged only after it stands. A crash cuts every session; the disk stays unless the fault takes it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.gateway.core.evidence import BrokerError
from services.guard.core import latch
from services.guard.core.gate import Close, Cut, Effect, Forward, Gate, Open, Refused, Remember, Reply
from services.guard.core.latch import Halt
from shared.tws.hello import API_PREFIX, TradingClaim
from shared.tws.requests import PlaceOrder
from shared.tws.responses import ErrorMessage, decode_response
from tests.simulation.broker_model import Broker
from tests.simulation.broker_records import VERSION, seen_request
from tests.simulation.disk import Disk
from tests.simulation.kernel import US, Process, World
from tests.simulation.wire import End, Wire


@dataclass
class _Pair:
    client: End
    upstream: End | None = None


class GuardModel:
    """One guard process and what it relays."""

    def __init__(self, world: World, broker: Broker, disk: Disk, process: Process, trading_ids: frozenset[int]) -> None:
        self.world = world
        self.process = process
        self.disk = disk
        self._broker = broker
        self.gate = Gate(trading_ids, disk.claim, latch.restored(disk.halt, is_sim=True), stored=disk.claim)
        self._pairs: dict[int, _Pair] = {}
        self._number = 0
        self.on_forward: list[Callable[[TradingClaim | None, bytes], None]] = []
        self.wires: list[Wire] = []

    def accept(self, client: Process) -> Wire | None:
        """Take a connection."""
        if not self.process.is_alive or not self._broker.is_up:
            return None
        wire = Wire(self.world, client, self.process)
        self.wires = [each for each in self.wires if each.is_open]
        self.wires.append(wire)
        self._number += 1
        number = self._number
        self._pairs[number] = _Pair(wire.far)
        is_greeted = False

        def take(payload: bytes) -> None:
            nonlocal is_greeted
            if number not in self._pairs:
                return
            if is_greeted:
                self._carry_out(self.gate.client_frame(number, payload))
            else:
                is_greeted = True
                self._carry_out(self.gate.hello(number, payload))

        wire.far.on_item = take
        wire.far.on_closed = lambda: self._forget(number)
        return wire

    def _forget(self, number: int) -> None:
        pair = self._pairs.pop(number, None)
        if pair is not None and pair.upstream is not None:
            pair.upstream.close()
        self.gate.closed(number)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._carry_one(effect)

    def _carry_one(self, effect: Effect) -> None:
        if isinstance(effect, Remember):
            self.disk.claim = effect.claim
            self.gate.stored = effect.claim
            return
        pair = self._pairs.get(effect.session)
        if pair is None or isinstance(effect, Refused):
            return
        if isinstance(effect, Cut):
            self._abort(effect.session, pair)
        elif isinstance(effect, Open):
            self._open(effect.session, pair, effect.first_bytes)
        elif isinstance(effect, Forward):
            self._forward(effect, pair)
        elif isinstance(effect, Reply):
            self._reply(pair, effect.payload)
        elif isinstance(effect, Close):
            pair.client.close()
            self._forget(effect.session)

    def _abort(self, number: int, pair: _Pair) -> None:
        del self._pairs[number]
        for end in (pair.upstream, pair.client):
            if end is not None:
                end.abort()

    def _forward(self, effect: Forward, pair: _Pair) -> None:
        claim = self.gate.sessions.get(effect.session)
        for act in self.on_forward:
            act(claim, effect.payload)
        if pair.upstream is not None:
            pair.upstream.send(effect.payload)

    def cut(self, number: int) -> None:
        """Cut a session, as its core would say."""
        self.gate.closed(number)
        self._carry_one(Cut(number, "cut"))

    def _open(self, number: int, pair: _Pair, first_bytes: bytes) -> None:
        if not self._broker.is_up:
            pair.client.close()
            self._forget(number)
            return
        wire = Wire(self.world, self.process, None, usual_ns=60 * US)
        self._broker.connect(wire.far)
        pair.upstream = wire.near

        def down(item: tuple[Any, ...]) -> None:
            if number not in self._pairs:
                return
            if item[0] == "version":
                self._carry_out(self.gate.server_version(number, f"{item[1]}\0x\0".encode()))
            else:
                pair.client.send(item)

        def closed() -> None:
            if number in self._pairs:
                pair.client.close()
                self._forget(number)

        wire.near.on_item, wire.near.on_closed = down, closed
        wire.near.send(first_bytes[len(API_PREFIX) + 4 :])

    @staticmethod
    def _reply(pair: _Pair, payload: bytes) -> None:
        if payload[:4].startswith(str(VERSION).encode()):
            pair.client.send(("version", VERSION))
            return
        message = decode_response(payload, VERSION)
        if isinstance(message, ErrorMessage):
            pair.client.send(("error", BrokerError(message.id, message.code, message.text)))

    # -- control

    def control(self, path: str, body: dict[str, str] | None) -> dict[str, object]:
        """Answer one request of the control endpoint; runs in the guard's process."""
        said = body or {}
        who, reason = said.get("who", ""), said.get("reason", "")
        now = self.gate.halt
        if path == "/halt":
            self._change(latch.halted(now, reason=reason, who=who, at_ns=self.process.wall_ns()))
        elif path == "/resume":
            self._change(latch.resumed(now, reason=reason, who=who, at_ns=self.process.wall_ns()))
        elif path == "/halt/contract":
            self._change(latch.contract_halted(now, int(said["con_id"]), reason=reason, who=who))
        elif path == "/resume/contract":
            self._change(latch.contract_resumed(now, int(said["con_id"])))
        highest = self.gate.highest
        return {"epoch": highest.epoch if highest else 0, "holding": self.gate.halt.is_holding}

    def _change(self, halt: Halt) -> None:
        self.gate.halt = halt
        self.disk.halt = halt.to_json()


def order_in(payload: bytes) -> PlaceOrder | None:
    """Return the order in a frame, if it is one."""
    if not payload.startswith(b"3\0"):
        return None
    request = seen_request(payload, VERSION)
    return request if isinstance(request, PlaceOrder) else None

"""`cq` as it is typed, against a bus in memory with what a test puts there, and a gateway and risk of a few lines."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.cli import main
from copilot_quant.desk import Desk
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import SYSTEM_CLOCK
from shared.messages import decode_fields
from shared.messages.account import PositionReport, PositionShare
from shared.messages.base import Message
from shared.messages.codec import decode_body, encode_body
from shared.messages.control import Control, ControlAction, PositionMove
from shared.messages.market import ContractInfo
from shared.messages.orders import Decision, Fill, Intent, OrderEvent, OrderState, Side
from shared.messages.requests import ContractAnswer, ContractQuery
from shared.settings import BrokerSettings, Mode

APPLE = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
ACCOUNTS = {Mode.SIM: "DUSIM0001", Mode.PAPER: "DU1234567", Mode.LIVE: "U7654321"}
INTENT = "i" * 20


@dataclass(frozen=True)
class Typed:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def an_order(**changes: Any) -> OrderEvent:
    content: dict[str, Any] = {
        "intent_id": INTENT,
        "order_ref": f"cq-{INTENT}",
        "state": OrderState.WORKING,
        "strategy": "momentum",
        "account": "DUSIM0001",
        "con_id": APPLE.con_id,
        "contract": "AAPL",
        "side": Side.SELL,
        "quantity": Decimal(100),
        "order_type": "STP",
        "stop_price": Decimal("140.5"),
        "filled": Decimal(0),
        "by": "broker",
    }
    return OrderEvent(**{**content, **changes})


def a_position(quantity: int = 100, **changes: Any) -> PositionReport:
    content: dict[str, Any] = {
        "account": "DUSIM0001",
        "con_id": APPLE.con_id,
        "contract": "AAPL",
        "currency": "USD",
        "position": Decimal(quantity),
        "average_cost": Decimal(150),
        "market_price": Decimal("151.25"),
    }
    return PositionReport(**{**content, **changes})


class World:
    """A deployment: what is on its bus when a command opens it, and who answers while it runs."""

    def __init__(self, mode: Mode = Mode.SIM) -> None:
        self.mode = mode
        self.keys = Keys(mode.value)
        self.bus = MemoryBus(MemoryServer(), self.keys)
        self.seeds: list[Callable[[MemoryBus], Awaitable[object]]] = []
        self.states: list[OrderState] = [OrderState.WORKING]
        self.refusal: tuple[str, str] | None = None
        self.has_gateway = True
        self.is_away = False
        self.heard: list[Message] = []
        self.names: list[str] = []

    @property
    def listened(self) -> tuple[str, ...]:
        return (self.keys.intents, self.keys.cancels, self.keys.control, self.keys.queries)

    def put(self, seed: Callable[[MemoryBus], Awaitable[object]]) -> None:
        """Put something on the bus before the command looks."""
        self.seeds.append(seed)

    def hold(self, *reports: PositionReport) -> None:
        self.put(lambda bus: bus.hash_set(self.keys.positions, {str(r.con_id): encode_body(r) for r in reports}))

    def work(self, *events: OrderEvent) -> None:
        rows = {event.order_ref or str(event.perm_id): encode_body(event) for event in events}
        self.put(lambda bus: bus.hash_set(self.keys.open_orders, rows))

    def beat(self, service: str, **more: object) -> None:
        now_ns = SYSTEM_CLOCK.wall_ns()
        row = {"service": service, "instance": f"{service}-1", "pid": 7, "ready": True, "failed": {}, **more}
        text = json.dumps({"started_ns": now_ns, **row})
        self.put(lambda bus: bus.set_text(self.keys.heartbeat(service, str(row["instance"])), text))

    def fill(self, number: int, when_ns: int, **changes: Any) -> None:
        content: dict[str, Any] = {
            "exec_id": f"0000.{number:02d}.01",
            "exec_stem": f"0000.{number:02d}",
            "account": "DUSIM0001",
            "con_id": APPLE.con_id,
            "contract": "AAPL",
            "currency": "USD",
            "strategy": "momentum",
            "side": Side.BUY,
            "quantity": Decimal(100),
            "price": Decimal("150.25"),
            "ts_event_ns": when_ns,
        }
        self.put(lambda bus: bus.append(self.keys.fills, Fill(**{**content, **changes}), source="gateway:1"))

    def heard_of(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    @asynccontextmanager
    async def open_desk(self, settings: BrokerSettings, *, client_name: str = "") -> AsyncIterator[Desk]:
        server = MemoryServer()
        self.bus = MemoryBus(server, self.keys)
        identity = {"mode": self.mode.value, "account": settings.account, "id": "abc"}
        await self.bus.hash_set(self.keys.identity, identity)
        await self.bus.hash_set(self.keys.contract_names, {"AAPL": str(APPLE.con_id), "#265598": str(APPLE.con_id)})
        await self.bus.hash_set(self.keys.contracts, {str(APPLE.con_id): encode_body(APPLE)})
        last = {"ts_ns": str(SYSTEM_CLOCK.wall_ns()), "last": "150.00"}
        await self.bus.hash_set(self.keys.last(APPLE.con_id), last)
        for seed in self.seeds:
            await seed(self.bus)
        server.is_away = self.is_away
        answering = asyncio.create_task(self._answer())
        try:
            yield Desk(self.bus, settings.account)
        finally:
            answering.cancel()
            await asyncio.wait([answering])

    async def _answer(self) -> None:
        """Be risk and the gateway."""
        if self.is_away:
            return
        cursors = dict.fromkeys(self.listened, "0-0")
        while True:
            for stream, entries in (await self.bus.read(cursors, block_ms=50)).items():
                for entry in entries:
                    cursors[stream] = entry.entry_id
                    message = decode_fields(entry.fields).message
                    self.heard.append(message)
                    if self.has_gateway:
                        await self._act(message)

    async def _act(self, message: Message) -> None:
        if isinstance(message, Intent):
            code, text = self.refusal or ("", "")
            decision = Decision(intent_id=message.intent_id, approved=not code, code=code, text=text)
            await self.bus.append(self.keys.decisions, decision, source="risk:1")
            leg = message.legs[0]
            for state in self.states if not code else []:
                is_filled = state is OrderState.FILLED
                event = an_order(
                    intent_id=message.intent_id, state=state, side=leg.side, quantity=leg.quantity,
                    filled=leg.quantity if is_filled else Decimal(0),
                    average_price=Decimal("150.01") if is_filled else None,
                )  # fmt: skip
                await self.bus.append(self.keys.orders, event, source="gateway:1")
        elif isinstance(message, ContractQuery) and message.search:
            answer = ContractAnswer(query_id=message.query_id, candidates=tuple(self.names))
            await self.bus.answer(message.client, answer, source="gateway:1")
        elif isinstance(message, Control) and message.action in (ControlAction.HALT, ControlAction.RESUME):
            is_halt = message.action is ControlAction.HALT
            if message.scope == "account":
                shown = {"stage": "holding" if is_halt else "none", "reason": message.reason}
            else:
                shown = {f"halt:{message.scope}": f"holding {message.who}: {message.reason}" if is_halt else ""}
            await self.bus.hash_set(self.keys.halt, shown)
        elif isinstance(message, Control) and message.scope.startswith("contract:"):
            await self._keep_books(message)

    async def _keep_books(self, control: Control) -> None:
        """Do as the leader's books do with what a person says of a position."""
        con_id = control.scope.partition(":")[2]
        report = decode_body("position", (await self.bus.hash_get_all(self.keys.positions))[con_id])
        assert isinstance(report, PositionReport)
        held = {share.strategy: share.quantity for share in report.shares}
        if control.action is ControlAction.ASSIGN_POSITION:
            move = PositionMove.model_validate_json(control.text)
            held[move.taken_from] -= move.quantity
            held[move.given_to] = held.get(move.given_to, Decimal(0)) + move.quantity
        else:
            held["unassigned"] = held.get("unassigned", Decimal(0)) + report.unexplained
        shares = tuple(PositionShare(strategy=name, quantity=each) for name, each in held.items() if each)
        made = report.model_copy(update={"shares": shares, "unexplained": Decimal(0)})
        await self.bus.hash_set(self.keys.positions, {con_id: encode_body(made)})


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def cq(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Typed]:
    """Type a command; `stdin` is what the person answers, at a terminal or from a file."""

    def typed(*words: str, stdin: str = "", at_terminal: bool = False) -> Typed:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("CQ_MODE", world.mode.value)
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
        monkeypatch.setenv(f"IB_{world.mode.upper()}_ACCOUNT", ACCOUNTS[world.mode])
        for module in ("session", "troubleshooting", "preflight"):
            monkeypatch.setattr(f"copilot_quant.cli.{module}.open_desk", world.open_desk)
        monkeypatch.setattr(sys, "argv", ["cq", *words])
        answers = io.StringIO(stdin)
        monkeypatch.setattr(answers, "isatty", lambda: at_terminal)
        monkeypatch.setattr(sys, "stdin", answers)
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as e:
            status = int(e.code or 0)
        out, err = capsys.readouterr()
        return Typed(status, out, err)

    return typed


def in_the_end(world: World, look: Callable[[MemoryBus], Coroutine[Any, Any, Any]]) -> Any:
    """Return what is on the bus after a command."""
    return asyncio.run(look(world.bus))

"""Drive an exchange by hand: a clock that moves when told, and everything each client was sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from services.simulator.core.config import ExchangeConfig
from services.simulator.core.engine import Engine
from services.simulator.core.floor import Save, Turn
from services.simulator.core.market import Quote, Trade
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.contract import TwsContract
from shared.tws.order import TwsOrder

NS_PER_S = 1_000_000_000
START_NS = 1_795_446_000 * NS_PER_S  # 2026-11-23 15:00 UTC, a Monday morning in New York
T = TypeVar("T")
AAPL = TwsContract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
AAPL_ID = 265598


def order(action: str = "BUY", quantity: int | str = 100, kind: str = "MKT", **fields: Any) -> TwsOrder:
    """Return an order; prices may be texts."""
    for name in ("lmt_price", "aux_price", "trailing_percent"):
        if name in fields:
            fields[name] = Decimal(str(fields[name]))
    return TwsOrder(action=action, total_quantity=Decimal(str(quantity)), order_type=kind, **fields)


class Driver:
    """An engine with a silent market: quotes come from the test only."""

    def __init__(self, **config: Any) -> None:
        config.setdefault("tick_rate", 1e-9)
        config.setdefault("pacing", "off")
        self.now_ns = START_NS
        self.engine = Engine(ExchangeConfig(**config), self.now_ns)
        self.sent: dict[int, list[rs.Response]] = {}
        self.effects: list[Any] = []
        self.saved: dict[tuple[str, str], Any] = {}
        self._sessions = 0

    def take(self, turn: Turn) -> None:
        for session, responses in turn.sends.items():
            self.sent.setdefault(session, []).extend(each for each in responses if not isinstance(each, str))
        for effect in turn.effects:
            if isinstance(effect, Save):
                self.saved[(effect.kind, effect.key)] = effect.value
            else:
                self.effects.append(effect)

    def connect(self, client_id: int, version: int = 176) -> int:
        self._sessions += 1
        session = self._sessions
        self.take(self.engine.open_session(session, version, self.now_ns))
        self.ask(session, rq.StartApi(client_id))
        return session

    def disconnect(self, session: int) -> None:
        self.take(self.engine.close_session(session, self.now_ns))

    def ask(self, session: int, request: Any) -> list[rs.Response]:
        """Send a request and return what came at once."""
        before = len(self.sent.get(session, []))
        self.take(self.engine.receive(session, request, self.now_ns))
        return self.sent.get(session, [])[before:]

    def run(self, seconds: float = 0.1) -> None:
        self.now_ns += int(seconds * NS_PER_S)
        self.take(self.engine.advance(self.now_ns))

    def place(self, session: int, order_id: int, placed: TwsOrder, contract: TwsContract = AAPL) -> None:
        self.ask(session, rq.PlaceOrder(order_id, contract, placed))

    def quote(
        self, bid: float, ask: float, bid_size: float = 1000, ask_size: float = 1000, con_id: int = AAPL_ID
    ) -> None:
        self.engine._on_market(Quote(con_id, self.now_ns, bid, bid_size, ask, ask_size))
        self.take(self.engine.advance(self.now_ns))

    def trade(self, price: float, size: float, con_id: int = AAPL_ID) -> None:
        self.engine._on_market(Trade(con_id, self.now_ns, price, size))
        self.take(self.engine.advance(self.now_ns))

    def fault(self, name: str, /, **parameters: Any) -> None:
        self.take(self.engine.inject_fault(name, parameters, self.now_ns))

    def got(self, session: int, kind: type[T]) -> list[T]:
        return [each for each in self.sent.get(session, []) if isinstance(each, kind)]

    def errors(self, session: int) -> list[tuple[int, int]]:
        return [
            (each.id, each.code) for each in self.got(session, rs.ErrorMessage) if each.code < 2100 or each.code > 2999
        ]

    def statuses(self, session: int, order_id: int) -> list[str]:
        return [each.status for each in self.got(session, rs.OrderStatus) if each.order_id == order_id]

    def truth(self) -> dict[str, Any]:
        return self.engine.truth(self.now_ns)

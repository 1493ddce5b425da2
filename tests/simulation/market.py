"""Prices that the model of the broker sends to whoever has subscribed, each with a number of its own.

Only runs with hot standbys have subscriptions. The dice are its own, so that a price moves no other draw of a seed.
"""

from __future__ import annotations

import random

from shared.tws import requests as q
from tests.simulation.broker_answers import BrokerSide
from tests.simulation.broker_model import Broker
from tests.simulation.kernel import NS, World

WATCHED = (2001, 2002)
"""Contracts that are wanted for their prices and never traded."""
BID = 1


class Market:
    """Quotes of the contracts that sessions subscribe to."""

    def __init__(self, world: World, broker: Broker, seed: int | str) -> None:
        self._world = world
        self._broker = broker
        self._rng = random.Random(f"market:{seed}")
        self._lines: dict[BrokerSide, dict[int, int]] = {}
        self.quotes = 0
        broker.acts[q.ReqMktData] = self._subscribe
        broker.acts[q.CancelMktData] = self._unsubscribe

    def begin(self) -> None:
        """Move prices from here on."""
        self._world.after(int(self._rng.uniform(0.1, 0.6) * NS), self._move)

    def _subscribe(self, side: BrokerSide, _client_id: int, request: q.ReqMktData) -> None:
        self._lines.setdefault(side, {})[request.req_id] = request.contract.con_id
        self._tell(side, request.req_id)

    def _unsubscribe(self, side: BrokerSide, _client_id: int, request: q.CancelMktData) -> None:
        self._lines.get(side, {}).pop(request.req_id, None)

    def _move(self) -> None:
        self.begin()
        broker = self._broker
        if broker.is_cut_off or self._world.now < broker.is_silent_until:
            return
        self.quotes += 1
        con_id = self._rng.choice(WATCHED)
        sessions = list(broker.sessions.values())
        self._lines = {side: lines for side, lines in self._lines.items() if side in sessions}
        for side, lines in self._lines.items():
            for req_id in [req_id for req_id, of in lines.items() if of == con_id]:
                self._tell(side, req_id)

    def _tell(self, side: BrokerSide, req_id: int) -> None:
        side.tell("price", req_id, BID, 100.0, float(self.quotes + 1))

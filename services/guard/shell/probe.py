"""Ask the broker for its time over a session of our own: an open port alone says nothing.

A TCP connection can succeed while the API behind it is dead (socat in front of a hanging IB Gateway, ib-facts A.10,
D.4). So the check is a whole round trip: handshake, START_API, reqCurrentTime, its answer.
"""

from __future__ import annotations

import asyncio

from services.guard.metrics import BROKER_ROUND_TRIP, BROKER_UP
from shared.clock import NS_PER_S, Clock
from shared.logs import get_logger
from shared.tws.connection import ClientConnection, ServerHello
from shared.tws.requests import ReqCurrentTime, StartApi
from shared.tws.responses import CurrentTime

PROBE_TIMEOUT_S = 4.0
FRESH_S = 2.0
"""An answer younger than this is not asked for again."""


class BrokerProbe:
    """The last known answer of the broker; `failure` is None when it was good."""

    def __init__(self, host: str, port: int, client_id: int, clock: Clock) -> None:
        self._address = (host, port)
        self._client_id = client_id
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_ns: int | None = None
        self.failure: str | None = "the broker was not asked yet"

    async def check(self) -> str | None:
        """Ask, unless somebody just did; return None or what is wrong."""
        async with self._lock:
            now_ns = self._clock.monotonic_ns()
            if self._asked_ns is None or now_ns - self._asked_ns > FRESH_S * NS_PER_S:
                was = self.failure
                self.failure = await self._ask()
                self._asked_ns = self._clock.monotonic_ns()
                BROKER_UP.set(0 if self.failure else 1)
                if not self.failure:
                    BROKER_ROUND_TRIP.set((self._asked_ns - now_ns) / NS_PER_S)
                if bool(was) != bool(self.failure):
                    get_logger().info("broker.probed", failure=self.failure)
            return self.failure

    async def watch(self, period_s: float) -> None:
        """Ask for ever."""
        while True:
            await self.check()
            await self._clock.sleep(period_s)

    async def _ask(self) -> str | None:
        host, port = self._address
        writer: asyncio.StreamWriter | None = None
        stage = "does not accept connections"
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(host, port)
                stage = "accepts connections but does not answer the handshake"
                connection = ClientConnection()
                writer.write(connection.data_to_send())
                while chunk := await reader.read(1 << 16):
                    for event in connection.receive_data(chunk):
                        if isinstance(event, CurrentTime):
                            return None
                        if isinstance(event, ServerHello):
                            stage = "answers the handshake but not a request"
                            connection.send(StartApi(self._client_id))
                            connection.send(ReqCurrentTime())
                    writer.write(connection.data_to_send())
                return f"the broker at {host}:{port} closed the health check's session"
        except (OSError, TimeoutError) as e:
            return f"the broker at {host}:{port} {stage} ({str(e) or 'no answer in time'})"
        finally:
            if writer is not None:
                writer.close()

"""A server that speaks just enough TWS to be subscribed to, and then sends ticks as fast as the client takes them.

`python -m bench.blaster --port N --ticks 100000`: after a subscription it writes that many messages (price and size
in turn, prepared beforehand), the last of them a trade at the price `LAST_PRICE`.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from shared.tws.connection import ServerConnection
from shared.tws.framing import encode_frame
from shared.tws.requests_account import (
    ReqAccountUpdates,
    ReqAccountUpdatesMulti,
    ReqCompletedOrders,
    ReqExecutions,
    ReqOpenOrders,
    ReqPositions,
    StartApi,
)
from shared.tws.requests_data import ReqMktData
from shared.tws.responses import encode_response
from shared.tws.responses_account import (
    AccountDownloadEnd,
    AccountUpdateMultiEnd,
    CompletedOrdersEnd,
    ExecDetailsEnd,
    ManagedAccounts,
    NextValidId,
    OpenOrderEnd,
    PositionEnd,
)
from shared.tws.responses_market import TickPrice, TickSize

LAST_PRICE = 7777.0
ACCOUNT = "DUSIM0001"
CHUNK = 64 * 1024


def ticks_for(req_id: int, count: int, version: int) -> bytes:
    """Return the prepared messages of one subscription."""
    parts = []
    for number in range(count - 1):
        side = 1 + (number // 2) % 2
        price = 100 + (number % 100) / 100
        tick: Any = TickPrice(req_id, side, price, 100.0 + number % 7, 1)
        if number % 2:
            tick = TickSize(req_id, 0 if side == 1 else 3, 100.0 + number % 11)
        parts.append(encode_frame(encode_response(tick, version)))
    parts.append(encode_frame(encode_response(TickPrice(req_id, 4, LAST_PRICE, 1.0, 0), version)))
    return b"".join(parts)


def answer_to(request: Any) -> list[Any]:
    """Return what ends each part of a client's first synchronisation."""
    match request:
        case StartApi():
            return [ManagedAccounts(ACCOUNT), NextValidId(1)]
        case ReqPositions():
            return [PositionEnd()]
        case ReqOpenOrders():
            return [OpenOrderEnd()]
        case ReqCompletedOrders():
            return [CompletedOrdersEnd()]
        case ReqAccountUpdates():
            return [AccountDownloadEnd(ACCOUNT)]
        case ReqAccountUpdatesMulti():
            return [AccountUpdateMultiEnd(request.req_id)]
        case ReqExecutions():
            return [ExecDetailsEnd(request.req_id)]
        case _:
            return []


async def serve(port: int, count: int) -> None:
    """Serve for ever."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ServerConnection("20261123 12:00:00 EST")
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                answers = answer_to(event)
                if answers:
                    connection.send(*answers)
                if isinstance(event, ReqMktData):
                    writer.write(connection.data_to_send())
                    block = ticks_for(event.req_id, count, connection.version)
                    for start in range(0, len(block), CHUNK):
                        writer.write(block[start : start + CHUNK])
                        await writer.drain()
            writer.write(connection.data_to_send())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_client, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ticks", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.ticks))

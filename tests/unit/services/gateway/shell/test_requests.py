"""What the broker refuses for pacing is an answer to who asked, and stands in broker-status for whoever looks later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.gateway.ports import QueryFailed
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.pace import Pace
from services.gateway.shell.requests import Requests
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.messages import decode_fields
from shared.messages.base import Message
from shared.messages.codec import encode_body
from shared.messages.control import PacingViolation
from shared.messages.market import ContractInfo
from shared.messages.requests import NO_DATA, HistoryAnswer, HistoryQuery
from tests.support import eventually

APPLE = ContractInfo(con_id=265598, name="AAPL", symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
SERVICE = "Historical Market Data Service error message:"


class Session:
    """A session whose broker answers every request for bars with one error."""

    is_open = True

    def __init__(self, code: int, text: str) -> None:
        self._error = QueryFailed(code, text)

    async def history(self, *_: Any, **__: Any) -> Any:
        raise self._error


async def last_of(bus: MemoryBus, stream: str) -> Message | None:
    entries = await bus.read_last(stream, 1)
    return decode_fields(entries[0].fields).message if entries else None


async def told(code: int, text: str) -> tuple[HistoryAnswer, Message | None]:
    """Ask for bars that the broker refuses; return the answer and what stands in broker-status."""
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    await bus.hash_set(bus.keys.contracts, {str(APPLE.con_id): encode_body(APPLE)})
    token = await bus.lease_acquire("gateway", "a", await bus.lease_view("gateway"), at_least_epoch=1)
    assert token is not None
    await bus.raise_fence(token)
    outbox = Outbox(bus, "gateway:a")
    outbox.open()
    session: Any = Session(code, text)
    contracts = Contracts(bus, outbox, lambda: session, limit_s=1.0)
    await contracts.load()
    nothing: Any = None
    requests = Requests(
        bus, outbox, contracts, source="gateway:a", instance="a", epoch=1, session=lambda: session, pace=Pace(),
        what_if=nothing,
    )  # fmt: skip
    query = HistoryQuery(
        query_id="q", client="me", deadline_ns=SYSTEM_CLOCK.wall_ns() + 5 * NS_PER_S, con_id=APPLE.con_id,
        duration="1800 S", bar_size="5 secs",
    )  # fmt: skip
    await bus.append(bus.keys.queries, query, source="test")
    running = asyncio.gather(requests.run(), outbox.run(token, lambda: True))
    answer = await eventually(lambda: last_of(bus, bus.keys.answers("me")), 3.0)
    await asyncio.wait_for(outbox.flushed(), 2.0)
    running.cancel()
    assert isinstance(answer, HistoryAnswer)
    return answer, await last_of(bus, bus.keys.broker_status)


@pytest.mark.parametrize("code, text", [(162, f"{SERVICE}Historical data request pacing violation"), (420, "too many")])
async def test_a_request_refused_for_pacing_is_told_and_recorded(code: int, text: str) -> None:
    answer, recorded = await told(code, text)
    assert (answer.code, text in answer.error) == (f"IB_{code}", True)
    assert isinstance(recorded, PacingViolation)
    assert (recorded.instance, recorded.code, recorded.text, recorded.con_id) == ("a", code, text, APPLE.con_id)
    assert recorded.request == "5 secs bars of 1800 S"


@pytest.mark.parametrize(
    "code, text, answered",
    [
        (162, f"{SERVICE}HMDS query returned no data: AAPL@SMART Trades", NO_DATA),
        (162, f"{SERVICE}Trading TWS session is connected from a different IP address", "IB_162"),
        (200, "No security definition has been found for the request", "IB_200"),
    ],
)
async def test_other_refusals_are_told_and_are_no_pacing(code: int, text: str, answered: str) -> None:
    answer, recorded = await told(code, text)
    assert answer.code == answered and answer.error
    assert recorded is None

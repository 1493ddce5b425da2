from __future__ import annotations

from services.strategy.shell.contracts import ContractBook
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.messages.codec import decode_fields, encode_body
from shared.messages.requests import ContractAnswer, ContractQuery
from tests.unit.services.strategy.parts import IBM, NICKEL


def book() -> tuple[ContractBook, MemoryBus]:
    bus = MemoryBus(MemoryServer(), Keys("x"))
    return ContractBook(bus, client="strategy.w1", source="strategy:w1", clock=ManualClock(monotonic_ns=1)), bus


async def queries(bus: MemoryBus) -> list[ContractQuery]:
    entries = await bus.read_range(bus.keys.queries)
    found = [decode_fields(entry.fields).message for entry in entries]
    return [one for one in found if isinstance(one, ContractQuery)]


async def test_a_name_the_gateway_has_resolved_before_needs_no_question() -> None:
    contracts, bus = book()
    await bus.hash_set(bus.keys.contract_names, {"IBM": str(IBM.con_id)})
    await bus.hash_set(bus.keys.contracts, {str(IBM.con_id): encode_body(IBM)})
    contracts.want(["IBM"])
    await contracts._step()
    assert contracts.all_of(["IBM"]) == [IBM] and not await queries(bus)


async def test_a_name_is_asked_for_once_and_its_answer_taken() -> None:
    contracts, bus = book()
    contracts.want(["NICKEL"])
    await contracts._step()
    await contracts._step()
    (query,) = await queries(bus)
    assert contracts.all_of(["NICKEL"]) is None and "waits for the gateway" in contracts.why_missing(["NICKEL"])
    await bus.answer(query.client, ContractAnswer(query_id=query.query_id, contracts=(NICKEL,)), source="g")
    await contracts._step()
    assert contracts.all_of(["NICKEL"]) == [NICKEL]


async def test_a_name_nobody_knows_is_said_with_its_candidates() -> None:
    contracts, bus = book()
    contracts.want(["SAP"])
    await contracts._step()
    (query,) = await queries(bus)
    answer = ContractAnswer(query_id=query.query_id, error="is ambiguous", candidates=("SAP@NYSE", "SAP@IBIS:EUR"))
    await bus.answer(query.client, answer, source="g")
    await contracts._step()
    assert "is ambiguous" in contracts.why_missing(["SAP"]) and "SAP@IBIS:EUR" in contracts.why_missing(["SAP"])

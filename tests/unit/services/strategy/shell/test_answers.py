"""The answer stream: each answer once, and what cannot be read stops nothing after it."""

from __future__ import annotations

from services.strategy.shell.answers import Answers
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.requests import ContractAnswer


async def taken(answers: Answers) -> list[str]:
    return [one.query_id for one in await answers.take() if isinstance(one, ContractAnswer)]


async def test_each_answer_is_taken_once_and_an_unreadable_one_stops_none_after_it() -> None:
    server = MemoryServer()
    bus = MemoryBus(server, Keys("x"))
    answers = Answers(bus, client="w1", source="strategy:w1")
    await bus.answer("w1", ContractAnswer(query_id="a", error="none"), source="gateway")
    server.add(bus.keys.answers("w1"), {"t": b"contract_answer", "d": b"\xc1"})
    await bus.answer("w1", ContractAnswer(query_id="b", error="none"), source="gateway")
    assert await taken(answers) == ["a", "b"]
    assert len(await bus.read_range(bus.keys.dead_letter)) == 1
    await bus.answer("w1", ContractAnswer(query_id="c", error="none"), source="gateway")
    assert await taken(answers) == ["c"]
    assert len(await bus.read_range(bus.keys.dead_letter)) == 1

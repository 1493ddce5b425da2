"""Asking the broker about margin: one question an entry, nobody else waits, no answer refuses, a successor asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from services.risk.shell.margins import margin_of
from shared.messages import decode_fields
from shared.messages.orders import Command, Decision, Fill, Side
from shared.messages.requests import WhatIfAnswer, WhatIfQuery
from tests.risk_desk import ACCOUNT, D, limits_with, number_id
from tests.support import eventually
from tests.unit.services.risk.shell.test_shell import World

WAIT_S = 1


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(limits_with(what_if_margin_percent=60, what_if_wait_s=WAIT_S))
    await made.open()
    held = Fill(
        exec_id="h.01", exec_stem="h", intent_id=number_id(900), strategy="s", account=ACCOUNT, con_id=1,
        side=Side.BUY, quantity=D(100), price=D(100),
    )  # fmt: skip
    await made.say(made.keys.fills, held)
    async with made.running():
        yield made


def queries(world: World) -> list[WhatIfQuery]:
    found = [decode_fields(entry.fields).message for entry in world.bus._server.streams.get(world.keys.queries, [])]
    return [one for one in found if isinstance(one, WhatIfQuery)]


async def asked(world: World, count: int) -> WhatIfQuery:
    found: list[WhatIfQuery] = await eventually(lambda: queries(world) if len(queries(world)) >= count else None)
    return found[count - 1]


async def say(world: World, query: WhatIfQuery, after: object = 4000, **values: Any) -> None:
    answer = WhatIfAnswer(
        query_id=query.query_id, con_id=1, init_margin_before=D(3000), init_margin_after=D(after),
        equity_with_loan_after=D(10_000), **values,
    )  # fmt: skip
    await world.bus.answer(query.client, answer, source="gateway:g1", epoch=1)


async def put(world: World, number: int, quantity: object = 10, **values: Any) -> None:
    await world.bus.append(world.keys.intents, world.intent(number, quantity, **values), source="test")


def order_of_decisions(world: World) -> list[int]:
    found = [decode_fields(entry.fields).message for entry in world.bus._server.streams[world.keys.decisions]]
    return [int(one.intent_id) for one in found if isinstance(one, Decision)]


async def test_an_entry_is_asked_about_and_decided_by_the_answer(world: World) -> None:
    await put(world, 1)
    query = await asked(world, 1)
    assert (query.con_id, query.order.quantity, query.client) == (1, 10, "risk-r1")
    await say(world, query)
    assert (await world.answered(1)).approved
    command = decode_fields(world.bus._server.streams[world.keys.commands][0].fields).message
    assert isinstance(command, Command) and command.margin_change == 1000
    await put(world, 2)
    await say(world, await asked(world, 2), after=5500)
    refused = await world.answered(2)
    assert (refused.code, refused.failed[0].measured) == ("RISK_MARGIN_AFTER", "6500.00 USD"), "the first works yet"
    assert not world.feed.book.margins.answers and not world.leadership._intents._waiting


async def test_nobody_else_waits_and_a_strategy_keeps_its_order(world: World) -> None:
    await put(world, 1)
    query = await asked(world, 1)
    await put(world, 2, strategy="s")
    sell = world.intent(3, 100).model_copy(
        update={"legs": (world.intent(3).legs[0].model_copy(update={"side": Side.SELL}),)}
    )
    await world.bus.append(world.keys.intents, sell, source="test")
    assert (await world.answered(3)).is_reducing, "an exit of the same strategy passes by"
    await put(world, 4, strategy="t")
    await say(world, await asked(world, 2))
    assert (await world.answered(4)).approved, "another strategy has a question of its own"
    await put(world, 5, 10**13, strategy="s")
    await say(world, query)
    assert (await world.answered(1)).approved
    await say(world, await asked(world, 3))
    assert (await world.answered(2)).approved
    assert (await world.answered(5)).code == "RISK_TICK_SIZE", "refused without a question, in its turn"
    assert order_of_decisions(world) == [3, 4, 1, 2, 5] and len(queries(world)) == 3
    assert (await world.bus.get_cursor("intents")) == world.bus._server.streams[world.keys.intents][-1].entry_id


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"error": "the link is DOWN: ask later", "code": "BROKER_AWAY"}, "the link is DOWN"),
        (None, "no answer came within"),
        ({"init_margin_after": None}, "names no margin"),
    ],
)
async def test_a_failed_question_is_no_answer(world: World, values: dict[str, Any] | None, text: str) -> None:
    await put(world, 1)
    query = await asked(world, 1)
    if values is not None:
        answer = WhatIfAnswer(query_id=query.query_id, con_id=1, **{"equity_with_loan_after": D(1), **values})
        await world.bus.answer(query.client, answer, source="gateway:g1", epoch=1)
    refused = await world.answered(1)
    assert refused.code == "RISK_MARGIN_UNKNOWN" and text in refused.text
    await say(world, query)  # too late: nothing comes of it
    await put(world, 2)
    await say(world, await asked(world, 2))
    assert (await world.answered(2)).approved


async def test_what_waited_is_read_again_after_a_lost_lease_and_decided_once(world: World) -> None:
    await put(world, 1)
    await asked(world, 1)
    await put(world, 2, strategy="t")
    await say(world, await asked(world, 2))
    assert (await world.answered(2)).approved
    await world.election.resign("a test")
    await eventually(lambda: world.election.wins == 2)
    await say(world, await asked(world, 3))
    assert (await world.answered(1)).approved
    assert sorted(order_of_decisions(world)) == [1, 2] and world.length(world.keys.commands) == 2


async def test_what_stands_in_the_way_anyway_is_not_asked_about(world: World) -> None:
    await world.bus.hash_set(world.keys.halt, {"stage": "holding", "reason": "drill"})
    await eventually(lambda: world.feed.book.breakers.halted(1, "s"))
    await put(world, 1)
    refused = await world.answered(1)
    assert refused.code == "RISK_HALTED" and refused.failed[-1].code == "RISK_MARGIN_UNKNOWN"
    assert not queries(world)


def test_an_answer_without_the_margin_before_counts_whole() -> None:
    answer = WhatIfAnswer(query_id="q", con_id=1, init_margin_after=D(70), equity_with_loan_after=D(100))
    assert margin_of(answer, 5).change == Decimal(70)

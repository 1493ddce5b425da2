"""What a session hears: answers to their questions, the rest to the listener."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.gateway.core.evidence import BrokerError
from services.gateway.ports import QueryFailed, SessionListener
from services.gateway.shell.ib_heard import Heard
from services.gateway.shell.ib_wire import Answers
from shared.errors import BrokerUnavailable, TimedOut


class Listener(SessionListener):
    def __init__(self) -> None:
        self.errors: list[BrokerError] = []

    def error(self, error: BrokerError) -> None:
        self.errors.append(error)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def heard(listener: Listener) -> Heard:
    return Heard(listener, on_greeting=lambda: None, on_refused=lambda _text: False)


@pytest.fixture
def broker(heard: Heard) -> Any:
    """What the decoder calls."""
    answers = Answers(5, "")
    heard.bind(answers)
    return answers


async def test_an_answer_ends_with_its_marker(heard: Heard, broker: Any) -> None:
    def send() -> None:
        broker.contractDetails(7, "one")
        broker.contractDetails(8, "of another")
        broker.contractDetailsEnd(8)
        broker.contractDetails(7, "two")
        broker.contractDetailsEnd(7)

    assert await heard.ask(7, send, limit_s=1.0, what="it") == ["one", "two"]


async def test_an_error_a_timeout_and_the_end_are_never_an_empty_answer(
    heard: Heard, broker: Any, listener: Listener
) -> None:
    with pytest.raises(QueryFailed) as caught:
        await heard.ask(7, lambda: broker.error(7, 200, "no such contract", ""), limit_s=1.0, what="it")
    assert caught.value.code == 200 and not listener.errors
    with pytest.raises(TimedOut, match="the moon"):
        await heard.ask(7, lambda: broker.contractDetails(7, "one"), limit_s=0.01, what="the moon")
    with pytest.raises(BrokerUnavailable, match="gone"):
        await heard.ask(7, lambda: heard.end(BrokerUnavailable("gone")), limit_s=1.0, what="it")


@pytest.mark.parametrize("code", [2104, 10167])
async def test_a_notice_does_not_end_a_request(heard: Heard, broker: Any, listener: Listener, code: int) -> None:
    def send() -> None:
        broker.error(7, code, "just so you know", "")
        broker.contractDetailsEnd(7)

    assert await heard.ask(7, send, limit_s=1.0, what="it") == []
    assert listener.errors == [BrokerError(7, code, "just so you know")]


async def test_requests_without_an_id_wait_for_each_other(heard: Heard, broker: Any) -> None:
    sent: list[int] = []
    async with asyncio.TaskGroup() as group:
        first = group.create_task(heard.ask("positions", lambda: sent.append(1), limit_s=1.0, what="it"))
        second = group.create_task(heard.ask("positions", lambda: sent.append(2), limit_s=1.0, what="it"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent == [1]
        broker.positionEnd()
        await first
        await asyncio.sleep(0)
        assert sent == [1, 2]
        broker.positionEnd()
        await second


def test_codes_that_end_a_session_are_remembered_and_others_are_not(heard: Heard, broker: Any) -> None:
    broker.error(-1, 1300, "the port changed", "")
    broker.error(-1, 2104, "fine", "")
    assert heard.last_error == (1300, "the port changed")


def test_what_nobody_uses_is_ignored(broker: Any) -> None:
    broker.tickNews(1, 2, 3)

"""Ask the broker on a trading session what happened: the whole day, or the end of a day that is known already.

Invariants:
1. Every part ends properly or the whole asking fails; a time-out is never an empty answer.
2. `ask_lately` proves presence only: what it does not show is not judged by it. It is followed by `ask_day`.

What a day costs: the broker lists every order and execution since midnight, on a busy day thousands, and a take-over
would stand still for as long. Where a predecessor has asked for the whole day in this incarnation of the bus, what it
was told is there, and only what came last can be missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from services.gateway.core.evidence import BrokerExecution, BrokerOrder, Evidence, shown_since_ns
from services.gateway.core.link import Link
from services.gateway.ports import QueryFailed
from services.gateway.settings import GatewaySettings
from services.gateway.shell.ib_session import IbSession
from shared.bus.ports import Bus, LeaseToken
from shared.clock import NS_PER_S, Clock
from shared.errors import TransientError
from shared.logs import get_logger

DAY_FIELD = "day_asked"
"""Field of the `books` hash: the incarnation in which a whole day was asked for and published."""
OVERLAP_S = 5
"""How much before the last known execution is asked for again: the filter knows whole seconds only, and executions of
several exchanges need not come in the order of their times. What is older and new is found with the whole day."""


async def is_day_known(bus: Bus, token: LeaseToken) -> bool:
    """Return whether a predecessor has published a whole day's answers in this incarnation of the bus."""
    stored = await bus.hash_get_all(bus.keys.books)
    return stored.get(DAY_FIELD, b"").decode() == token.incarnation


@dataclass(frozen=True, slots=True)
class Lately:
    """What works now and what was executed last."""

    open_orders: tuple[BrokerOrder, ...]
    executions: tuple[BrokerExecution, ...]


async def ask_lately(session: IbSession, settings: GatewaySettings, *, last_fill_ns: int) -> Lately:
    """Ask for the open orders and the latest executions.

    Args:
        session: the trading session.
        settings: how patient we are, and whether a guard listens.
        last_fill_ns: the broker's time of the last execution that is known; 0 asks for all of them.

    Raises:
        TransientError: a part did not end properly.
    """
    limit_s = settings.answer_limit_s
    since_ns = max(0, last_fill_ns - OVERLAP_S * NS_PER_S)
    open_orders, executions, *_ = await _all(
        session.open_orders(limit_s=limit_s),
        _executions_since(session, since_ns, limit_s=2 * limit_s),
        *_positions_for_guard(session, settings),
    )
    return Lately(tuple(open_orders), tuple(executions))


async def _executions_since(session: IbSession, since_ns: int, *, limit_s: float) -> list[BrokerExecution]:
    try:
        return await session.executions(limit_s=limit_s, since_ns=since_ns)
    except QueryFailed as e:  # it does not understand the filter: then all of them
        get_logger().warning("executions.filter_refused", code=e.code, text=e.text)
        return await session.executions(limit_s=limit_s)


async def ask_day(
    session: IbSession, settings: GatewaySettings, link: Link, *, undisturbed_since_ns: int, clock: Clock
) -> Evidence:
    """Ask all questions at once: the broker answers them in their order, without a pause between.

    Raises:
        TransientError: a part did not end properly.
    """
    limit_s = settings.answer_limit_s
    asked_ns = clock.monotonic_ns()
    was_undisturbed = link.is_undisturbed
    open_orders, completed, executions, *_ = await _all(
        session.open_orders(limit_s=limit_s),
        session.completed_orders(limit_s=2 * limit_s),
        session.executions(limit_s=3 * limit_s),
        *_positions_for_guard(session, settings),
    )
    return Evidence(
        client_id=session.client_id, open_orders=tuple(open_orders),
        completed_orders=tuple(completed), executions=tuple(executions),
        is_undisturbed=was_undisturbed and link.is_undisturbed,
        asked_ns=asked_ns, undisturbed_since_ns=undisturbed_since_ns,
        shows_since_ns=shown_since_ns(clock.wall_ns(), settings.tws_time_zone),
    )  # fmt: skip


def _positions_for_guard(session: IbSession, settings: GatewaySettings) -> list[Coroutine[Any, Any, list[Any]]]:
    """Have the positions listed for the guard, which believes what it sees on this session.

    Without them nothing is a reduction to it, and its halt would refuse every order that closes. Only the data
    session's are published.
    """
    return [session.positions(limit_s=4 * settings.answer_limit_s)] if settings.guard else []


async def _all(*parts: Coroutine[Any, Any, list[Any]]) -> list[list[Any]]:
    """Ask side by side and return every answer, in order; the first failure in that order ends the others.

    No part may fail inside the task group: a group whose task is cancelled while a part of it fails reports the failure
    and loses the cancellation (Python 3.11). A leader that lost its lease by a pause is in just that place, its session
    gone and its loops being ended; its trading loop then went on to connect for ever, and it never stood by again.

    Raises:
        TransientError: a part did not end properly.
    """
    answers: list[list[Any]] = []
    failure: TransientError | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_outcome(part)) for part in parts]
        for task in tasks:
            found = await task
            if isinstance(found, TransientError):
                failure = found
                break
            answers.append(found)
        for task in tasks:
            task.cancel()
    if failure is not None:
        raise failure
    return answers


async def _outcome(part: Coroutine[Any, Any, list[Any]]) -> list[Any] | TransientError:
    try:
        return await part
    except TransientError as e:
        return e

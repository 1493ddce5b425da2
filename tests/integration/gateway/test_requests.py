"""Queries through a real gateway: contracts by name, ambiguous and unknown names, history; identity and accounts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import ExitCode
from shared.messages.orders import OrderState, Side
from shared.messages.requests import ContractAnswer, ContractQuery, HistoryAnswer, HistoryQuery
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(60)]
AAPL = 265598


@pytest.fixture
async def gateway(start_gateway: Callable[..., Any], desk: Any) -> Any:
    process = start_gateway("a", 1)
    await desk.ready_leader()
    return process


async def ask(desk: Any, query: Any) -> Any:
    await desk.bus.append(desk.bus.keys.queries, query, source="test")

    async def answered() -> Any:
        found = await desk.messages(desk.bus.keys.answers("me"))
        return next((each for each in found if each.query_id == query.query_id), None)

    return await eventually(answered, 15.0)


def deadline(seconds: float = 10.0) -> int:
    return time.time_ns() + int(seconds * 1e9)


async def test_a_name_becomes_a_contract(gateway: Any, desk: Any) -> None:
    answer = await ask(desk, ContractQuery(query_id="1", client="me", deadline_ns=deadline(), name="aapl"))
    assert isinstance(answer, ContractAnswer)
    assert not answer.error
    (info,) = answer.contracts
    assert info.con_id == AAPL and info.name == "AAPL@NASDAQ" and info.increments

    async def noted() -> bool:
        names = await desk.bus.hash_get_all(desk.bus.keys.contract_names)
        return names.get("AAPL") == str(AAPL).encode()

    await eventually(noted)
    by_id = await ask(desk, ContractQuery(query_id="2", client="me", deadline_ns=deadline(), name="#265598"))
    assert by_id.contracts[0].con_id == AAPL
    found = await ask(desk, ContractQuery(query_id="3", client="me", deadline_ns=deadline(), name="AA", search=True))
    assert any(name.startswith("AAPL") for name in found.candidates)


async def test_unknown_and_unreadable_names_are_sentences(gateway: Any, desk: Any) -> None:
    unknown = await ask(desk, ContractQuery(query_id="1", client="me", deadline_ns=deadline(), name="NOSUCH"))
    assert unknown.code == "UNKNOWN_CONTRACT" and "NOSUCH" in unknown.error
    broken = await ask(desk, ContractQuery(query_id="2", client="me", deadline_ns=deadline(), name="FUT:ES"))
    assert broken.code == "UNKNOWN_CONTRACT" and "FUT:ES@CME:202612" in broken.error


async def test_historical_bars_come_oldest_first(gateway: Any, desk: Any) -> None:
    query = HistoryQuery(
        query_id="1", client="me", deadline_ns=deadline(), con_id=AAPL, duration="5 D", bar_size="1 day"
    )
    answer = await ask(desk, query)
    assert isinstance(answer, HistoryAnswer) and not answer.error, answer.error
    times = [bar.ts_ns for bar in answer.bars]
    assert times and times == sorted(times)


async def test_a_failed_query_is_an_error_and_no_empty_answer(gateway: Any, desk: Any) -> None:
    query = HistoryQuery(
        query_id="1", client="me", deadline_ns=deadline(), con_id=AAPL, duration="5 parsecs", bar_size="1 day"
    )
    answer = await ask(desk, query)
    assert answer.error and answer.code.startswith("IB_")


async def test_another_account_under_the_same_name_refuses_the_start(
    gateway: Any, start_gateway: Callable[..., Any], desk: Any
) -> None:
    other = start_gateway("b", 2, IB_SIM_ACCOUNT="DUSIM0002")
    assert other.wait(20.0) == ExitCode.CONFIG
    assert "belongs to account" in other.output


async def test_an_account_that_is_not_on_the_login_never_trades(start_gateway: Callable[..., Any], desk: Any) -> None:
    process = start_gateway("a", 1, IB_SIM_ACCOUNT="DUSIM0009")
    process.wait_for_output("is not on this login", 20.0)


def test_a_client_id_that_is_a_trading_id_refuses_the_start(start_gateway: Callable[..., Any]) -> None:
    process = start_gateway("a", 101)
    assert process.wait(20.0) == ExitCode.CONFIG
    assert "IB_SIM_CLIENT_ID" in process.output


async def test_a_second_gateway_with_the_same_client_id_says_so_and_takes_nothing_from_the_first(
    gateway: Any, start_gateway: Callable[..., Any], desk: Any, legs: Any
) -> None:
    second = start_gateway("b", 1)

    async def told() -> str:
        return str((await desk.heartbeats()).get("b", {}).get("data_link_reason", ""))

    async def is_told() -> bool:
        return "client id 1" in await told()

    await eventually(is_told, 20.0)
    await desk.until(await desk.place(legs[1](Side.BUY, 1)), OrderState.FILLED)
    facts = await desk.heartbeats()
    assert facts["a"]["role"] == "leader" and facts["a"]["data_link"] == "READY"
    assert facts["b"]["role"] == "standby" and facts["b"]["data_link"] != "READY"
    assert gateway.status is None and second.status is None


async def test_a_standby_is_warm_and_silent(gateway: Any, start_gateway: Callable[..., Any], desk: Any) -> None:
    start_gateway("b", 2)

    async def warm() -> bool:
        facts = (await desk.heartbeats()).get("b", {})
        return facts.get("role") == "standby" and facts.get("link") == "STANDBY" and facts.get("data_link") == "READY"

    await eventually(warm, 15.0)
    for stream in (desk.bus.keys.broker_status, desk.bus.keys.account, desk.bus.keys.orders):
        sources = {entry.fields[b"source"] for entry in await desk.bus.read_range(stream)}
        assert sources <= {b"gateway:a"}
    clients = {session["client_id"] for session in desk.broker.truth()["sessions"]}
    assert clients == {1, 2, 101}

"""Bad input at the real risk service on a real Redis: a clear code each, nothing stops, nothing passes (P10, P1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from shared.clock import SYSTEM_CLOCK
from shared.messages.account import PositionReport, PositionsComplete
from shared.messages.codec import MAX_BODY_BYTES, encode_fields
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import Command, Decision, Fill, Intent, Side
from tests.risk_desk import ACCOUNT, D, number_id
from tests.risk_market import CON_ID, Market, start
from tests.support import RedisServer, SpawnedProcess, Spawner, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process]
Content = dict[str, Any]
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS


def leg(**values: object) -> Callable[[Content], None]:
    """Change the only leg of an intent on its way."""

    def act(content: Content) -> None:
        content["legs"][0].update(values)

    return act


def top(**values: object) -> Callable[[Content], None]:
    """Change what is beside the legs."""
    return lambda content: content.update(values)


def without(name: str) -> Callable[[Content], None]:
    def act(content: Content) -> None:
        del content[name]

    return act


def legs_of(*numbers: int) -> Callable[[Content], None]:
    def act(content: Content) -> None:
        content["legs"] = [{**content["legs"][0], "leg": number} for number in numbers]

    return act


def a_minute_late(content: Content) -> None:
    content["valid_until_ns"] = SYSTEM_CLOCK.wall_ns() - 60 * SECOND_NS


def made_tomorrow(content: Content) -> None:
    """By an author whose clock is a day ahead; its order is far too large."""
    content["ts_init_ns"] += DAY_NS
    content["valid_until_ns"] += DAY_NS
    content["legs"][0]["quantity"] = "100000"


HUGE = "9" * 25
BAD: list[tuple[str, Callable[[Content], None], str]] = [
    ("no version", without("v"), "RISK_MALFORMED"),
    ("version 0", top(v=0), "RISK_MALFORMED"),
    ("a version of text", top(v="1"), "RISK_MALFORMED"),
    ("a newer version", top(v=99), "RISK_MALFORMED"),
    ("no legs", top(legs=[]), "RISK_MALFORMED"),
    ("legs that are no list", top(legs="buy"), "RISK_MALFORMED"),
    ("eleven legs", legs_of(*range(11)), "RISK_MALFORMED"),
    ("legs out of order", legs_of(1, 0), "RISK_MALFORMED"),
    ("no strategy", top(strategy=""), "RISK_MALFORMED"),
    ("no account", without("account"), "RISK_MALFORMED"),
    ("a strategy of a megabyte", top(strategy="s" * 500_000), "RISK_MALFORMED"),
    ("a reason of a megabyte", top(reason="r" * (MAX_BODY_BYTES - 2000)), "RISK_MALFORMED"),
    ("a modify of nothing", top(action="modify"), "RISK_MALFORMED"),
    ("a modify of an unknown order", top(action="modify", modifies="x" * 20), "RISK_ORDER_UNKNOWN"),
    ("a type nobody knows", leg(order_type="TELEPATHIC"), "RISK_MALFORMED"),
    ("a side nobody knows", leg(side="HOLD"), "RISK_MALFORMED"),
    ("a limit order without a price", leg(limit_price=None), "RISK_MALFORMED"),
    ("quantity NaN", leg(quantity="NaN"), "RISK_MALFORMED"),
    ("quantity a float NaN", leg(quantity=float("nan")), "RISK_MALFORMED"),
    ("quantity infinite", leg(quantity="Infinity"), "RISK_MALFORMED"),
    ("quantity a float infinity", leg(quantity=float("inf")), "RISK_MALFORMED"),
    ("quantity negative", leg(quantity="-10"), "RISK_MALFORMED"),
    ("quantity zero", leg(quantity="0"), "RISK_MALFORMED"),
    ("quantity no number", leg(quantity="ten"), "RISK_MALFORMED"),
    ("quantity enormous", leg(quantity="9" * 15), "RISK_TICK_SIZE"),
    ("quantity beyond any number", leg(quantity=HUGE), "RISK_MALFORMED"),
    ("quantity beyond memory", leg(quantity="1E+999999999"), "RISK_MALFORMED"),
    ("quantity of a million digits", leg(quantity="1" * 900_000), "RISK_MALFORMED"),
    ("quantity tiny beyond memory", leg(quantity="1E-999999999"), "RISK_MALFORMED"),
    ("quantity of half a share", leg(quantity="0.5"), "RISK_TICK_SIZE"),
    ("quantity too large", leg(quantity="100000"), "RISK_ORDER_QUANTITY_MAX"),
    ("price NaN", leg(limit_price="NaN"), "RISK_MALFORMED"),
    ("price sNaN", leg(limit_price="sNaN"), "RISK_MALFORMED"),
    ("price infinite", leg(limit_price="-Infinity"), "RISK_MALFORMED"),
    ("price negative", leg(limit_price="-100.00"), "RISK_TICK_SIZE"),
    ("price zero", leg(limit_price="0"), "RISK_TICK_SIZE"),
    ("price enormous", leg(limit_price="9" * 15), "RISK_TICK_SIZE"),
    ("price beyond any number", leg(limit_price=HUGE), "RISK_MALFORMED"),
    ("price beyond memory", leg(limit_price="1E+999999999"), "RISK_MALFORMED"),
    ("price between two ticks", leg(limit_price="99.995"), "RISK_TICK_SIZE"),
    ("price far away", leg(limit_price="1000.00"), "RISK_PRICE_COLLAR"),
    ("stop price negative", leg(order_type="STP", limit_price=None, stop_price="-1"), "RISK_TICK_SIZE"),
    ("an unknown contract", top(con_id=424_242), "RISK_CONTRACT_UNKNOWN"),
    ("contract 0", top(con_id=0), "RISK_MALFORMED"),
    ("a contract beyond 64 bits", top(con_id="9" * 30), "RISK_MALFORMED"),
    ("valid beyond 64 bits", top(valid_until_ns="9" * 30), "RISK_MALFORMED"),
    ("a strategy that is not listed", top(strategy="nobody"), "RISK_STRATEGY_UNKNOWN"),
    ("what nobody owns", top(strategy="unassigned"), "RISK_STRATEGY_UNKNOWN"),
    ("another account", top(account="DU999"), "RISK_ACCOUNT"),
    ("another incarnation", top(incarnation="0:0"), "RISK_INCARNATION"),
    ("no incarnation", top(incarnation=""), "RISK_INCARNATION"),
    ("too late", a_minute_late, "RISK_EXPIRED"),
    ("from a clock a day ahead", made_tomorrow, "RISK_ORDER_QUANTITY_MAX"),
    ("a negative time", top(ts_init_ns=-1), "RISK_MALFORMED"),
]
RAW: list[tuple[str, dict[str, bytes]]] = [
    ("nothing", {"a": b""}),
    ("no body", {"type": b"intent", "id": number_id(900_001).encode()}),
    ("no msgpack", {"type": b"intent", "id": number_id(900_002).encode(), "body": b"\xc1\xff"}),
    ("a list", {"type": b"intent", "id": number_id(900_003).encode(), "body": msgpack.packb([1, 2])}),
    ("a map with a list for a key", {"type": b"intent", "id": number_id(900_004).encode(), "body": b"\x81\x90\x01"}),
    ("nested without end", {"type": b"intent", "id": number_id(900_005).encode(), "body": b"\x91" * 100_000}),
    ("oversized", {"type": b"intent", "id": number_id(900_006).encode(), "body": b"\xc0" * (MAX_BODY_BYTES + 1)}),
    ("an unknown type", {"type": b"wish", "id": number_id(900_007).encode(), "body": b"\x80"}),
    ("a type of no text", {"type": b"\xff\xfe", "id": number_id(900_008).encode(), "body": b"\x80"}),
    ("an epoch of no number", {"type": b"intent", "id": number_id(900_009).encode(), "epoch": b"x", "body": b"\x80"}),
    ("an id of no text", {"type": b"intent", "id": b"\xff" * 20, "body": b"\x80"}),
    ("an id of another length", {"type": b"intent", "id": b"short", "body": b"\x80"}),
]


class Desk:
    """Sends what no author of ours would send, and shows that the service is alive after each."""

    def __init__(self, market: Market, server: RedisServer, process: SpawnedProcess) -> None:
        self.market = market
        self.server = server
        self.process = process
        self.number = 0

    def add(self, fields: dict[str, bytes]) -> None:
        with self.server.client() as client:
            client.xadd(self.market.keys.intents, fields)

    def next_intent(self, **values: Any) -> Intent:
        self.number += 1
        return self.market.intent(self.number, **values)

    def send(self, intent: Intent, change: Callable[[Content], None]) -> None:
        fields = encode_fields(intent, source="test")
        content = msgpack.unpackb(fields["body"])
        change(content)
        self.add({**fields, "body": msgpack.packb(content)})

    async def alive(self) -> None:
        """A good order, as small as can be, still passes."""
        intent = self.next_intent(quantity=1)
        await self.market.ask(intent)
        answer = await self.market.answer(self.number)
        assert answer.approved, answer
        assert self.process.status is None

    async def decisions(self) -> dict[str, Decision]:
        found = [one for one in await self.market.messages(self.market.keys.decisions) if isinstance(one, Decision)]
        assert len({one.intent_id for one in found}) == len(found), "an intent has two decisions"
        return {one.intent_id: one for one in found}

    async def commands(self) -> list[str]:
        found = await self.market.messages(self.market.keys.commands)
        return [one.intent.intent_id for one in found if isinstance(one, Command)]


@pytest.fixture
async def desk(market: Market, redis_server: RedisServer, deployment: str, spawn: Spawner, tmp_path: Any) -> Desk:
    await market.reconciled()
    limits = tmp_path / "limits.toml"
    limits.write_text(
        'rules = 5\n[limits]\nstrategies = ["s"]\nstrategy_rate_burst = "unlimited"\naccount_rate_burst = "unlimited"\n'
        'messages_per_s_max = "unlimited"\n'
        'open_orders_side_max = "unlimited"\nduplicates = "allow"\n'
    )
    process = start(
        spawn, redis_server, deployment, RISK_LIMITS_FILE=str(limits), CQ_LEASE_TTL_S="6.0", CQ_LOG_LEVEL="error"
    )
    made = Desk(market, redis_server, process)

    async def decides() -> bool:
        await market.price(100.0)
        intent = made.next_intent(quantity=1)
        await market.ask(intent)
        return (await market.answer(made.number)).approved

    await eventually(decides, 30.0)
    return made


async def test_every_kind_of_bad_intent_gets_a_clear_code_and_none_passes(desk: Desk) -> None:
    expected: dict[str, tuple[str, str]] = {}
    for name, change, code in BAD:
        intent = desk.next_intent()
        desk.send(intent, change)
        expected[intent.intent_id] = (name, code)
    last = desk.number
    await desk.market.answer(last, 30.0)
    await desk.alive()
    decisions = await desk.decisions()
    wrong = {
        name: (code, decisions[intent_id].code if intent_id in decisions else "no answer")
        for intent_id, (name, code) in expected.items()
        if intent_id not in decisions or decisions[intent_id].code != code
    }
    assert not wrong, wrong
    for intent_id, (name, _) in expected.items():
        answer = decisions[intent_id]
        assert not answer.approved and answer.text and len(answer.text) < 500, name
    assert not set(expected) & set(await desk.commands())


async def test_entries_that_are_no_intents_are_kept_and_answered_where_their_author_is_known(desk: Desk) -> None:
    keys = desk.market.keys
    for _, fields in RAW:
        desk.add(fields)
    await desk.alive()
    assert await desk.market.bus.stream_length(keys.dead_letter) == len(RAW)
    decisions = await desk.decisions()
    answered = {one.intent_id for one in decisions.values() if one.code == "RISK_MALFORMED"}
    assert answered == {number_id(900_000 + number) for number in range(1, 10)}


async def test_the_same_intent_again_and_again_and_out_of_order_is_decided_once(desk: Desk) -> None:
    first, second, third = (desk.next_intent(quantity=1) for _ in range(3))
    for intent in (third, first, third, second, first, third, second, second):
        await desk.market.ask(intent)
    desk.send(first, leg(quantity="7"))  # the same id with another content: the first word counts
    await desk.alive()
    decisions = await desk.decisions()
    assert all(decisions[one.intent_id].approved for one in (first, second, third))
    commands = await desk.commands()
    assert [commands.count(one.intent_id) for one in (first, second, third)] == [1, 1, 1]
    assert commands.index(third.intent_id) < commands.index(first.intent_id) < commands.index(second.intent_id)


@pytest.mark.parametrize(
    ("bid", "ask", "ahead_s", "code"),
    [
        (0.0, 0.0, 0, "RISK_DATA_STALE"),
        (float("nan"), float("nan"), 0, "RISK_DATA_STALE"),
        (float("inf"), float("inf"), 0, "RISK_DATA_STALE"),
        (-5.0, -4.0, 0, "RISK_DATA_STALE"),
        (1e300, 1e300, 0, "RISK_DATA_STALE"),
        (101.0, 99.0, 0, "RISK_QUOTE_CROSSED"),
        (99.99, 100.01, -3600, "RISK_DATA_STALE"),
        (99.99, 100.01, 86_400, "RISK_DATA_STALE"),
    ],
)
async def test_prices_that_cannot_be_and_clocks_that_jump_open_nothing(
    desk: Desk, bid: float, ask: float, ahead_s: int, code: str
) -> None:
    market = desk.market

    async def quote(low: float, high: float, ts_ns: int) -> None:
        tick = quote_tick(CON_ID, ts_ns, ts_ns, 1, low, 100, high, 100)
        await market.bus.publish_ticks(
            market.token, [(market.keys.partition(CON_ID), pack_ticks([tick]))], source="gateway:g1"
        )

    async def code_of(price: str | None) -> str:
        intent = desk.next_intent(quantity=1)
        desk.send(intent, leg(order_type="MKT" if price is None else "LMT", limit_price=price))
        return (await market.answer(desk.number)).code

    await quote(bid, ask, SYSTEM_CLOCK.wall_ns() + ahead_s * SECOND_NS)

    async def is_refused() -> bool:
        return await code_of("100.00") == code

    await eventually(is_refused, 10.0)
    assert await code_of(None) == code, "an order at the market neither"
    await market.price(100.0)

    async def is_well_again() -> bool:
        return not await code_of("100.00")

    await eventually(is_well_again, 10.0)


async def test_a_split_that_nobody_explained_opens_nothing_and_lets_the_position_be_closed(desk: Desk) -> None:
    market, keys = desk.market, desk.market.keys
    fill = Fill(
        exec_id="a.01", exec_stem="a", intent_id=number_id(800_000), strategy="s", account=ACCOUNT, con_id=CON_ID,
        side=Side.BUY, quantity=D(300), price=D(100), is_late=True,
    )  # fmt: skip
    await market.publish(keys.fills, fill)

    async def report(position: int) -> None:
        shown = PositionReport(account=ACCOUNT, con_id=CON_ID, currency="USD", position=D(position), average_cost=D(25))
        await market.publish(keys.account, shown)
        await market.publish(keys.account, PositionsComplete(account=ACCOUNT, con_ids=(CON_ID,)))

    await report(300)
    await desk.alive()
    await report(1200)  # four for one
    await market.price(25.0)

    async def answer(side: str, quantity: int, price: str) -> Decision:
        intent = desk.next_intent(side=side, quantity=quantity)
        desk.send(intent, leg(limit_price=price))
        return await market.answer(desk.number)

    async def is_seen() -> bool:
        seen = await answer("BUY", 900, "25.00")
        assert seen.code == "RISK_POSITION_MAX", seen
        return True

    await eventually(is_seen, 10.0)  # 1200 and 900: the broker's figure counts at once, before anybody knows why

    async def is_reduce_only() -> bool:
        seen = await answer("BUY", 1, "25.00")
        assert seen.code == "RISK_REDUCE_ONLY", seen  # and no loss is made of the new price
        return True

    await asyncio.sleep(9.0)  # both may differ for ten seconds, since IB reports them apart
    await eventually(is_reduce_only, 15.0)
    closing = await answer("SELL", 300, "25.00")
    assert closing.approved and closing.is_reducing, closing

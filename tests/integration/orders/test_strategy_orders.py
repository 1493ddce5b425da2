"""Brackets, alternatives and changes as a strategy asks for them, seen in the broker's own books."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from shared.messages.orders import Intent, IntentAction, OrderEvent, OrderState
from tests.support import ROOT, clean_environment, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(120)]
BASE = """
from pydantic import BaseModel
from services.strategy.api import Order, OrderState, Side, Strategy


class Base(Strategy):
    class State(BaseModel):
        quotes: int = 0
        step: str = ""
        order: str = ""
        change: str = ""
        told: list[str] = []

    def on_quote(self, quote):
        self.state.quotes += 1
        if self.state.quotes > 30:  # until risk has seen prices and the account too
            self.act(quote)

    def on_order(self, update):
        self.state.told.append(f"{update.intent_id} {update.leg} {update.state.value} {update.by} {update.code}")
        self.moved(update)

    def moved(self, update):
        pass
"""
BRACKET = (
    BASE
    + """

class Mine(Base):
    def act(self, quote):
        if not self.state.step:
            self.state.step = "bracket"
            self.state.order = self.bracket(
                quote.contract, Side.BUY, 10, take_profit=quote.bid - 0.05, stop_loss=quote.bid * 0.7
            )
"""
)
ALTERNATIVES = (
    BASE
    + """

class Mine(Base):
    def act(self, quote):
        if not self.state.step:
            self.state.step = "buy"
            self.buy(quote.contract, 10)
        elif self.state.step == "buy" and self.position(quote.contract) == 10:
            self.state.step = "exits"
            self.state.order = self.one_cancels_all(
                quote.contract,
                Order(Side.SELL, 10, limit=quote.ask * 1.2),
                Order(Side.SELL, 10, stop=quote.bid * 0.8),
            )
        elif self.state.step == "working":
            self.target_position(quote.contract, 10)  # the exits rest: nothing is missing
            change = self.modify(self.state.order, 0, limit=quote.bid - 0.05)
            if change:
                self.state.step, self.state.change = "changed", change

    def moved(self, update):
        states = {row.leg: row.state for row in self.working_orders() if row.intent_id == self.state.order}
        if self.state.step == "exits" and states == {0: OrderState.WORKING, 1: OrderState.WORKING}:
            self.state.step = "working"
"""
)
CHANGES = (
    BASE
    + """

class Mine(Base):
    def act(self, quote):
        if not self.state.step:
            self.state.step = "buy"
            self.state.order = self.buy(quote.contract, 10, limit=quote.bid * 0.9)
        elif self.state.step == "working":
            # Asked for at every quote; one change at a time leaves, and once it is taken nothing is left to change.
            change = self.modify(self.state.order, limit=self.state_limit(), quantity=20, reason="closer")
            self.state.change = change or self.state.change

    def state_limit(self):
        return round(float(self.working_orders()[0].limit_price) / 0.9 * 0.92) if self.state.change == "" else None

    def moved(self, update):
        if self.state.step == "buy" and update.state is OrderState.WORKING:
            self.state.step = "working"
"""
)


async def told(desk: Any) -> dict[str, Any]:
    record = await desk.bus.load_unit("mine/AAPL")
    return dict(json.loads(record.state)["user"]) if record.state else {}


async def ended(desk: Any, wanted: dict[int, OrderState]) -> str:
    """Wait until the legs of the strategy's order are in the states wanted; return its intent id."""

    async def reached() -> str:
        order = (await told(desk)).get("order") or ""
        events = [each for each in await desk.messages(desk.bus.keys.orders) if isinstance(each, OrderEvent)]
        last = {each.leg: each.state for each in events if each.intent_id == order}
        assert last == wanted, (last, [(e.leg, e.state, e.code, e.text) for e in events][-8:])
        return order

    return str(await eventually(reached, 40.0))


def by_leg(desk: Any) -> list[tuple[str, str, str, str]]:
    orders = sorted(desk.broker.truth()["orders"], key=lambda row: row["order_id"])
    return [(row["action"], row["order_type"], row["status"], row["filled"]) for row in orders]


async def test_a_bracket_fills_and_leaves_one_child_cancelled(desk: Any, run_strategy: Callable[..., Any]) -> None:
    await run_strategy(BRACKET, "Mine")
    await ended(desk, {0: OrderState.FILLED, 1: OrderState.FILLED, 2: OrderState.CANCELLED})
    assert by_leg(desk) == [
        ("BUY", "MKT", "Filled", "10"), ("SELL", "LMT", "Filled", "10"), ("SELL", "STP", "Cancelled", "0"),
    ]  # fmt: skip
    assert desk.broker.truth()["counts"]["orders_sent_twice"] == 0
    assert desk.broker.truth()["accounts"]["DUSIM0001"]["positions"] == {}


async def test_of_two_alternatives_one_fills_and_the_broker_cancels_the_other(
    desk: Any, run_strategy: Callable[..., Any]
) -> None:
    await run_strategy(ALTERNATIVES, "Mine")
    await ended(desk, {0: OrderState.FILLED, 1: OrderState.CANCELLED})
    assert by_leg(desk) == [
        ("BUY", "MKT", "Filled", "10"), ("SELL", "LMT", "Filled", "10"), ("SELL", "STP", "Cancelled", "0"),
    ]  # fmt: skip
    counts = desk.broker.truth()["counts"]
    assert (counts["modify_received"], counts["orders_sent_twice"]) == (1, 0)
    cancels = await desk.messages(desk.bus.keys.cancels)
    assert cancels == [], "the broker cancelled, not we"


async def test_a_change_reaches_the_broker_exactly_once(
    desk: Any, run_strategy: Callable[..., Any], redis_url: str, deployment: str
) -> None:
    await run_strategy(CHANGES, "Mine")

    async def taken() -> dict[str, Any]:
        found = await told(desk)
        assert any(f"{found.get('change')} 0 modified" in line for line in found.get("told", [])), found
        return found

    found = await eventually(taken, 40.0)
    await asyncio.sleep(1.0)  # quotes go on, and so do the questions for a change
    (order,) = desk.broker.truth()["orders"]
    assert (order["quantity"], order["status"]) == ("20", "Submitted")
    assert desk.broker.truth()["counts"]["modify_received"] == 1
    intents = [each for each in await desk.messages(desk.bus.keys.intents) if isinstance(each, Intent)]
    assert [each.action for each in intents] == [IntentAction.PLACE, IntentAction.MODIFY]
    assert sum(found["change"] in line for line in found["told"]) == 1

    limit = str(round(float(order["limit"]) - 1))
    answer = await asyncio.to_thread(
        cq, redis_url, deployment, "order", "modify", found["order"], "--limit", limit, "--json"
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["state"] == "modified"
    (order,) = desk.broker.truth()["orders"]
    assert (float(order["limit"]), order["quantity"]) == (float(limit), "20")
    assert desk.broker.truth()["counts"]["modify_received"] == 2
    nothing = await asyncio.to_thread(cq, redis_url, deployment, "order", "modify", found["order"], "--stop", "5")
    assert nothing.returncode == 65 and "STP LMT" in nothing.stderr


async def test_a_contract_that_the_broker_does_not_know_is_named_and_the_other_unit_trades(
    desk: Any, run_strategy: Callable[..., Any], redis_url: str, deployment: str
) -> None:
    await run_strategy(BRACKET, "Mine", '"AAPL", "NOSUCH"')
    await ended(desk, {0: OrderState.FILLED, 1: OrderState.FILLED, 2: OrderState.CANCELLED})

    async def rows() -> dict[str, dict[str, Any]]:
        answer = await asyncio.to_thread(cq, redis_url, deployment, "strategies", "--json")
        found = {row["unit"]: row for row in json.loads(answer.stdout)}
        assert "NOSUCH: the broker knows no contract NOSUCH" in found["mine/NOSUCH"]["error"], found["mine/NOSUCH"]
        return found

    found = await eventually(rows, 30.0)
    assert found["mine/NOSUCH"]["state"] == "waiting", "it asks again: a contract may be listed tomorrow"
    assert found["mine/AAPL"]["state"] == "running" and not found["mine/AAPL"]["error"]


def cq(redis_url: str, deployment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(
        {"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url, "IB_SIM_ACCOUNT": "DUSIM0001"}
    )
    command = [sys.executable, "-c", "from copilot_quant.cli import main; main()", *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

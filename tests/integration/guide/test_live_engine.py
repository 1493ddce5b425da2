"""A strategy in the user's own process: its orders pass risk, expire, obey a halt, and outlive it at the broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.brokers.interactive_brokers import IBKRBroker
from shared.messages import decode_fields
from shared.messages.control import ControlAction
from shared.messages.orders import Decision, Intent
from tests.integration.guide.conftest import Exchange
from tests.support import SpawnedProcess, Spawner, eventually_sync

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.long, pytest.mark.timeout(300)]
SCRIPT = """
import sys, time
from copilot_quant.backtest.live_engine import LiveStrategyEngine
from copilot_quant.strategies.base import DataStrategy, Order


class Patient(DataStrategy):
    def on_data(self, timestamp, data):
        print("called", sorted(self.working), flush=True)
        price = round(float(data["close"].iloc[-1]) * 0.98, 2)
        return [] if self.working else [Order("AAPL", 1, "buy", "limit", limit_price=price)]


engine = LiveStrategyEngine(paper_trading=True, update_interval=1.0)
engine.add_strategy(Patient())
if not engine.connect():
    sys.exit(engine.last_error)
engine.start(["AAPL"], lookback_days=5)
seen = 0
while engine.is_running:
    for answer in engine.orders[seen:]:
        print("answer", answer["status"], answer["by"], answer["code"], flush=True)
    seen = len(engine.orders)
    time.sleep(0.1)
"""


@pytest.fixture
def broker(here: None) -> Iterator[IBKRBroker]:
    one = IBKRBroker(paper_trading=True)
    assert one.connect(), one.last_error
    yield one
    one.disconnect()


def control(broker: IBKRBroker, action: ControlAction) -> None:
    access = broker.access
    access.run(access.desk.control(action, who="test", reason="test"), limit_s=30)


def last_messages(broker: IBKRBroker, stream: str) -> list[Any]:
    access = broker.access
    entries = access.run(access.desk.bus.read_last(getattr(access.desk.keys, stream), 100), limit_s=5)
    return [decode_fields(entry.fields).message for entry in entries]


def start(spawn: Spawner, paper: Exchange, name: str) -> SpawnedProcess:
    process = spawn.command([sys.executable, "-c", SCRIPT], env=paper.env, name=name)
    process.wait_for_output("called", 60)
    return process


def test_orders_of_the_engine_pass_risk_and_outlive_it_and_a_halt_holds_them(
    broker: IBKRBroker, module_spawn: Spawner, paper: Exchange, folder: Path
) -> None:
    control(broker, ControlAction.RESUME)
    first = start(module_spawn, paper, "engine")
    first.wait_for_output("answer working", 30)
    (intent,) = [one for one in last_messages(broker, "intents") if isinstance(one, Intent)]
    assert intent.strategy == "patient"
    assert 0 < intent.valid_until_ns - intent.ts_init_ns <= 60 * 10**9
    decided = [one for one in last_messages(broker, "decisions") if isinstance(one, Decision)]
    assert [(one.intent_id, one.approved) for one in decided] == [(intent.intent_id, True)]

    first.kill()  # as a crash does: the order rests at the broker, and the next process knows of it
    (resting,) = broker.get_open_orders()
    second = start(module_spawn, paper, "engine-again")
    second.wait_for_output("called ['AAPL']", 30)
    assert "called []" not in second.output
    assert [one["order_id"] for one in broker.get_open_orders()] == [resting["order_id"]]

    control(broker, ControlAction.HALT)  # takes away what adds exposure; what is wanted again is refused by risk
    second.wait_for_output("answer rejected risk RISK_HALTED", 60)
    assert broker.get_open_orders() == []
    control(broker, ControlAction.RESUME)  # the engine has gone on meanwhile
    eventually_sync(lambda: len(broker.get_open_orders()) == 1, 30)
    second.kill()

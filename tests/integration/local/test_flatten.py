"""`cq halt --flatten` beside the whole system: positions close within their bound, each stop only with its close."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.local.run_file import RunningSystem, read_run_file
from tests.integration.local.test_demo import cq
from tests.support import ROOT, Spawner, eventually_sync

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.long, pytest.mark.timeout(240)]
CODE = """
from pydantic import BaseModel
from services.strategy.api import Side, Strategy


class Holder(Strategy):
    class Params(BaseModel):
        quantity: int = 10

    class State(BaseModel):
        quotes: int = 0
        step: str = ""

    def on_quote(self, quote):
        self.state.quotes += 1
        if self.state.quotes > 30 and not self.state.step:  # until risk has seen prices and the account too
            self.state.step = "bought" if self.buy(quote.contract, self.params.quantity) else ""
        elif self.state.step == "bought" and self.position(quote.contract) == self.params.quantity:
            stop = round(float(quote.bid) * 0.8, 2)
            self.state.step = "held" if self.sell(quote.contract, self.params.quantity, stop=stop) else "bought"
"""
TABLE = """
[strategy.first]
file = "holder.py"
class = "Holder"
contracts = ["AAPL", "MSFT"]

[strategy.second]
file = "holder.py"
class = "Holder"
contracts = ["AAPL", "IBM"]
params = { quantity = 7 }
"""
OWNED = {("first", "AAPL"): 10, ("first", "MSFT"): 10, ("second", "AAPL"): 7, ("second", "IBM"): 7}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a demo that runs two strategies which hold four positions, each with a stop."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "holder.py").write_text(CODE)
    (tmp_path / "strategies.toml").write_text(TABLE)
    spawner = Spawner(tmp_path)
    env = {"CQ_TEST_MARKER": f"cq-flatten-{os.getpid()}", "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    arguments = ("demo", "--for", "200", "--strategies", str(tmp_path / "strategies.toml"))
    try:
        spawner("copilot_quant.cli", *arguments, env=env | {"COLUMNS": "200"}).wait_for_output("link READY", 70)
        yield tmp_path
    finally:
        spawner.close()


def truth(system: RunningSystem) -> dict[str, Any]:
    with urllib.request.urlopen(f"{system.simulator_http}/truth", timeout=5) as reply:
        return dict(json.load(reply))


def stops(books: dict[str, Any], status: str) -> list[dict[str, Any]]:
    return [row for row in books["orders"] if row["order_type"] == "STP" and row["status"] == status]


def test_what_strategies_own_closes_and_each_stop_goes_with_its_close(folder: Path) -> None:
    system = read_run_file(folder)
    assert system is not None

    def held() -> dict[str, Any]:
        books = truth(system)
        working = [row for row in stops(books, "PreSubmitted") + stops(books, "Submitted")]
        assert len(working) == len(OWNED), books["orders"]
        return books

    before = eventually_sync(held, 60)
    ((name, account),) = [each for each in before["accounts"].items() if each[1]["positions"]]
    assert sorted(float(row["quantity"]) for row in account["positions"].values()) == [7.0, 10.0, 17.0]
    began = time.monotonic()
    answer = cq(folder, "halt", "--flatten", "--reason", "drill")
    assert answer["left"] == "", answer
    assert time.monotonic() - began < 30
    after = truth(system)
    assert after["accounts"][name]["positions"] == {}
    assert len(stops(after, "Cancelled")) == len(OWNED)
    known = {row["order_ref"] for row in before["orders"]}
    closes = [row for row in after["orders"] if row["order_ref"] not in known]
    assert {(row["action"], row["order_type"], row["tif"]) for row in closes} == {("SELL", "LMT", "IOC")}
    assert sum(Decimal(row["filled"]) for row in closes) == sum(OWNED.values())
    assert sorted(row["con_id"] for row in closes) == sorted(row["con_id"] for row in stops(after, "Cancelled"))
    for row in closes:
        worst, paid = Decimal(row["limit"]), Decimal(row["average_price"])
        assert paid * Decimal("0.9") < worst <= paid, row  # a bound, and kept
    assert after["counts"]["orders_sent_twice"] == 0

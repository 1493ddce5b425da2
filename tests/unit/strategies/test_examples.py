"""The examples do what their first sentence says."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.strategy.api import Bar, ClosedBar, OrderType, Quote, Side, Strategy
from services.strategy.core.ordering import Identity
from services.strategy.core.unit import Unit
from services.strategy.shell.loader import DeclaredUnit, load_strategies
from shared.messages.market import ContractInfo
from shared.messages.orders import Group, Intent, IntentAction, OrderEvent, OrderState
from tests.support import ROOT

NS = 1_000_000_000
MINUTE = 60 * NS
T0 = 1_700_000_000 * NS // MINUTE * MINUTE
FOLDER = ROOT / "strategies"
CONTRACTS = {
    name: ContractInfo(con_id=number, name=name, symbol=name, sec_type="STK", exchange="SMART", currency="USD")
    for number, name in enumerate(("AAPL", "MSFT", "GOOGL", "SPY", "IBM"), start=1)
}


@pytest.fixture
def declared(tmp_path: Path) -> dict[str, DeclaredUnit]:
    """Every unit of the shipped file, those that are switched off too."""
    text = (FOLDER / "strategies.toml").read_text().replace("enabled = false\n", "")
    for file in FOLDER.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "strategies.toml").write_text(text)
    loaded = load_strategies(tmp_path / "strategies.toml")
    assert loaded.mistakes == {}
    assert {unit.strategy.name for unit in loaded.units.values()} == set(tomllib.loads(text)["strategy"])
    return dict(loaded.units)


class Bench:
    """One unit of an example."""

    def __init__(self, declared: DeclaredUnit, **params: Any) -> None:
        spec = declared.strategy
        values = spec.cls.Params.model_validate({**spec.params.model_dump(), **params})
        self.strategy: Strategy = spec.cls(values)
        contracts = {CONTRACTS[name].con_id: CONTRACTS[name] for name in declared.contracts}
        needs = spec.cls.history_needs(values)
        identity = Identity("d", "DUSIM0001", spec.name, declared.unit_id)
        self.unit = Unit(identity, self.strategy, contracts, history_needs=needs)
        self.strategy.bind(self.unit)

    def left(self, at_ns: int = T0) -> list[Intent]:
        assert self.unit.recent_errors == []
        commit = self.unit.commit(at_ns)
        self.unit.committed(at_ns)
        return [] if commit is None else [one for one in commit.intents if one.ts_init_ns == at_ns]

    def quote(self, name: str, mid: float, at_ns: int = T0) -> list[Intent]:
        quote = Quote(CONTRACTS[name], mid - 0.01, 1.0, mid + 0.01, 1.0, at_ns)
        self.unit.quote(quote, at_ns, at_ns, "1-1")
        return self.left(at_ns)

    def bar(self, name: str, close: float, at_ns: int) -> list[Intent]:
        bar = Bar(CONTRACTS[name], "1m", at_ns - MINUTE, at_ns, close, close, close, close, 1.0)
        self.unit.bar(bar, at_ns, at_ns, "1-1")
        return self.left(at_ns)

    def tell(self, intent: Intent, leg: int, state: OrderState, at_ns: int) -> None:
        terms = intent.legs[leg]
        self.unit.order_event(
            OrderEvent(
                intent_id=intent.intent_id, leg=leg, state=state, strategy=intent.strategy, account=intent.account,
                con_id=intent.con_id, side=terms.side, quantity=terms.quantity, order_type=terms.order_type,
                limit_price=terms.limit_price, stop_price=terms.stop_price, parent_leg=terms.parent_leg,
            ),
            at_ns, at_ns, "1-1",
        )  # fmt: skip


def summary(intents: list[Intent]) -> list[tuple[str, Side, Decimal]]:
    return [(one.contract, one.legs[0].side, one.legs[0].quantity) for one in intents]


def test_a_breakout_is_bought_with_exits_and_its_stop_follows(declared: dict[str, DeclaredUnit]) -> None:
    bench = Bench(declared["breakout/AAPL"], channel=4, risk=0.5, reward=2.0)
    before = [ClosedBar(T0 - number * MINUTE, 100, 101, 99, 100, 1) for number in range(5, 1, -1)]
    bench.unit.history.load(1, "1 min", before)
    bench.unit.history.begin(T0)
    bench.unit.start(T0, T0)
    assert bench.bar("AAPL", 101.0, T0) == [], "a touch is no breakout"
    (entry,) = bench.bar("AAPL", 101.5, T0 + MINUTE)
    assert entry.group is Group.BRACKET and entry.reason == "101.5 is above 101"
    assert [(leg.order_type, leg.limit_price, leg.stop_price) for leg in entry.legs] == [
        (OrderType.MARKET, None, None), (OrderType.LIMIT, Decimal("105.50"), None),
        (OrderType.STOP, None, Decimal("100.50")),
    ]  # fmt: skip
    for leg, state in enumerate((OrderState.FILLED, OrderState.WORKING, OrderState.WORKING)):
        bench.tell(entry, leg, state, T0 + MINUTE)
    assert bench.bar("AAPL", 101.2, T0 + 2 * MINUTE) == [], "a stop never goes back"
    (change,) = bench.bar("AAPL", 103.0, T0 + 3 * MINUTE)
    assert (change.action, change.modifies, change.legs[0].leg) == (IntentAction.MODIFY, entry.intent_id, 2)
    assert change.legs[0].stop_price == Decimal("102.00")
    bench.tell(entry, 1, OrderState.CANCELLED, T0 + 4 * MINUTE)
    bench.tell(entry, 2, OrderState.FILLED, T0 + 4 * MINUTE)
    assert bench.strategy.state.bracket == ""


def test_a_pair_is_opened_when_it_is_far_apart_and_closed_when_it_is_back(declared: dict[str, DeclaredUnit]) -> None:
    bench = Bench(declared["pairs/all"], period=20, enter=2.0, leave=0.5, notional=1000.0)
    bench.unit.start(T0, T0)
    for number in range(60):
        assert bench.quote("MSFT", 100.0 + 0.1 * (number % 2)) == []
        assert bench.quote("GOOGL", 50.0) == []
    opened = bench.quote("MSFT", 103.0)
    assert summary(opened) == [("MSFT", Side.SELL, 9), ("GOOGL", Side.BUY, 20)]
    closed: list[Intent] = []
    for _ in range(60):
        closed += bench.quote("MSFT", 100.0)
    assert summary(closed[:2]) == [("MSFT", Side.BUY, 9), ("GOOGL", Side.SELL, 20)]


def test_weights_are_bought_and_kept_and_sales_come_first(declared: dict[str, DeclaredUnit]) -> None:
    bench = Bench(declared["rebalancer/all"], capital=10_000.0, weights={"SPY": 0.6, "IBM": 0.3}, every_s=10)
    bench.unit.start(T0, T0)
    bench.quote("SPY", 100.0)
    bench.unit.tick(T0 + 10 * NS)
    assert bench.left(T0 + 10 * NS) == [], "one price is not known yet"
    bench.quote("IBM", 50.0)
    bench.unit.tick(T0 + 20 * NS)
    bought = bench.left(T0 + 20 * NS)
    assert sorted(summary(bought)) == [("IBM", Side.BUY, 60), ("SPY", Side.BUY, 60)]
    bench.quote("SPY", 102.0, T0 + 21 * NS)
    bench.unit.tick(T0 + 30 * NS)
    assert bench.left(T0 + 30 * NS) == [], "within the drift"
    bench.quote("SPY", 120.0, T0 + 31 * NS)
    bench.quote("IBM", 40.0, T0 + 31 * NS)
    bench.unit.tick(T0 + 40 * NS)
    assert summary(bench.left(T0 + 40 * NS)) == [("SPY", Side.SELL, 10), ("IBM", Side.BUY, 15)]

from __future__ import annotations

from typing import Any

import pytest

from services.strategy.api import Quote, Strategy, Trade
from services.strategy.shell.feed import Dispatcher, RunningUnit, merged, streams_of
from services.strategy.shell.loader import Declared, DeclaredUnit
from shared.bus.keys import Keys
from shared.bus.ports import Entry
from shared.ids import UnitId
from shared.messages.base import Message
from shared.messages.codec import encode_fields
from shared.messages.control import Control, ControlAction
from shared.messages.market import FLAG_LATE, Tick, TickKind, pack_ticks, quote_tick, trade_tick
from tests.unit.services.strategy.parts import IBM, NICKEL, unit_of

KEYS = Keys("x", 4)


class Ear(Strategy):
    def __init__(self) -> None:
        super().__init__(self.Params())
        self.heard: list[Any] = []

    def on_quote(self, quote: Quote) -> None:
        self.heard.append((quote.contract.name, quote.bid, self.now_ns))

    def on_trade(self, trade: Trade) -> None:
        self.heard.append((trade.contract.name, trade.price))


class Deaf(Ear):
    on_quote = Strategy.on_quote
    on_trade = Strategy.on_trade


def running(cls: type[Ear] = Ear) -> RunningUnit:
    strategy = cls()
    declared = Declared("s", cls, Strategy.Params(), (), "s.py")
    streams = streams_of(KEYS, [IBM.con_id], [])
    return RunningUnit(DeclaredUnit(UnitId("s/IBM"), declared, ("IBM",)), unit_of(strategy), strategy, streams)


def ticks(*found: Tick, entry_id: str = "5-0") -> Entry:
    return Entry(KEYS.ticks(KEYS.partition(IBM.con_id)), entry_id, {b"type": b"ticks", b"body": pack_ticks(found)})


def entry(stream: str, message: Message, entry_id: str = "5-0") -> Entry:
    fields = encode_fields(message, source="test")
    return Entry(stream, entry_id, {name.encode(): value for name, value in fields.items()})


def test_a_batch_goes_to_the_units_of_its_contracts_with_the_buss_time() -> None:
    unit = running()
    batch = ticks(
        quote_tick(IBM.con_id, 1, 1, 1, 10.0, 1, 10.1, 1),
        quote_tick(777, 1, 1, 1, 5.0, 1, 5.1, 1),
        trade_tick(NICKEL.con_id, 1, 1, 1, 7.0, 1),
        trade_tick(IBM.con_id, 1, 1, 1, 8.0, 1, FLAG_LATE),
    )
    assert Dispatcher(KEYS, [unit]).handle(batch, 0) is None
    assert unit.strategy.heard == [("IBM", 10.0, 5_000_000), ("NICKEL", 7.0)]  # type: ignore[attr-defined]


def test_a_strategy_that_handles_no_quotes_costs_nothing() -> None:
    assert not running(Deaf).wants_quotes and not running(Deaf).wants_trades


def test_a_marker_is_told_but_does_not_stop_trading() -> None:
    unit = running()
    Dispatcher(KEYS, [unit]).handle(ticks(Tick(1, 1, 1, TickKind.MARKER, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)), 0)
    assert not unit.unit.why_not_trading


def test_an_unreadable_tick_batch_is_reported_and_stops_nothing() -> None:
    unit = running()
    bad = Entry(KEYS.ticks(0), "5-0", {b"type": b"ticks", b"body": b"x"})
    assert "64-byte" in (Dispatcher(KEYS, [unit]).handle(bad, 0) or "")
    assert not unit.unit.why_not_trading


@pytest.mark.parametrize("stream", [KEYS.orders, KEYS.fills, KEYS.control])
def test_an_unreadable_order_fill_or_control_stops_trading(stream: str) -> None:
    unit = running()
    bad = Entry(stream, "5-0", {b"type": b"fill", b"body": b"\xc1"})
    assert Dispatcher(KEYS, [unit]).handle(bad, 0)
    assert "gap" in unit.unit.why_not_trading


def test_an_operator_pauses_and_resumes_one_strategy() -> None:
    unit = running()
    dispatcher = Dispatcher(KEYS, [unit])
    for action, scope, is_paused in [
        (ControlAction.PAUSE_STRATEGY, "strategy:other", False),
        (ControlAction.PAUSE_STRATEGY, "strategy:s", True),
        (ControlAction.RESUME_STRATEGY, "strategy:other", True),
        (ControlAction.RESUME_STRATEGY, "strategy:s", False),
    ]:
        dispatcher.handle(entry(KEYS.control, Control(control_id="1", action=action, scope=scope, who="me")), 0)
        assert bool(unit.unit.why_not_trading) is is_paused


def test_entries_of_several_streams_come_in_the_order_of_their_ids_up_to_where_all_reach() -> None:
    def of(stream: str, *ids: str) -> list[Entry]:
        return [Entry(stream, one, {}) for one in ids]

    found = {"a": of("a", "1-0", "4-0", "9-0"), "b": of("b", "2-0", "10-0")}
    assert [one.entry_id for one in merged(found, 100)] == ["1-0", "2-0", "4-0", "9-0", "10-0"]
    assert [one.entry_id for one in merged(found, 3)] == ["1-0", "2-0", "4-0", "9-0"]


def test_what_was_read_beside_does_not_run_ahead_of_the_ticks() -> None:
    def entries(stream: str, *ids: str) -> list[Entry]:
        return [Entry(stream, one, {}) for one in ids]

    found = {"ticks": entries("ticks", "1-0", "4-0"), "orders": entries("orders", "2-0", "5-0")}
    assert [one.entry_id for one in merged(found, 100, upto=("ticks", "more"))] == ["1-0", "2-0", "4-0"]
    assert [one.entry_id for one in merged({"orders": found["orders"]}, 100, upto=("ticks",))] == ["2-0", "5-0"]

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from shared.clock import parse_iso_utc
from shared.messages.codec import encode_body
from shared.messages.control import Control, ControlAction
from shared.messages.orders import Commission, OrderState, Side
from tests.unit.copilot_quant.cli.conftest import APPLE, Typed, World, a_position, an_order

Cq = Callable[..., Typed]
MONDAY, TUESDAY = (parse_iso_utc(f"2026-11-{day}T15:00") for day in (23, 24))


@pytest.fixture
def busy(world: World) -> World:
    """A deployment that leads, holds, works and has filled."""
    world.beat("gateway", role="leader", epoch=17, link="READY")
    world.beat("risk", ready=False, failed={"bus": "it catches up"})
    world.hold(a_position())
    world.work(an_order(), an_order(order_ref="cq-u", state=OrderState.UNKNOWN, order_type="LMT"))
    world.fill(1, MONDAY)
    world.fill(2, TUESDAY, side=Side.SELL, quantity=Decimal(40), price=Decimal("151.5"))
    return world


def test_status_opens_with_mode_account_port_leader_positions_protection_and_unknown_orders(
    busy: World, cq: Cq
) -> None:
    done = cq("status")
    lines = done.out.splitlines()
    assert done.status == 0
    assert lines[0] == "SIM  account DUSIM0001  broker 127.0.0.1:4102"
    assert lines[1] == "gateway-1 leads (epoch 17), link READY"
    assert "2 working orders, 1 unknown" in lines[2]
    assert any("AAPL" in line and "100" in line and "yes" in line for line in lines[3:9])
    assert "it catches up" in done.out


def test_status_says_why_the_link_is_not_ready_which_window_it_is_and_how_a_standby_does(world: World, cq: Cq) -> None:
    world.beat("gateway", role="leader", epoch=17, link="DEGRADED", link_reason="code 1100", window="within reset")
    standby = {"link": "STANDBY", "data_link": "READY", "data_link_reason": ""}
    world.beat("gateway", instance="gateway-2", role="standby", **standby)
    done = cq("status")
    assert done.out.splitlines()[1] == (
        "gateway-1 leads (epoch 17), link DEGRADED: code 1100; broker's window: within reset"
    )
    assert "STANDBY, data session READY" in done.out
    world.beat("gateway", role="leader", epoch=17, link="READY", broken_farms=["usfarm", "eufarm"])
    assert cq("status").out.splitlines()[1].endswith("link READY; broken data farms: usfarm, eufarm")
    assert cq("status", "--json").json["broken_farms"] == ["usfarm", "eufarm"]
    world.beat("gateway", role="leader", epoch=17, link="DEGRADED", link_reason="code 1100", window="within reset")
    found = cq("status", "--json").json
    assert (found["link_reason"], found["window"]) == ("code 1100", "within reset")


def test_status_of_a_deployment_nobody_leads_says_what_that_means(world: World, cq: Cq) -> None:
    done = cq("status")
    assert "no gateway leads: no order can go out" in done.out
    assert "HALTED: nothing is stored" in done.out and "no positions" in done.out


def test_status_as_json_has_the_same_facts(busy: World, cq: Cq) -> None:
    found = cq("status", "--json").json
    assert (found["mode"], found["account"], found["broker"]) == ("sim", "DUSIM0001", "127.0.0.1:4102")
    assert (found["leader"], found["epoch"], found["orders_unknown"]) == ("gateway-1", 17, 1)
    assert found["positions"] == [{"contract": "AAPL", "position": "100", "protected": "100"}]


def test_the_port_is_that_of_tws_and_the_guards_is_said_beside_it(
    world: World, cq: Cq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("copilot_quant.cli.looking.broker_behind", lambda settings: "127.0.0.1:7497")
    head = cq("status").out.splitlines()[0]
    assert head == "SIM  account DUSIM0001  broker 127.0.0.1:7497 (through the guard at 127.0.0.1:4102)"


@pytest.mark.parametrize(
    "stored, says",
    [
        ({}, "HALTED: nothing is stored of whether it trades"),
        ({"stage": "clean", "reason": "lunch [noon]"}, "HALTED (clean): lunch [noon]; 0 working"),
        ({"stage": "none"}, "trading; 0 working orders, 0 unknown"),
    ],
)
def test_whether_it_trades_is_one_sentence(world: World, cq: Cq, stored: dict[str, str], says: str) -> None:
    if stored:
        world.put(lambda bus: bus.hash_set(world.keys.halt, stored))
    assert says in cq("status").out


def test_one_contract_has_one_name_whoever_tells_of_it(world: World, cq: Cq) -> None:
    world.hold(a_position(contract="AAPL@NASDAQ"))
    world.work(an_order(contract="AAPL@NASDAQ"))
    world.fill(1, 1, contract="AAPL@ISLAND")
    found = [cq(*words, "--json").json for words in (("positions",), ("orders",), ("fills",))]
    assert [rows[0]["contract"] for rows in found] == ["AAPL"] * 3
    assert cq("status", "--json").json["positions"][0]["contract"] == "AAPL"


def test_orders_are_listed_with_what_identifies_and_prices_them(busy: World, cq: Cq) -> None:
    done = cq("orders")
    assert done.status == 0
    assert all(word in done.out for word in ("momentum", "AAPL", "SELL", "STP", "140.5", "UNKNOWN".lower()))
    rows = cq("orders", "--json").json
    assert [row["state"] for row in rows] == ["working", "unknown"] and rows[0]["quantity"] == "100"


def test_a_second_order_that_the_broker_made_is_listed_by_its_own_name(world: World, cq: Cq) -> None:
    world.work(an_order(), an_order(order_ref="", perm_id=100, is_external=True))
    rows = cq("orders", "--json").json
    assert sorted(row["intent"] for row in rows) == sorted([an_order().intent_id, "permId 100"])


def test_positions_with_cost_and_price(busy: World, cq: Cq) -> None:
    assert "151.25" in cq("positions").out
    (row,) = cq("positions", "--json").json
    assert (row["position"], row["average_cost"], row["con_id"]) == ("100", "150", 265598)


@pytest.mark.parametrize(
    "options, expected",
    [
        ([], ["0000.01.01", "0000.02.01"]),
        (["--from", "2026-11-24"], ["0000.02.01"]),
        (["--to", "2026-11-24"], ["0000.01.01"]),
        (["--from", "2026-11-23T14:00", "--to", "2026-11-23T16:00"], ["0000.01.01"]),
        (["--from", "2026-12-01"], []),
    ],
)
def test_fills_of_a_time_as_csv_and_json(busy: World, cq: Cq, options: list[str], expected: list[str]) -> None:
    done = cq("fills", "--csv", *options)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["exec_id"] for row in rows] == expected
    assert [row["exec_id"] for row in cq("fills", "--json", *options).json] == expected
    if expected == ["0000.02.01"]:
        assert rows[0]["time"] == "2026-11-24T15:00:00.000000Z" and rows[0]["price"] == "151.5"


def test_fills_as_a_table(busy: World, cq: Cq) -> None:
    assert "150.25" in cq("fills").out
    assert "no fills yet" in cq("fills", "--from", "2027-01-01").out


def test_a_time_that_is_none_is_explained(world: World, cq: Cq) -> None:
    done = cq("fills", "--from", "yesterday")
    assert done.status == 65 and "--from" in done.err and "2026-11-23" in done.err and not done.out


def test_account_values(world: World, cq: Cq) -> None:
    assert "not synchronised yet" in cq("account").out
    world.put(lambda bus: bus.hash_set(bus.keys.account_values, {"NetLiquidation:USD": "100000.50"}))
    assert "100000.50" in cq("account").out
    assert cq("account", "--json").json == {"NetLiquidation:USD": "100000.50"}


def test_strategies_show_owner_contracts_profit_and_errors(world: World, cq: Cq) -> None:
    assert "no unit yet" in cq("strategies").out
    held = {"position": "5", "average_price": "150", "realized": "12.5"}
    row = {
        "unit": "m1", "strategy": "momentum", "state": "running", "owner": "w1", "names": ["AAPL"],
        "contracts": [APPLE.con_id], "positions": {"AAPL": held}, "errors": 2, "error": "line 7: oh",
    }  # fmt: skip
    charge = Commission(
        exec_id="e1",
        strategy="momentum",
        account="DUSIM0001",
        con_id=APPLE.con_id,
        commission=Decimal("1.5"),
        currency="USD",
    )
    world.put(lambda bus: bus.hash_set(bus.keys.strategies, {"m1": json.dumps(row)}))
    world.put(lambda bus: bus.hash_set(bus.keys.contracts, {str(APPLE.con_id): encode_body(APPLE)}))
    world.put(lambda bus: bus.hash_set(bus.keys.last(APPLE.con_id), {"bid": "151.99", "ask": "152.01"}))
    for _ in range(2):  # a commission that is told twice is paid once
        world.put(lambda bus: bus.append(bus.keys.fills, charge, source="test"))
    out = cq("strategies").out
    assert all(word in out for word in ("m1", "running", "w1", "5 AAPL", "+21.00", "line 7"))
    (shown,) = cq("strategies", "--json").json
    assert shown.pop("pnl") == {
        "by_currency": {"USD": {"realized": "12.50", "unrealized": "10.00", "commissions": "1.50", "net": "21.00"}},
        "unpriced": [],
    }
    assert shown == row


def test_a_contract_is_shown_and_an_unknown_one_explained(world: World, cq: Cq) -> None:
    done = cq("contract", "show", "AAPL")
    assert done.status == 0 and "265598" in done.out
    assert cq("contract", "show", "AAPL", "--json").json["currency"] == "USD"
    done = cq("contract", "show", "FUT:ES")
    assert done.status == 65 and done.err.startswith("cq: ")


def test_a_search_shows_every_name_and_what_is_known_of_it(world: World, cq: Cq) -> None:
    world.names = ["AAPL", "AAP"]
    assert all(word in cq("contract", "find", "AAP").out for word in ("AAPL", "265598", "SMART"))
    rows = cq("contract", "find", "AAP", "--json").json
    assert [(row["name"], row["con_id"]) for row in rows] == [("AAPL", 265598), ("AAP", None)]
    world.names = []
    assert "nothing found" in cq("contract", "find", "ZZZ").out


def test_a_stream_is_printed_decoded(world: World, cq: Cq) -> None:
    act = Control(control_id="c1", action=ControlAction.HALT, who="anna", reason="lunch")
    world.put(lambda bus: bus.append(bus.keys.control, act, source="desk:1"))
    assert all(word in cq("tail", "control").out for word in ("control", "anna", "lunch", "desk:1"))
    line = json.loads(cq("tail", "control", "--json").out)
    assert line["type"] == "control" and line["message"]["who"] == "anna"
    assert cq("tail", "orders").out == ""


def test_an_entry_that_cannot_be_read_is_shown_as_such(world: World, cq: Cq) -> None:
    async def damage(bus: Any) -> None:
        act = Control(control_id="c1", action=ControlAction.HALT, who="anna")
        await bus.append(bus.keys.control, act, source="t")
        bus._server.streams[bus.keys.control][0].fields[b"body"] = b"\xc1"

    world.put(damage)
    assert "undecodable" in cq("tail", "control").out


def test_a_stream_that_does_not_exist_is_answered_with_those_that_do(world: World, cq: Cq) -> None:
    done = cq("tail", "order")
    assert done.status == 65 and "dead-letter" in done.err


@pytest.mark.parametrize("words", [["status"], ["orders"], ["fills"], ["tail", "fills"], ["account"]])
def test_a_bus_that_is_away_is_one_sentence(world: World, cq: Cq, words: list[str]) -> None:
    world.is_away = True
    done = cq(*words)
    assert done.status == 69 and len(done.err.splitlines()) == 1 and "Traceback" not in done.err

"""Every command comes by all three ways: words of the command line, JSON of HTTP, steps of a scenario file."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.scenario import parse_scenario
from services.simulator.shell.remote import parameters_of
from shared.tws import requests as rq
from shared.tws.contract import TwsContract
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order

CALL = TwsContract(symbol="SPY", sec_type="OPT", exchange="SMART", last_trade_date="20261218", strike=600.0, right="C")
NEEDED: dict[str, Any] = {
    "client_id": 1, "code": 2104, "symbol": "AAPL", "amount": "1.5", "new": 2, "to": "NEWNAME", "name": "orderStatus",
    "percent": 1.5, "text": "It rains.",
}  # fmt: skip
EXTRA: dict[str, dict[str, Any]] = {
    "correction": {"price": "99.5"}, "false_alarms": {"codes": [399]}, "missing_end": {"name": "openOrderEnd"},
    "hard_to_borrow": {"seconds": 1}, "halt": {"seconds": 1},
}  # fmt: skip


def rehearsed() -> tuple[Driver, dict[str, Any]]:
    """Return an exchange with a client, fills, a working order and options both ways, and ids for the commands."""
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.ask(1, rq.ReqMktData(901, CALL))
    driver.quote(100, 100.02)
    option = driver.engine.floor.universe.resolve(CALL)
    con_id: int = option.instrument.con_id  # type: ignore[union-attr]
    driver.quote(20, 20.05, con_id=con_id)
    driver.place(1, 1, order("BUY", 100))
    driver.place(1, 2, order("BUY", 10, "LMT", lmt_price="90"))
    driver.place(1, 3, order("BUY", 1), CALL)
    driver.run()
    working = next(driver.engine.orders.book.open_orders())
    return driver, {"perm_id": working.perm_id, "contract": str(con_id)}


def parameters(driver: Driver, name: str, ids: dict[str, Any]) -> dict[str, Any]:
    needed = next(each for each in driver.engine.commands.help() if each.name == name).parameters
    found = {key: {**NEEDED, **ids}[key] for key, value in needed.items() if value == "required"}
    return {**found, **EXTRA.get(name, {})}


COMMANDS = [each.name for each in Driver().engine.commands.help()]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("way", ["words", "json", "toml"])
def test_it_is_carried_out(name: str, way: str) -> None:
    driver, ids = rehearsed()
    given = parameters(driver, name, ids)
    if name == "assign":
        driver.engine.accounts["DUSIM0001"].holdings[int(ids["contract"])].quantity = Decimal(-1)
    before = driver.truth()["counts"].get("fault", 0)
    if way == "words":
        words = [f"{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in given.items()]
        driver.fault(name, **parameters_of(words))
    elif way == "json":
        driver.fault(name, **json.loads(json.dumps(given)))
    else:
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in given.items())
        text = f'[[step]]\nafter_s = 1\ndo = "{name}"\n{lines}\n'
        driver.engine.play(parse_scenario("all.toml", text, driver.engine.commands.check))
        driver.run(1.1)
        assert not [line for line in driver.engine.floor.ledger.lines if "scenario_failed" in line]
    assert driver.truth()["counts"]["fault"] == before + 1


def test_there_are_fifty() -> None:
    assert len(COMMANDS) == 50, "the change log and the documentation name the number"

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from services.simulator.core.account import Account
from services.simulator.core.persistence import (
    account_to_dict,
    execution_from_dict,
    execution_to_dict,
    order_from_dict,
    order_to_dict,
    restore_account,
)
from shared.tws import requests as rq
from shared.tws.order import TwsOrder
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def traded() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02, ask_size=60)
    return driver


@pytest.mark.parametrize(
    "placed",
    [
        order("BUY", 500, "LMT", lmt_price="100.02", order_ref="a", outside_rth=True, oca_group="g", oca_type=2),
        order("SELL", 100, "TRAIL", trailing_percent="1.5", tif="GTC", account="DUSIM0001"),
        order("BUY", 100, "REL", lmt_price="101", aux_price="0.02"),
        order("BUY", 100, "LMT", lmt_price="90", tif="GTD", good_till_date="20261124-15:00:00"),
    ],
)
def test_an_order_comes_back_as_it_was(traded: Driver, placed: TwsOrder) -> None:
    traded.place(1, 1, placed)
    traded.run()
    [before] = traded.engine.orders.book.by_perm.values()
    stored = json.loads(json.dumps(order_to_dict(before)))
    after = order_from_dict(stored, traded.engine.floor.universe)
    assert after is not None
    assert after.order == before.order and after.contract == before.contract
    for name in ("status", "filled", "paid", "remaining", "expires_ns", "is_at_exchange", "perm_id", "commission"):
        assert getattr(after, name) == getattr(before, name), name
    assert replace(after.working, peg=before.working.peg) == before.working
    assert order_to_dict(after) == stored


def test_a_changed_order_is_stored_anew(traded: Driver) -> None:
    traded.place(1, 1, order("BUY", 100, "LMT", lmt_price="90"))
    traded.run()
    traded.place(1, 1, order("BUY", 100, "LMT", lmt_price="91"))
    traded.run()
    after = order_from_dict(traded.saved[("order", "1250000001")], traded.engine.floor.universe)
    assert after is not None and after.order.lmt_price == Decimal(91)


def test_what_an_older_version_stored_is_read(traded: Driver) -> None:
    traded.place(1, 1, order("BUY", 100, "LMT", lmt_price="90"))
    [made] = traded.engine.orders.book.by_perm.values()
    stored = order_to_dict(made)
    for name in ("expires_ns", "starts_ns"):
        del stored[name]
    after = order_from_dict(stored, traded.engine.floor.universe)
    assert after is not None and after.expires_ns == 0


def test_an_order_for_a_contract_that_is_gone_is_left_out(traded: Driver) -> None:
    traded.place(1, 1, order("BUY", 100, "LMT", lmt_price="90"))
    [made] = traded.engine.orders.book.by_perm.values()
    elsewhere = replace(made, contract=replace(made.contract, con_id=99))
    elsewhere.frame = None
    assert order_from_dict(order_to_dict(elsewhere), traded.engine.floor.universe) is None


def test_executions_and_accounts_come_back(traded: Driver) -> None:
    traded.place(1, 1, order("BUY", 50, order_ref="a"))
    traded.run()
    universe = traded.engine.floor.universe
    [execution] = traded.engine.executions.all
    assert execution_from_dict(json.loads(json.dumps(execution_to_dict(execution))), universe) == execution
    before, after = traded.engine.accounts["DUSIM0001"], Account("DUSIM0001")
    restore_account(after, json.loads(json.dumps(account_to_dict(before))), universe)
    assert (after.cash, after.holdings, after.commissions) == (before.cash, before.holdings, before.commissions)

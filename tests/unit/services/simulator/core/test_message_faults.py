from __future__ import annotations

from decimal import Decimal

import pytest

from services.simulator.core.commands import BadFault
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order


@pytest.fixture
def exchange() -> Driver:
    driver = Driver()
    driver.connect(1)
    driver.ask(1, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    return driver


def test_messages_come_twice_late_or_not_at_all(exchange: Driver) -> None:
    exchange.fault("duplicate_message", name="execDetails")
    exchange.fault("late_message", name="orderStatus", delay_ms=1000, count=1)
    exchange.fault("drop_message", name="commissionReport")
    exchange.place(1, 1, order("BUY", 100))
    exchange.run()
    assert len({each.exec_id for each in exchange.got(1, rs.ExecDetails)}) == 1
    assert len(exchange.got(1, rs.ExecDetails)) == 2
    assert exchange.statuses(1, 1) == ["Filled"], "PreSubmitted is on its way"
    assert exchange.got(1, rs.CommissionReport) == []
    exchange.run(1)
    assert exchange.statuses(1, 1) == ["Filled", "PreSubmitted"]


def test_a_second_copy_may_come_later(exchange: Driver) -> None:
    exchange.fault("duplicate_message", name="currentTime", delay_ms=500)
    exchange.ask(1, rq.ReqCurrentTime())
    assert len(exchange.got(1, rs.CurrentTime)) == 1
    exchange.run(0.6)
    assert len(exchange.got(1, rs.CurrentTime)) == 2


def test_a_commission_before_its_execution(exchange: Driver) -> None:
    exchange.fault("commission_first")
    exchange.place(1, 1, order("BUY", 100))
    exchange.run()
    order_of = [type(each) for each in exchange.sent[1] if isinstance(each, rs.ExecDetails | rs.CommissionReport)]
    assert order_of == [rs.CommissionReport, rs.ExecDetails]


def test_false_alarms_do_not_touch_the_order(exchange: Driver) -> None:
    exchange.fault("false_alarms", codes=[10349, 399])
    exchange.place(1, 1, order("BUY", 100))
    exchange.run()
    assert exchange.errors(1) == [(1, 10349), (1, 399)]
    assert exchange.statuses(1, 1)[-1] == "Filled"
    exchange.place(1, 2, order("BUY", 100))
    exchange.run()
    assert len(exchange.errors(1)) == 2


def test_a_correction_changes_the_books(exchange: Driver) -> None:
    exchange.place(1, 1, order("BUY", 100))
    exchange.run()
    before = exchange.truth()["accounts"]["DUSIM0001"]["cash"]["USD"]
    exchange.fault("correction", price="100.50")
    exchange.fault("correction", price="100.52", shares="90")
    truth = exchange.truth()
    account = truth["accounts"]["DUSIM0001"]
    assert Decimal(account["cash"]["USD"]) - Decimal(before) == Decimal("10002") - Decimal("100.52") * 90
    assert account["positions"]["265598"]["quantity"] == "90"
    assert [(each["exec_id"][-2:], each["is_current"]) for each in truth["executions"]] == [
        ("01", False), ("02", False), ("03", True),
    ]  # fmt: skip
    assert [each.exec_id[-2:] for each in exchange.got(1, rs.ExecDetails)] == ["01", "02", "03"]
    assert truth["orders"][0]["filled"] == "90"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("drop_message", {"name": "nonsense"}),
        ("missing_end", {"name": "orderStatus"}),
        ("late_message", {"delay_ms": -1}),
        ("duplicate_message", {"count": 0}),
        ("false_alarms", {"codes": ["x"]}),
        ("correction", {"exec_id": "nope"}),
    ],
)
def test_bad_parameters(exchange: Driver, name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(BadFault):
        exchange.fault(name, **parameters)

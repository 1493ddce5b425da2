from __future__ import annotations

from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, Driver, order

FAR = {"lmt_price": "1.00"}


def refs(messages: list[rs.Response]) -> list[str]:
    return [each.order.order_ref for each in messages if isinstance(each, rs.OpenOrder | rs.CompletedOrder)]


def place_far(driver: Driver, session: int, number: int, ref: str) -> None:
    driver.place(session, number, order("BUY", 10, "LMT", order_ref=ref, **FAR))
    driver.run(0.1)


def test_open_orders_come_unasked_only_with_the_switch() -> None:
    for is_on in (False, True):
        driver = Driver(open_orders_on_connect=is_on)
        session = driver.connect(7)
        place_far(driver, session, 1, "mine")
        driver.disconnect(session)
        again = driver.connect(7)
        kinds = [type(each) for each in driver.sent[again]]
        assert kinds[:2] == [rs.ManagedAccounts, rs.NextValidId]
        assert (rs.OpenOrderEnd in kinds) == is_on
        assert refs(driver.sent[again]) == (["mine"] if is_on else [])


def test_who_is_answered_with_whose_orders() -> None:
    driver = Driver(master_client_id=9)
    sessions = {number: driver.connect(number) for number in (0, 7, 8, 9)}
    place_far(driver, sessions[7], 1, "seven")
    place_far(driver, sessions[8], 1, "eight")
    assert refs(driver.ask(sessions[7], rq.ReqOpenOrders())) == ["seven"]
    for number in (0, 7, 9):
        assert refs(driver.ask(sessions[number], rq.ReqAllOpenOrders())) == ["seven", "eight"]
    for session in (sessions[7], sessions[8]):
        driver.ask(session, rq.CancelOrder(1))
    driver.run(1)
    completed = {
        number: refs(driver.ask(session, rq.ReqCompletedOrders(api_only=False))) for number, session in sessions.items()
    }
    assert completed == {0: ["seven", "eight"], 7: ["seven"], 8: ["eight"], 9: ["seven", "eight"]}
    assert all(isinstance(driver.sent[session][-1], rs.CompletedOrdersEnd) for session in sessions.values())


def test_executions_come_with_their_commissions_and_an_end() -> None:
    driver = Driver()
    mine, other = driver.connect(1), driver.connect(2)
    driver.ask(mine, rq.ReqMktData(5, AAPL))
    driver.quote(100, 100.1)
    driver.place(mine, 1, order("BUY", 10, "MKT", order_ref="x"))
    driver.run(1)
    answer = driver.ask(mine, rq.ReqExecutions(3))
    executions = [each for each in answer if isinstance(each, rs.ExecDetails)]
    commissions = [each for each in answer if isinstance(each, rs.CommissionReport)]
    assert {each.req_id for each in executions} == {3} and executions[0].order_ref == "x"
    assert {each.exec_id for each in executions} == {each.exec_id for each in commissions}
    assert answer[-1] == rs.ExecDetailsEnd(3)
    assert driver.ask(other, rq.ReqExecutions(4)) == [rs.ExecDetailsEnd(4)]
    driver.ask(mine, rq.ReqExecutions(5, time="soon"))
    assert driver.errors(mine) == [(5, 321)]

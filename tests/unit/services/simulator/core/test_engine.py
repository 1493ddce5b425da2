from __future__ import annotations

import pytest

from services.simulator.core.commands import BadFault
from services.simulator.core.floor import CloseSession, SetListening
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.connection import BadRequest
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, START_NS, Driver, order


def test_every_request_of_the_codec_has_an_answer() -> None:
    driver = Driver()
    missing = [each.__name__ for each in rq.REQUESTS.classes if each not in driver.engine._routes]
    assert missing == ["StartApi"]


def test_the_start_gives_accounts_next_id_and_notices() -> None:
    driver = Driver(accounts=("DUSIM0001", "DUSIM0002"))
    session = driver.connect(5)
    assert driver.got(session, rs.ManagedAccounts)[0].accounts == "DUSIM0001,DUSIM0002"
    assert driver.got(session, rs.NextValidId)[0].order_id == 1
    assert [each.code for each in driver.got(session, rs.ErrorMessage)] == [2104, 2106, 2158]


def test_a_client_id_in_use_gets_326_and_is_closed() -> None:
    driver = Driver()
    driver.connect(5)
    second = driver.connect(5)
    assert driver.errors(second) == [(-1, 326)]
    assert driver.effects == [CloseSession(second)]
    driver.disconnect(second)
    driver.disconnect(1)
    third = driver.connect(5)
    assert driver.got(third, rs.NextValidId)


def test_order_ids_are_per_client_and_persistent() -> None:
    driver = Driver()
    one, two = driver.connect(1), driver.connect(2)
    driver.place(one, 7, order("BUY", 1, "LMT", lmt_price="10.00"))
    assert driver.ask(one, rq.ReqIds()) == [rs.NextValidId(8)]
    assert driver.ask(two, rq.ReqIds()) == [rs.NextValidId(1)]
    assert driver.saved[("next_order_id", "1")] == {"next": 8}
    driver.fault("rollback_order_ids", client_id=1, by=3)
    assert driver.ask(one, rq.ReqIds()) == [rs.NextValidId(5)]


def test_a_frame_that_does_not_decode_gets_320_and_the_session_goes_on() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, BadRequest(1, 44, "field 3 is wrong"))
    assert driver.errors(session) == [(44, 320)]
    assert driver.ask(session, rq.ReqCurrentTime())


def test_pacing_delays_or_refuses() -> None:
    driver = Driver(pacing="delay")
    session = driver.connect(1)
    for _ in range(60):
        driver.ask(session, rq.ReqCurrentTime())
    assert len(driver.got(session, rs.CurrentTime)) == 49  # START_API counts
    driver.run(1.0)
    assert len(driver.got(session, rs.CurrentTime)) == 60
    driver = Driver(pacing="reject")
    session = driver.connect(1)
    for _ in range(52):
        driver.ask(session, rq.ReqCurrentTime())
    assert [code for _, code in driver.errors(session)] == [100, 100, 100]
    assert driver.effects == [CloseSession(session)]


def test_an_outage_holds_back_what_the_broker_knows() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(session, 1, order("BUY", 100, "LMT", lmt_price="99.00"))
    driver.run()
    driver.fault("outage", seconds=5, repeat_s=1.0)
    ticks = len(driver.got(session, rs.TickPrice))
    driver.quote(98.90, 98.92)
    assert len(driver.got(session, rs.TickPrice)) == ticks
    assert driver.got(session, rs.ExecDetails) == []
    assert driver.truth()["counts"]["executions"] == 1
    driver.run(6)
    codes = [each.code for each in driver.got(session, rs.ErrorMessage) if each.code in (1100, 1101, 1102)]
    assert codes == [1100] * 5 + [1102]
    assert len(driver.got(session, rs.ExecDetails)) == 1


def test_the_nightly_reset_drops_sockets_and_closes_the_port() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.fault("nightly_reset", seconds=2, port_seconds=3)
    driver.run(2.5)
    assert driver.effects == [CloseSession(session, abrupt=True), SetListening(on=False)]
    driver.run(3)
    assert driver.effects[-1] == SetListening(on=True)
    assert not driver.engine.floor.faults.is_link_lost


def test_silence_slowness_and_missing_ends() -> None:
    driver = Driver()
    one, two = driver.connect(1), driver.connect(2)
    driver.fault("stall", seconds=5, client_id=1)
    assert driver.ask(one, rq.ReqCurrentTime()) == []
    assert driver.ask(two, rq.ReqCurrentTime()) != []
    driver.run(6)
    assert driver.ask(one, rq.ReqCurrentTime()) != []
    driver.fault("missing_end", name="execDetailsEnd")
    assert driver.ask(one, rq.ReqExecutions(1)) == []
    assert driver.ask(one, rq.ReqExecutions(2)) == [rs.ExecDetailsEnd(2)]
    driver.fault("slow", seconds=5, delay_ms=200)
    assert driver.ask(one, rq.ReqCurrentTime()) == []
    before = len(driver.sent[one])
    driver.run(0.3)
    assert len(driver.sent[one]) == before + 1


def test_a_stuck_client_id_is_freed_later() -> None:
    driver = Driver()
    driver.fault("stuck_client", client_id=4, seconds=10)
    assert driver.errors(driver.connect(4)) == [(-1, 326)]
    driver.run(11)
    assert driver.errors(driver.connect(4)) == []


def test_a_correction_has_the_same_stem() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(session, 1, order())
    driver.run()
    driver.fault("correction")
    first, second = driver.got(session, rs.ExecDetails)
    assert first.exec_id[:-1] == second.exec_id[:-1] and second.exec_id.endswith(".02")


def test_late_commissions_come_late() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.fault("late_commission", delay_ms=500)
    driver.place(session, 1, order())
    driver.run(0.1)
    assert driver.got(session, rs.ExecDetails) and not driver.got(session, rs.CommissionReport)
    driver.run(1)
    assert driver.got(session, rs.CommissionReport)


@pytest.mark.parametrize(("name", "parameters"), [("nonsense", {}), ("outage", {"seconds": -1}), ("cut", {"x": 1})])
def test_bad_faults_are_refused(name: str, parameters: dict[str, object]) -> None:
    with pytest.raises(BadFault):
        Driver().fault(name, **parameters)


def test_state_comes_back_after_a_restart() -> None:
    first = Driver()
    session = first.connect(1)
    first.ask(session, rq.ReqMktData(900, AAPL))
    first.quote(100.00, 100.02)
    first.place(session, 1, order("BUY", 100, order_ref="a"))
    first.place(session, 2, order("BUY", 100, "LMT", lmt_price="90.00", tif="GTC", order_ref="b"))
    first.place(session, 3, order("SELL", 100, "STP", aux_price="80.00", tif="GTC"))
    first.run()
    second = Driver()
    for kind in ("next_order_id", "order", "execution", "account"):
        for (stored_kind, key), value in first.saved.items():
            if stored_kind == kind:
                second.engine.restore(kind, key, value)
    before, after = first.truth(), second.truth()
    for name in ("orders", "executions"):
        assert before[name] == after[name]
    old, new = before["accounts"]["DUSIM0001"], after["accounts"]["DUSIM0001"]
    assert (old["cash"], old["positions"]) == (new["cash"], new["positions"])
    session = second.connect(1)
    assert second.got(session, rs.NextValidId)[0].order_id == 4
    second.quote(89.90, 89.92)
    second.run()
    assert second.statuses(session, 2)[-1] == "Filled"
    assert second.got(session, rs.ExecDetails)[0].exec_id not in {each["exec_id"] for each in before["executions"]}


def test_two_accounts_are_apart() -> None:
    driver = Driver(accounts=("DUSIM0001", "DUSIM0002"))
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(900, AAPL))
    driver.quote(100.00, 100.02)
    driver.place(session, 1, order())
    driver.place(session, 2, order(account="DUSIM0002"))
    driver.run()
    assert driver.errors(session) == [(1, 435)]
    assert driver.engine.accounts["DUSIM0001"].quantity(AAPL_ID) == 0
    assert driver.engine.accounts["DUSIM0002"].quantity(AAPL_ID) == 100


def test_time_of_an_answer_is_the_time_given() -> None:
    driver = Driver()
    session = driver.connect(1)
    assert driver.ask(session, rq.ReqCurrentTime()) == [rs.CurrentTime(START_NS // 1_000_000_000)]


def test_an_order_by_hand_belongs_to_nobody_and_is_seen_by_client_0() -> None:
    driver = Driver()
    one, zero = driver.connect(1), driver.connect(0)
    driver.fault("manual_order", symbol="AAPL", quantity="50")
    driver.fault("manual_order", symbol="AAPL", action="SELL", order_type="LMT", limit="900.00", quantity=10)
    driver.run()
    assert driver.got(one, rs.OrderStatus) == []
    assert "Filled" in driver.statuses(zero, 0)
    [details] = driver.got(zero, rs.ExecDetails)
    assert details.order_id is None
    assert driver.engine.accounts["DUSIM0001"].quantity(AAPL_ID) == 50
    shown = [each for each in driver.ask(one, rq.ReqAllOpenOrders()) if isinstance(each, rs.OpenOrder)]
    assert [each.order_id for each in shown] == [0]
    driver.ask(zero, rq.CancelOrder(0))
    assert driver.errors(zero) == [(0, 10147)]
    driver.fault("cancel_order", perm_id=shown[0].perm_id)
    assert driver.ask(one, rq.ReqAllOpenOrders()) == [rs.OpenOrderEnd()]
    for wrong in ({"symbol": "NOSUCH"}, {"symbol": "AAPL", "quantity": "x"}, {"symbol": "AAPL", "order_type": "X"}):
        with pytest.raises(BadFault):
            driver.fault("manual_order", **wrong)

"""The leader says of the others what their heartbeats say, once, and never anything of one that leads."""

from __future__ import annotations

from typing import Any

from services.gateway.core.standbys import GONE, StandbyNews
from services.risk.core.readiness import Readiness
from shared.messages.control import BrokerStatus, LinkState, Reconciled


def standby(link: str = "READY", **more: Any) -> dict[str, Any]:
    return {"role": "standby", "data_link": link, "client_id": 2, **more}


def said(news: StandbyNews, **found: Any) -> list[tuple[str, str, str, int]]:
    return [(one.instance, str(one.state), one.reason, one.code) for one in news.changes(found, 5)]


def test_a_standby_is_said_once_with_what_is_wrong_with_its_session() -> None:
    news = StandbyNews(7)
    (status,) = news.changes({"b": standby()}, 5)
    assert (status.instance, status.state, status.reason, status.client_id) == ("b", LinkState.STANDBY, "", 2)
    assert not status.is_leader and status.epoch == 7 and status.ts_init_ns == 5 and not status.trading_client_id
    assert said(news, b=standby()) == []
    refused = standby("DOWN", data_link_reason="client id 2 is in use", data_link_code=326)
    assert said(news, b=refused) == [("b", "STANDBY", "its data session is DOWN: client id 2 is in use", 326)]
    assert said(news, b=refused) == []
    assert said(news, b=standby()) == [("b", "STANDBY", "", 0)]


def test_one_whose_heartbeat_has_stopped_is_down_until_it_beats_again() -> None:
    news = StandbyNews(7)
    assert said(news, b=standby(), c=None) == [("b", "STANDBY", "", 0), ("c", "DOWN", GONE, 0)]
    assert news.followed == {"b": True, "c": False}
    assert said(news, b=None, c=None) == [("b", "DOWN", GONE, 0)]
    assert said(news) == []
    assert said(news, b=standby()) == [("b", "STANDBY", "", 0)]


def test_who_believes_to_lead_is_left_to_itself() -> None:
    assert said(StandbyNews(7), b={"role": "leader", "link": "READY"}) == []


def test_no_reader_takes_a_standby_for_the_trading_link() -> None:
    ready = Readiness()
    ready.unprepared = ()
    ready.apply_status(BrokerStatus(instance="a", state=LinkState.READY, is_leader=True, epoch=7))
    ready.apply_reconciled(Reconciled(instance="a", epoch=7, incarnation="i"))
    assert ready.complaint("i") is None
    for found in ({"b": standby()}, {"b": standby("DOWN")}, {"b": None}):
        for status in StandbyNews(7).changes(found, 5):
            ready.apply_status(status)
            assert ready.complaint("i") is None, f"{status} stopped trading"

from __future__ import annotations

import pytest

from services.simulator.core.commands import BadFault
from shared.tws import requests as rq
from shared.tws import responses as rs
from tests.unit.services.simulator.exchange_support import AAPL, AAPL_ID, Driver


def test_headlines_and_their_articles() -> None:
    driver = Driver()
    session = driver.connect(1)
    [providers] = driver.ask(session, rq.ReqNewsProviders())
    assert isinstance(providers, rs.NewsProviders)
    codes = "+".join(each.code for each in providers.providers)
    *found, end = driver.ask(session, rq.ReqHistoricalNews(3, AAPL_ID, codes, total_results=5))
    assert len(found) == 5 and end == rs.HistoricalNewsEnd(3, has_more=True)
    times = [each.time for each in found if isinstance(each, rs.HistoricalNews)]
    assert times == sorted(times, reverse=True)
    first = found[0]
    assert isinstance(first, rs.HistoricalNews)
    [article] = driver.ask(session, rq.ReqNewsArticle(4, first.provider, first.article_id))
    assert isinstance(article, rs.NewsArticle) and "APPLE" in article.text


@pytest.mark.parametrize("turned", [False, True])
def test_headlines_between_two_times(turned: bool) -> None:
    driver = Driver()
    session = driver.connect(1)
    bounds = ["2026-11-16 00:00:00.0", "2026-11-18 23:59:59.0"]
    start, end = reversed(bounds) if turned else bounds
    *found, last = driver.ask(session, rq.ReqHistoricalNews(3, AAPL_ID, "BRFG+DJNL", start, end, 100))
    assert [each.time[:10] for each in found if isinstance(each, rs.HistoricalNews)] == [
        "2026-11-18", "2026-11-17", "2026-11-16",
    ]  # fmt: skip
    assert last == rs.HistoricalNewsEnd(3, has_more=False)


def test_what_is_refused() -> None:
    driver = Driver()
    session = driver.connect(1)
    for request in (
        rq.ReqHistoricalNews(1, 999, "BRFG"),
        rq.ReqHistoricalNews(2, AAPL_ID, "NONE"),
        rq.ReqHistoricalNews(3, AAPL_ID, "BRFG", "yesterday"),
        rq.ReqNewsArticle(4, "BRFG", "BRFG$1-20261123"),
        rq.ReqNewsArticle(5, "DJNL", f"BRFG${AAPL_ID}-20261123"),
    ):
        driver.ask(session, request)
    assert driver.errors(session) == [(1, 321), (2, 321), (3, 321), (4, 10172), (5, 10172)]


def test_a_subscription_with_news_has_the_newest_headline() -> None:
    driver = Driver()
    session = driver.connect(1)
    answer = driver.ask(session, rq.ReqMktData(5, AAPL, generic_ticks="292"))
    [news] = [each for each in answer if isinstance(each, rs.TickNews)]
    assert news.time_ms * 1_000_000 <= driver.now_ns and "AAPL" in news.headline


def test_bulletins() -> None:
    driver = Driver()
    session = driver.connect(1)
    assert driver.ask(session, rq.ReqNewsBulletins(all_messages=False)) == []
    [bulletin] = driver.ask(session, rq.ReqNewsBulletins(all_messages=True))
    assert isinstance(bulletin, rs.NewsBulletin)
    driver.ask(session, rq.CancelNewsBulletins())
    assert driver.errors(session) == []


def test_a_bulletin_reaches_those_who_take_them() -> None:
    driver = Driver()
    first, second = driver.connect(1), driver.connect(2)
    driver.ask(first, rq.ReqNewsBulletins(all_messages=True))
    driver.fault("bulletin", text="The exchange is closed tomorrow.")
    assert [each.text for each in driver.got(first, rs.NewsBulletin)][-1] == "The exchange is closed tomorrow."
    assert not driver.got(second, rs.NewsBulletin)
    driver.ask(second, rq.ReqNewsBulletins(all_messages=True))
    assert [each.message_id for each in driver.got(second, rs.NewsBulletin)] == [1, 2]
    driver.ask(first, rq.CancelNewsBulletins())
    driver.disconnect(second)
    driver.fault("bulletin", text="Nobody hears this.")
    assert len(driver.got(first, rs.NewsBulletin)) == 2 == len(driver.got(second, rs.NewsBulletin))


def test_a_headline_reaches_those_who_take_a_contracts_news() -> None:
    driver = Driver()
    session = driver.connect(1)
    driver.ask(session, rq.ReqMktData(4, AAPL, generic_ticks="292"))
    driver.ask(session, rq.ReqMktData(5, AAPL))
    before = len(driver.got(session, rs.TickNews))
    driver.fault("headline", symbol="AAPL", text="Made up")
    news = driver.got(session, rs.TickNews)[before:]
    assert [(each.req_id, each.headline) for each in news] == [(4, "Made up")]
    answer = driver.ask(session, rq.ReqNewsArticle(6, news[0].provider, news[0].article_id))
    assert any(isinstance(each, rs.NewsArticle) for each in answer)
    for parameters in ({"text": ""}, {"text": "x", "provider": "NONE"}):
        with pytest.raises(BadFault):
            driver.fault("headline", symbol="AAPL", **parameters)

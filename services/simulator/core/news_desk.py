"""Serve small canned news: providers, headlines, articles, a bulletin, and what commands let come in.

Source: ib-facts B.5 (14, 83-87), B.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from services.simulator.core.floor import Floor
from services.simulator.core.headlines import PROVIDERS, headlines
from services.simulator.core.sessions import Session
from services.simulator.core.times import local, parse_tws_time
from shared.tws import requests as rq
from shared.tws import responses as rs

MAX_HEADLINES = 300
BULLETIN = "This is the simulator: no exchange is affected."
_ARTICLE = re.compile(r"([A-Z]{4})\$([0-9]{1,10})-([0-9]{8})")
_DASHED = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) (.{8})(?:\.[0-9])?")
"""How clients write times in requests for news only."""


class NewsDesk:
    """The news side of the exchange."""

    def __init__(self, floor: Floor, takers: Callable[[int], Iterable[tuple[int, int]]]) -> None:
        """`takers` returns session and request of those who take a contract's news."""
        self._floor = floor
        self._takers = takers
        self._bulletins = [BULLETIN]
        self._readers: set[int] = set()

    def providers(self, session: Session, _: rq.ReqNewsProviders) -> None:
        """Send the providers."""
        self._floor.send(session.session, rs.NewsProviders(tuple(rs.NewsProvider(*each) for each in PROVIDERS)))

    def headlines(self, session: Session, request: rq.ReqHistoricalNews) -> None:
        """Send headlines of a contract, newest first, and whether there are more."""
        floor, number = self._floor, request.req_id
        instrument = floor.universe.by_id(request.con_id)
        wanted = [code for code in re.split("[+,]", request.providers) if code]
        unknown = [code for code in wanted if code not in dict(PROVIDERS)]
        if instrument is None or unknown or not wanted:
            self._invalid(session, number, "Unknown contract" if not instrument else f"Invalid news source {unknown}")
            return
        try:
            start, end = _moment(request.start), _moment(request.end)
        except ValueError as e:
            self._invalid(session, number, str(e))
            return
        if start is not None and end is not None and start > end:  # TWS takes them either way round
            start, end = end, start
        until_ns = min(floor.now_ns if end is None else end, floor.now_ns)
        found = [
            each for each in headlines(instrument, until_ns) if each.at_ns >= (start or 0) and each.provider in wanted
        ]
        limit = min(max(1, request.total_results), MAX_HEADLINES)
        for each in found[:limit]:
            when = f"{local(each.at_ns, 'UTC'):%Y-%m-%d %H:%M:%S}.0"
            row = rs.HistoricalNews(number, when, each.provider, each.article_id, each.text)
            floor.send(session.session, row)
        floor.send(session.session, rs.HistoricalNewsEnd(number, has_more=len(found) > limit))

    def article(self, session: Session, request: rq.ReqNewsArticle) -> None:
        """Send the text of an article."""
        match = _ARTICLE.fullmatch(request.article_id)
        instrument = self._floor.universe.by_id(int(match[2])) if match else None
        if match is None or instrument is None or match[1] != request.provider:
            text = "Failed to request news article:No data available"
            self._floor.error(session.session, request.req_id, 10172, text)
            return
        text = f"{instrument.long_name} ({instrument.symbol}). Made up by the simulator for {match[3]}."
        self._floor.send(session.session, rs.NewsArticle(request.req_id, 0, text))

    def bulletins(self, session: Session, request: rq.ReqNewsBulletins) -> None:
        """Send new bulletins from now on, and today's earlier ones if they are asked for."""
        self._readers.add(session.session)
        for number, text in enumerate(self._bulletins if request.all_messages else (), start=1):
            self._floor.send(session.session, rs.NewsBulletin(number, 1, text, "SIM"))

    def cancel_bulletins(self, session: Session, _: rq.CancelNewsBulletins) -> None:
        """Send no more bulletins."""
        self._readers.discard(session.session)

    def forget(self, session: int) -> None:
        """Drop a session that has ended."""
        self._readers.discard(session)

    # -------------------------------------------------------------------------------------------- commands
    def acts(self) -> list[Callable[..., None]]:
        """Return the commands."""
        return [self.bulletin, self.headline]

    def bulletin(self, *, text: str) -> None:
        """Send a bulletin to everybody who takes them (message 14)."""
        _check_text(text)
        if len(self._bulletins) >= MAX_HEADLINES:
            raise ValueError(f"there are {MAX_HEADLINES} bulletins already")
        self._bulletins.append(text)
        for session in sorted(self._readers):
            self._floor.send(session, rs.NewsBulletin(len(self._bulletins), 1, text, "SIM"))

    def headline(self, *, symbol: str, text: str, provider: str = "BRFG") -> None:
        """Send a headline to those who take a contract's data with generic tick 292 (message 84)."""
        _check_text(text)
        instrument = self._floor.universe.named(symbol)
        if provider not in dict(PROVIDERS):
            raise ValueError(f"the providers are {', '.join(dict(PROVIDERS))}")
        at_ms = self._floor.now_ns // 1_000_000
        article = f"{provider}${instrument.con_id}-{local(self._floor.now_ns, 'UTC'):%Y%m%d}"
        for session, req_id in self._takers(instrument.con_id):
            self._floor.send(session, rs.TickNews(req_id, at_ms, provider, article, text))

    def _invalid(self, session: Session, number: int, reason: str) -> None:
        self._floor.error(session.session, number, 321, f"Error validating request.-'cQ' : cause - {reason}")


def _check_text(text: str) -> None:
    if not text or len(text) > 1000 or "\0" in text:
        raise ValueError("text must have 1 to 1000 characters")


def _moment(text: str) -> int | None:
    return parse_tws_time(_DASHED.sub(r"\1\2\3 \4", text.strip()), "UTC")

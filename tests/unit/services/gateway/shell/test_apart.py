"""A session apart is closed whatever happens, and what it hears marks nothing as shown by the trading session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.gateway.ports import ClientIdInUse
from services.gateway.shell import apart
from services.gateway.shell.apart import Apart, ApartDesk
from services.gateway.shell.sending import Sending
from shared.clock import SYSTEM_CLOCK
from shared.errors import BrokerUnavailable

SETTINGS: Any = SimpleNamespace(endpoint=("h", 1), connect_limit_s=1.0, tws_time_zone="UTC")


class Session:
    """A session of another client id."""

    accounts = ("DU2",)

    def __init__(self, client_id: int, listener: Any, *, options: str, time_zone: str) -> None:
        self.client_id, self.listener, self.said = client_id, listener, (options, time_zone)
        self.is_refused, self.closed = client_id == 102, 0

    async def open(self, *_where: Any, limit_s: float) -> None:
        if self.is_refused:
            raise ClientIdInUse(f"326 within {limit_s}")

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    made: list[Session] = []

    def make(*args: Any, **more: Any) -> Session:
        made.append(Session(*args, **more))
        return made[-1]

    monkeypatch.setattr(apart, "IbSession", make)
    return made


def sessions(complaint: str = "") -> Apart:
    trading: Any = SimpleNamespace(desk=None, claim=lambda: "claim")
    return Apart(
        SETTINGS, trading, check_accounts=lambda accounts: complaint and f"{accounts}: {complaint}", sending=Sending(),
        is_holding=lambda: False,
    )  # fmt: skip


async def test_a_session_carries_the_claim_and_is_closed(opened: list[Session]) -> None:
    async with sessions().session(101) as session:
        assert session.client_id == 101 and opened[0].said == ("claim", "UTC") and not opened[0].closed
    assert opened[0].closed == 1


async def test_one_that_is_refused_or_fails_is_closed_too(opened: list[Session]) -> None:
    with pytest.raises(ClientIdInUse):
        async with sessions().session(102):
            raise AssertionError("it was not opened")
    other = sessions("another account's")
    with pytest.raises(BrokerUnavailable, match="another account's"):
        async with other.session(101) as session:
            other.check(session)
    assert [each.closed for each in opened] == [1, 1]


def test_what_is_shown_there_is_not_shown_by_the_trading_session() -> None:
    told: list[Any] = []
    book = SimpleNamespace(shown=lambda order, _now_ns, *, session: told.append((order, session)))
    desk: Any = SimpleNamespace(book=book, publish=told.append)
    order: Any = "an order"
    ApartDesk(desk, SYSTEM_CLOCK).order_shown(order)
    assert told == [("an order", 0), None]

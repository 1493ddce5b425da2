"""What the leader says of the account: of ours only, what changed, and whose the positions are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.gateway.core.evidence import BrokerPosition
from services.gateway.shell.account import AccountDesk
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.account import AccountSnapshot, ExchangeRate, PositionReport, PositionsComplete, PositionShare

D = Decimal


class Outbox:
    """Keeps what would be published."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.hashes: list[str] = []
        self.deleted: list[str] = []

    def put(self, _stream: str, message: Any) -> None:
        self.messages.append(message)

    def put_hash(self, key: str, _values: Any) -> None:
        self.hashes.append(key.rpartition(":")[2])

    def delete_fields(self, _key: str, fields: list[str]) -> None:
        self.deleted += fields

    def of(self, kind: type) -> list[Any]:
        return [each for each in self.messages if isinstance(each, kind)]


class Session:
    """A data session whose positions are given."""

    def __init__(self, *positions: BrokerPosition) -> None:
        self.found = list(positions)
        self.is_open = True

    async def positions(self, *, limit_s: float) -> list[BrokerPosition]:
        return self.found


def held(con_id: int, quantity: int, account: str = "DU1") -> BrokerPosition:
    return BrokerPosition(account, con_id, D(quantity), D(10), "A", "USD", "A")


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def desk_on(outbox: Outbox, session: Session | None = None) -> AccountDesk:
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    return AccountDesk(bus, outbox, "DU1", session=lambda: session, limit_s=1.0)  # type: ignore[arg-type,return-value]


def test_positions_of_other_accounts_and_repeats_are_not_published(outbox: Outbox) -> None:
    desk = desk_on(outbox)
    for position in (held(1, 5), held(1, 5), held(2, 7, "DU2"), held(0, 3), held(1, 6)):
        desk.position(position)
    assert [(report.con_id, report.position) for report in outbox.of(PositionReport)] == [(1, D(5)), (1, D(6))]


def test_a_report_says_whose_it_is_and_follows_the_books(outbox: Outbox) -> None:
    desk = desk_on(outbox)
    desk.books = lambda con_id: ((PositionShare(strategy="demo", quantity=D(4)),), D(con_id))
    desk.position(held(1, 5))
    (report,) = outbox.of(PositionReport)
    assert (report.shares[0].strategy, report.unexplained) == ("demo", 1)
    desk.refresh([1, 9])
    assert outbox.hashes.count("positions") == 3, "one that nobody reported is shown where it is unexplained"
    desk.books = lambda _con_id: ((), D(0))
    desk.refresh([77])
    assert outbox.hashes.count("positions") == 3


async def test_only_a_complete_answer_counts_and_what_it_leaves_out_is_flat(outbox: Outbox) -> None:
    session = Session(held(1, 5), held(2, 0), held(3, 9, "DU2"))
    desk = desk_on(outbox, session)
    desk.position(held(4, 8))
    assert desk.reported() is None
    desk._is_watching = session  # type: ignore[assignment]
    await desk._all_positions(session)  # type: ignore[arg-type]
    desk.position(held(1, 5))
    assert desk.reported() == {1: D(5)}
    assert outbox.of(PositionReport)[1].position == 0 and outbox.of(PositionReport)[1].con_id == 4
    assert [each.con_ids for each in outbox.of(PositionsComplete)] == [(1,)]
    desk._is_watching = None
    assert desk.reported() is None, "another session may know better"


def test_values_go_out_once_they_changed_with_the_rates_in_them(outbox: Outbox) -> None:
    desk = desk_on(outbox)
    for account, tag, value, currency in (
        ("DU1", "NetLiquidation", "1000", "USD"), ("DU2", "NetLiquidation", "7", "USD"),
        ("DU1", "ExchangeRate", "1.1", "EUR"), ("DU1", "ExchangeRate", "0", "GBP"),
        ("DU1", "ExchangeRate", "1.00", "BASE"),
    ):  # fmt: skip
        desk.value(account, tag, value, currency)
    desk._publish_changes(is_full=False)
    desk.value("DU1", "NetLiquidation", "1000", "USD")
    desk._publish_changes(is_full=False)
    (snapshot,) = outbox.of(AccountSnapshot)
    assert snapshot.currency == "USD" and len(snapshot.values) == 4
    assert [(rate.currency, rate.rate) for rate in outbox.of(ExchangeRate)] == [("EUR", D("1.1"))]


def test_unset_profit_is_none_and_repeats_are_silent(outbox: Outbox) -> None:
    desk = desk_on(outbox)
    for daily in (5.0, 5.0, float("nan")):
        desk.pnl(daily, 1.0, 1.7976931348623157e308)
        desk._publish_changes(is_full=False)
    assert [(each.daily, each.realized) for each in outbox.messages] == [(D("5.0"), None), (None, None)]

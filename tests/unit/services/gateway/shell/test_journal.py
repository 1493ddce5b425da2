"""The journal's shell: facts brought together, entries written, orders of before a split cancelled."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.book_effects import Renamed
from services.gateway.core.evidence import BrokerOrder, BrokerPosition
from services.gateway.core.recognition import Recognised
from services.gateway.shell.account import AccountDesk
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.journal import JournalDesk
from services.gateway.shell.outbox import Outbox
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.errors import BadInput
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.market import ContractInfo
from shared.messages.orders import Fill, Side

D = Decimal


class KeptOutbox(Outbox):
    """Keeps what would be published."""

    def __init__(self) -> None:
        super().__init__(MemoryBus(MemoryServer(), Keys("sim")), "gateway:a")
        self.entries: list[JournalEntry] = []
        self.deleted: list[str] = []

    def put(self, stream: str, message: Any) -> None:
        if isinstance(message, JournalEntry):
            self.entries.append(message)

    def delete_fields(self, key: str, fields: Any) -> None:
        self.deleted += fields


class Session:
    """A session that keeps what it is asked."""

    is_open = True

    def __init__(self) -> None:
        self.cancelled: list[int] = []

    def cancel(self, order_id: int) -> None:
        self.cancelled.append(order_id)

    async def contracts(self, _name: Any, *, limit_s: float) -> list[ContractInfo]:
        return [
            ContractInfo(con_id=1, name="PEAR@NASDAQ", symbol="PEAR", sec_type="STK", exchange="SMART", currency="USD")
        ]


class Rig:
    """A journal with everything around it."""

    def __init__(self) -> None:
        self.outbox = KeptOutbox()
        self.session = Session()
        self.bus = MemoryBus(MemoryServer(), Keys("sim"))
        self.account = AccountDesk(self.bus, self.outbox, "DU1", session=lambda: None, limit_s=1.0)
        self.contracts = Contracts(self.bus, self.outbox, lambda: cast(Any, self.session), limit_s=1.0)
        self.book = OrderBook("sim:x:DU1", "DU1")
        self.trading = SimpleNamespace(
            session=self.session, desk=SimpleNamespace(book=self.book), session_number=1, client_id=101
        )
        self.desk = JournalDesk(
            self.bus, self.outbox, self.account, self.contracts, cast(Any, self.trading), account_id="DU1",
            time_zone="America/New_York",
        )  # fmt: skip

    def show(self, order_id: int, *, client_id: int = 101, limit: str | None = "9", con_id: int = 1) -> None:
        order = BrokerOrder(
            "DU1", con_id, Side.BUY, D(5), "LMT" if limit else "MKT", 1000 + order_id, order_id=order_id,
            client_id=client_id, status="Submitted", limit_price=D(limit) if limit else None,
        )  # fmt: skip
        self.book.shown(order, 1, session=1)
        track = self.book.get(str(1000 + order_id))
        assert track is not None
        track.is_external = client_id != 101


@pytest.fixture
async def rig() -> Rig:
    return Rig()


def split(con_id: int = 1) -> Recognised:
    return Recognised(JournalKind.SPLIT, con_id, D(20), {"demo": D(30)}, "split 3:1")


async def test_orders_at_prices_of_before_a_split_are_cancelled_where_a_cancel_reaches_them(rig: Rig) -> None:
    rig.show(1)
    rig.show(2, client_id=0)  # by hand
    rig.show(3, limit=None)
    rig.show(4, con_id=2)
    rig.desk.happened(split())
    assert rig.session.cancelled == [1]
    (entry,) = rig.outbox.entries
    assert (entry.kind, entry.quantity, entry.orders) == (JournalKind.SPLIT, 20, ("1001", "1002"))


async def test_only_a_split_touches_orders(rig: Rig) -> None:
    rig.show(1)
    rig.desk.happened(Recognised(JournalKind.EXPIRY, 1, D(-1), {}, "expired"))
    assert rig.session.cancelled == [] and rig.outbox.entries[0].orders == ()


async def test_facts_come_from_the_contract_and_from_what_the_broker_shows(rig: Rig) -> None:
    rig.account.position(BrokerPosition("DU1", 1, D(10), D("12.5"), "PEAR", "USD", "PEAR@NASDAQ"))
    facts = (await rig.desk.facts([1]))[1]
    assert (facts.sec_type, facts.symbol, facts.average_cost) == ("STK", "PEAR", D("12.5"))
    assert not rig.desk.cash.is_blind
    rig.session.is_open = False
    assert await rig.desk.facts([7]) == {}, "nothing is recognised of what is not known"


async def test_a_new_symbol_is_asked_for_and_its_old_names_go(rig: Rig) -> None:
    await rig.bus.hash_set(rig.bus.keys.contract_names, {"AAPL": "1", "AAPL@NASDAQ": "1", "IBM": "8314"})
    await rig.desk.renamed(Renamed(1, "AAPL", "PEAR"))
    assert rig.outbox.deleted == ["AAPL", "AAPL@NASDAQ"]
    assert rig.outbox.entries[0].contract == "PEAR@NASDAQ" and rig.outbox.entries[0].kind is JournalKind.SYMBOL_CHANGE


async def test_a_correction_moves_only_the_difference_in_cash(rig: Rig) -> None:
    def fill(quantity: int, price: str) -> Fill:
        return Fill(
            exec_id="e.01", exec_stem="e", strategy="demo", account="DU1", con_id=1, side=Side.BUY,
            quantity=D(quantity), price=D(price),
        )  # fmt: skip

    await rig.desk.fill(fill(10, "5"), None)
    await rig.desk.fill(fill(10, "4"), fill(10, "5"))
    assert rig.desk.cash._purses["USD"].flows == -40


@pytest.mark.parametrize("stored", [{"USD": ["1"]}, {"USD": ["x", "1", "1", "1"]}, 5, {"USD": None}])
async def test_a_journal_that_cannot_be_read_is_refused(rig: Rig, stored: object) -> None:
    with pytest.raises(BadInput):
        rig.desk.restore(stored)

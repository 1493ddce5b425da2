"""What becomes of a cancel that names no order the leader knows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import pytest

from services.gateway.core.book import OrderBook
from services.gateway.core.evidence import BrokerOrder
from services.gateway.shell.commands import Commands
from shared.bus.keys import Keys, Role
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.bus.ports import Entry, LeaseToken, LeaseView
from shared.ids import IntentId, order_ref
from shared.messages.orders import CancelCommand, CancelRequest, Side

DEP = "sim:sim:DU1"
IID = IntentId("abcdefghij234567abcd")


class Session:
    """A session that keeps what it is asked to cancel."""

    is_open = True

    def __init__(self) -> None:
        self.cancelled: list[int] = []

    def cancel(self, order_id: int) -> None:
        self.cancelled.append(order_id)


class Desk:
    """Where the commands hang their ear."""

    on_shown: Any = None


class Trading:
    """A trading session that is there."""

    session_number = 1
    client_id = 101

    def __init__(self) -> None:
        self.desk = Desk()
        self.session = Session()


class Leader:
    """The commands of a leader on a bus in memory."""

    def __init__(self, bus: MemoryBus, token: LeaseToken) -> None:
        self.bus = bus
        self.book = OrderBook(DEP, "DU1")
        self.trading = Trading()
        self.commands = Commands(
            bus, token, self.book, cast(Any, None), cast(Any, self.trading), cast(Any, None), deployment_id=DEP,
            source="g1", has_lease=lambda: True,
        )  # fmt: skip

    async def cancel(self, leg: int | None) -> None:
        """Hand a cancel on as risk does, and carry it out."""
        request = CancelRequest(cancel_id="c1", intent_id=IID, leg=leg, account="DU1", reason="people")
        keys = self.bus.keys
        await self.bus.append(keys.cancel_commands, CancelCommand(cancel=request), source="r1")
        entries: list[Entry] = (await self.bus.read({keys.cancel_commands: "0-0"}))[keys.cancel_commands]
        await self.commands._cancel_entry(entries[-1])

    def show(self, leg: int, order_id: int) -> None:
        """Let the broker show an order of the intent."""
        ref = order_ref(DEP, IID, leg)
        order = BrokerOrder("DU1", 1, Side.BUY, Decimal(10), "LMT", 90 + leg, ref, order_id=order_id, client_id=101,
                            status="Submitted")  # fmt: skip
        self.book.shown(order, 5, session=1)
        track = self.book.get(ref)
        assert track is not None
        self.trading.desk.on_shown(track)


@pytest.fixture
async def leader() -> Leader:
    bus = MemoryBus(MemoryServer(), Keys("sim", tick_partitions=1))
    token = await bus.lease_acquire(Role.GATEWAY, "g1", LeaseView(), at_least_epoch=0)
    assert token is not None
    await bus.raise_fence(token)
    return Leader(bus, token)


async def test_an_order_that_shows_up_after_its_cancel_is_cancelled(leader: Leader) -> None:
    # Redis lost claim and events: the book had nothing to cancel when the cancel was read, and forgot it.
    await leader.cancel(None)
    assert not leader.trading.session.cancelled
    leader.show(0, 7)
    leader.show(1, 8)
    assert leader.trading.session.cancelled == [7, 8]
    leader.show(0, 7)
    assert leader.trading.session.cancelled == [7, 8]  # asked once in a session


async def test_only_the_leg_that_was_named_is_cancelled(leader: Leader) -> None:
    await leader.cancel(1)
    leader.show(0, 7)
    leader.show(1, 8)
    assert leader.trading.session.cancelled == [8]


@pytest.mark.parametrize("client_id, is_elsewhere", [(101, False), (102, True)])
async def test_a_cancel_of_an_order_under_another_id_is_handed_on(
    leader: Leader, client_id: int, *, is_elsewhere: bool
) -> None:
    found: list[Any] = []
    leader.commands.on_elsewhere = found.extend
    leader.trading.client_id = client_id
    leader.show(0, 7)
    leader.trading.session_number = 2
    await leader.cancel(None)
    (track,) = leader.book.open_tracks()
    assert found == ([track] if is_elsewhere else []) and leader.commands.cancels.is_wanted(track)
    assert leader.commands.cancels_elsewhere() == found and not leader.trading.session.cancelled

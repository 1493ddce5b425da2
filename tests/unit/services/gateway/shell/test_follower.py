"""A standby knows what is on the bus, unreadable entries apart."""

from __future__ import annotations

from decimal import Decimal

from services.gateway.core.book import OrderBook
from services.gateway.shell.follower import PAGE, Follower
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.messages.market import SubscriptionRequest
from shared.messages.orders import Fill, OrderEvent, OrderState, Side


def event(number: int) -> OrderEvent:
    return OrderEvent(
        order_ref=f"ref{number}", state=OrderState.WORKING, strategy="demo", account="DU1", con_id=1, side=Side.BUY,
        quantity=Decimal(1), order_type="LMT",
    )  # fmt: skip


async def test_everything_up_to_the_end_is_read_once_and_more_later() -> None:
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    book = OrderBook("sim", "DU1")
    follower = Follower(bus, book)  # type: ignore[arg-type]
    for number in range(PAGE + 3):
        await bus.append(bus.keys.orders, event(number), source="t")
    fill = Fill(
        exec_id="e.01", exec_stem="e", strategy="demo", account="DU1", con_id=9, side=Side.BUY, quantity=Decimal(1),
        price=Decimal(1),
    )  # fmt: skip
    await bus.append(bus.keys.fills, fill, source="t")
    await follower.read_to_end()
    assert len(book) == PAGE + 3 and book.track_of_exec("e.01") == ("demo", 9)
    await bus.append(bus.keys.orders, event(1).model_copy(update={"state": OrderState.FILLED}), source="t")
    await bus.append(bus.keys.orders, SubscriptionRequest(con_ids=(1,)), source="t")
    await follower.read_to_end()
    track = book.get("ref1")
    assert track is not None and track.state is OrderState.FILLED and follower.unreadable == 0


async def test_an_entry_that_cannot_be_read_stops_nothing() -> None:
    server = MemoryServer()
    bus = MemoryBus(server, Keys("sim"))
    book = OrderBook("sim", "DU1")
    follower = Follower(bus, book)  # type: ignore[arg-type]
    server.add(bus.keys.orders, {"type": b"order_event", "body": b"\xff"})
    await bus.append(bus.keys.orders, event(1), source="t")
    await follower.read_to_end()
    assert (follower.unreadable, len(book)) == (1, 1)

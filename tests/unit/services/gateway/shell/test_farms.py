"""A farm that changed is published by the leader alone; a new leader says how every farm does."""

from __future__ import annotations

from typing import Any, cast

from services.gateway.core.tws_codes import CodeTable
from services.gateway.metrics import BROKEN_FARMS
from services.gateway.settings import GatewaySettings
from services.gateway.shell.farms import FarmDesk
from services.gateway.shell.leadership import Gateway
from services.gateway.shell.outbox import Outbox
from shared.bus.keys import Keys
from shared.bus.memory import MemoryBus
from shared.bus.memory_server import MemoryServer
from shared.clock import ManualClock
from shared.messages.control import FarmCondition, FarmKind, FarmStatus


class Taken(Outbox):
    """Keeps what is put, while open."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus, "gateway:a")
        self.taken: list[Any] = []

    def put(self, stream: str, message: Any) -> None:
        if self._is_open:
            self.taken.append((stream, message))


async def test_farms_are_told_while_leading_and_all_of_them_when_it_begins() -> None:
    values: dict[str, Any] = {"CQ_MODE": "sim", "CQ_INSTANCE": "a", "IB_SIM_ACCOUNT": "DUSIM0001"}
    bus = MemoryBus(MemoryServer(), Keys("sim"))
    gateway = Gateway(GatewaySettings(**values), cast(Any, bus), CodeTable({}))
    outbox = Taken(bus)
    gateway.watch.on_farm = FarmDesk(bus, outbox, "a", clock=ManualClock(wall_ns=9)).show
    tell = gateway.watch.desk.on_link
    tell(2106, "HMDS data farm connection is OK:ushmds")
    tell(2103, "Market data farm connection is broken:usfarm")
    assert outbox.taken == [] and gateway.facts()["broken_farms"] == ["usfarm"]
    assert BROKEN_FARMS._value.get() == 1
    outbox.open()
    gateway.watch.say_farms()
    tell(2103, "Market data farm connection is broken:usfarm")
    tell(2104, "Market data farm connection is OK:usfarm")
    assert {stream for stream, _ in outbox.taken} == {bus.keys.broker_status}
    assert [(one.farm, one.condition) for _, one in outbox.taken] == [
        ("ushmds", FarmCondition.OK), ("usfarm", FarmCondition.BROKEN), ("usfarm", FarmCondition.OK),
    ]  # fmt: skip
    assert outbox.taken[1][1] == FarmStatus(
        ts_init_ns=9, instance="a", farm="usfarm", kind=FarmKind.MARKET, condition=FarmCondition.BROKEN, code=2103,
        text="Market data farm connection is broken:usfarm",
    )  # fmt: skip
    assert BROKEN_FARMS._value.get() == 0

"""The strategy of a run: one order per quote, named after the quote, so that a skipped or repeated one shows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from services.strategy.api import Strategy
from services.strategy.core.events import Quote
from services.strategy.core.saved import Limits, Watched
from services.strategy.shell.contracts import ContractBook
from services.strategy.shell.histories import HistoryBook
from services.strategy.shell.loader import Declared, DeclaredUnit, Loaded
from services.strategy.shell.membership import Membership
from services.strategy.shell.reloading import Reloading
from services.strategy.shell.units import UnitMaker
from services.strategy.shell.worker import Worker
from shared.bus.keys import Role
from shared.clock import SYSTEM_CLOCK
from shared.ids import UnitId
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector

NAME = "counter"


class Counter(Strategy):
    """Orders one share per quote, buying and selling in turn; the reason is the quote's number."""

    class Params(BaseModel):
        """Nothing to choose."""

    class State(BaseModel):
        """The last quote that was handled."""

        last: int = 0

    params: Params
    state: State

    def on_quote(self, quote: Quote) -> None:
        """Order once per quote."""
        number = int(quote.bid_size)
        self.state.last = number
        act = self.buy if number % 2 else self.sell
        act(quote.contract, 1, limit="100.00", valid_for_s=3600.0, reason=str(number))


def loaded(names: list[str]) -> Loaded:
    """Return what a strategies file would declare: one unit per contract."""
    declared = Declared(NAME, Counter, Counter.Params(), (), "strategies.py")
    return Loaded({f"{NAME}/{name}": DeclaredUnit(UnitId(f"{NAME}/{name}"), declared, (name,)) for name in names})


async def work(
    bus: Any, instance: str, *, lease_ttl_s: float, deployment_id: str, account: str, names: list[str]
) -> None:
    """Run one worker, as `services.strategy.app` puts it together."""
    found = loaded(names)
    source = f"strategy:{instance}"
    membership = Membership(bus, instance, lease_ttl_s, SYSTEM_CLOCK, found.units)
    contracts = ContractBook(bus, client=f"strategy.{instance}", source=source, clock=SYSTEM_CLOCK)
    limits = Limits(commit_every_s=1.0, resend_s=2.0)
    maker = UnitMaker(bus, deployment_id=deployment_id, account=account, limits=limits, watched=Watched())
    elector = Elector(bus, Role.strategy(instance), instance, LeaseTiming.of_ttl(lease_ttl_s))
    histories = HistoryBook(bus, client=f"strategy.{instance}.history", source=source, clock=SYSTEM_CLOCK)
    reloading = Reloading(Path("strategies.toml"), membership, SYSTEM_CLOCK)
    worker = Worker(
        bus, elector, membership, contracts, maker, found, histories, reloading, source=source, clock=SYSTEM_CLOCK
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        group.create_task(membership.run())
        group.create_task(contracts.run())

"""The buses every conformance test runs on: in memory, and each kind of server this machine has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.keys import Keys
from shared.bus.ports import Bus
from tests.conformance.bus.bench import Bench
from tests.support import available_kinds


@pytest.fixture(params=["memory", *(available_kinds() or ["redis"])])
async def bench(request: pytest.FixtureRequest, deployment: str) -> AsyncIterator[Bench]:
    server = None
    if request.param != "memory":
        server = request.getfixturevalue(f"_{request.param}_kind")
        if not server.is_running:
            server.restart()
        server.flush()
    opened = Bench(Keys(deployment), server)
    yield opened
    await opened.bus.close()


@pytest.fixture
def bus(bench: Bench) -> Bus:
    return bench.bus

"""The buses every conformance test runs on: in memory, and each kind of server this machine has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.bus.keys import Keys
from shared.bus.ports import Bus
from tests.conformance.bus.bench import Bench
from tests.fakes import fake_redis
from tests.support import available_kinds

# Tests that fakeredis 2.40 cannot pass, each with what it does otherwise; strict: a release that can is noticed.
FAKE_DIFFERS = {
    "test_a_group_lost_with_the_server_is_made_again": "a read of a missing group answers ERR, not NOGROUP",
    "test_a_blocked_group_read_wakes_and_a_cancelled_one_loses_nothing": "the same, at its first read",
}
# Not run at all: its reads wait with asyncio.wait_for, which on Python 3.11 can lose a cancel, and these tests cancel.
FAKE_HANGS = frozenset(
    {"test_the_loop_keeps_streams_bounded", "test_a_cancelled_read_costs_nothing_but_its_connection"}
)


@pytest.fixture(params=["memory", "fakeredis", *(available_kinds() or ["redis"])])
async def bench(request: pytest.FixtureRequest, deployment: str) -> AsyncIterator[Bench]:
    if request.param == "fakeredis":
        name = request.node.originalname
        if name in FAKE_HANGS:
            pytest.skip("fakeredis can lose a cancel on Python 3.11")
        reason = FAKE_DIFFERS.get(name)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
        with fake_redis() as fake:
            opened = Bench(Keys(deployment), fake)
            yield opened
            await opened.bus.close()
        return
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

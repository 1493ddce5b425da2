"""The gateway on ib_async: the session's own tests, and a whole gateway at the simulator.

It cannot be installed beside ib_insync (both ship `eventkit`):

    pip install --target .cache/peers/ib_async ib_async

and these tests run; without it they skip.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.messages.orders import OrderState, Side
from tests.integration.gateway.conftest import broker, desk, legs, start_gateway  # noqa: F401 - fixtures
from tests.support import ROOT, clean_environment

PEER = Path(os.environ.get("CQ_PEERS") or ".cache/peers").absolute() / "ib_async"
pytestmark = pytest.mark.skipif(not PEER.is_dir(), reason=f"{PEER} is not there; see this file's first lines")


def test_the_sessions_own_tests_hold() -> None:
    env = clean_environment({"PYTHONPATH": f"{PEER}{os.pathsep}{ROOT}", "TEST_LIBRARY": "ib_async"})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         "tests/unit/services/gateway/shell/test_ib_session.py", "tests/unit/services/gateway/shell/test_ib_wire.py"],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "passed" in done.stdout and "skipped" not in done.stdout


@pytest.mark.redis
@pytest.mark.process
async def test_a_gateway_trades_on_it(start_gateway: Any, desk: Any, legs: Any) -> None:  # noqa: F811
    limit, market = legs
    start_gateway("a", 1, IB_LIBRARY="ib_async", PYTHONPATH=f"{PEER}{os.pathsep}{ROOT}")
    await desk.ready_leader()
    resting = await desk.place(limit(Side.BUY, 10, "50.25"))
    await desk.until(resting, OrderState.WORKING)
    await desk.place(limit(Side.BUY, 7, "51.5"), modifies=resting.intent_id)
    await desk.until(await desk.place(market(Side.BUY, 10)), OrderState.FILLED)
    await desk.cancel(resting)
    last = await desk.until(resting, OrderState.CANCELLED)
    assert (last.quantity, str(last.limit_price)) == (7, "51.5")
    (order,) = [each for each in desk.broker.truth()["orders"] if each["order_ref"] == last.order_ref]
    assert order["account"] == "DUSIM0001"
    assert [fill.quantity for fill in await desk.fills()] and await desk.commissions()

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from copilot_quant.background import BACKGROUND
from copilot_quant.brokers.direct import ORDERING, ClientIdInUse, DirectIB, InspectionIB, _Watch
from shared.errors import BadInput, BrokerUnavailable, Refused
from tests.support import ROOT


@pytest.mark.parametrize("name", ORDERING)
def test_neither_the_library_s_ib_nor_its_client_orders(name: str) -> None:
    ib = InspectionIB()
    targets = [DirectIB(ib, lambda: None), ib]
    if name != "placeOrder":  # the client's takes what-if orders; the integration test shows that it takes no others
        targets.append(ib.client)
    for target in targets:
        with pytest.raises(Refused, match="IBKRBroker"):
            getattr(target, name)()


def test_handlers_can_be_added_and_the_loop_is_not_the_caller_s() -> None:
    ended: list[bool] = []
    direct = DirectIB(InspectionIB(), lambda: ended.append(True))
    direct.errorEvent += lambda *_: None
    assert direct.isConnected() is False and "connect" not in dir(direct) and "positions" in dir(direct)
    assert direct.sleep(0.01) is True and direct.waitOnUpdate(0.05) is False
    with pytest.raises(BadInput):
        direct.run(None)
    direct.disconnect()
    assert ended == [True] and "not connected" in repr(direct)


@pytest.mark.parametrize(
    "act, expected",
    [
        (lambda watch: watch.on_error(-1, 326, "in use", None), ClientIdInUse),
        (lambda watch: watch.on_api_error("Peer closed connection."), BrokerUnavailable),
        (
            lambda watch: (watch.on_error(-1, 326, "x", None), watch.on_api_error("Peer closed connection.")),
            ClientIdInUse,
        ),
    ],
)
def test_a_connect_that_cannot_succeed_ends_at_once(act, expected: type[Exception]) -> None:
    async def connect() -> BaseException:
        watch = _Watch(asyncio.current_task())
        asyncio.get_running_loop().call_soon(act, watch)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return watch.reason_or_cancel()
        raise AssertionError("nothing cancelled it")

    assert type(BACKGROUND.run(connect(), limit_s=5)) is expected


def test_other_errors_end_nothing() -> None:
    watch = _Watch(None)
    watch.on_error(-1, 2104, "farm is OK", None)
    assert isinstance(watch.reason_or_cancel(), asyncio.CancelledError)


@pytest.mark.parametrize(
    "line",
    [
        "import copilot_quant.brokers.connection_manager",
        "from services.gateway.shell.ib_library import load_library; load_library()",
        "import threading; t = threading.Thread(target=lambda: __import__('copilot_quant.brokers.direct')); t.start(); "
        "t.join(); import copilot_quant.brokers.direct",
    ],
)
def test_it_is_imported_where_there_is_no_event_loop_any_more(line: str) -> None:
    """As in a script that has run `asyncio.run` before, or in a thread; the caller's loops are left as they were."""
    code = (
        f"import asyncio, sys; asyncio.run(asyncio.sleep(0)); {line}; assert 'ib_insync' in sys.modules; "
        "asyncio.run(asyncio.sleep(0)); print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("imported\n", "")

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from services.monitoring.shell.notify import QUEUE_LENGTH, AppriseNotifier
from shared.clock import SYSTEM_CLOCK
from shared.errors import ConfigError
from shared.messages.control import Alert
from tests.support import eventually, free_port

# apprise's mail plug-in imports imghdr on 3.11 and 3.12, which they deprecate; nothing of ours uses it
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


async def test_alerts_reach_a_real_endpoint_and_info_stays_on_the_page() -> None:
    got: list[dict[str, Any]] = []

    async def receive(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    notifier = AppriseNotifier(f"json://127.0.0.1:{port}/hook", "Copilot Quant sim", SYSTEM_CLOCK)
    task = asyncio.create_task(notifier.run())
    notifier.offer(Alert(alert_id="delayed", severity="info", text="nothing for people at night"))
    halted = Alert(alert_id="halted", severity="warning", text="trading is halted")
    notifier.offer(halted)
    notifier.offer(halted.model_copy(update={"is_cleared": True}))
    await eventually(lambda: len(got) == 2)
    task.cancel()
    await runner.cleanup()
    assert [one["title"] for one in got] == ["Copilot Quant sim: halted", "Copilot Quant sim: over: halted"]
    assert got[0]["message"] == "trading is halted"


def test_a_full_queue_blocks_nothing() -> None:
    notifier = AppriseNotifier("json://127.0.0.1:9/hook", "t", SYSTEM_CLOCK)
    for number in range(QUEUE_LENGTH + 10):
        notifier.offer(Alert(alert_id=str(number), severity="error", text="x"))


def test_an_address_that_is_none_refuses_the_start_without_its_secret() -> None:
    with pytest.raises(ConfigError, match="address 2") as caught:
        AppriseNotifier("json://127.0.0.1:9/, nonsense://user:hunter2@x", "t", SYSTEM_CLOCK)
    assert "hunter2" not in str(caught.value)

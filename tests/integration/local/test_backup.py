"""An older backup is put back: it starts halted, learns from the broker what is missing, and sends nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from copilot_quant.archive import read_archive
from copilot_quant.desk import Desk, OrderTicket, open_desk
from copilot_quant.local.backup import restore_backup, take_backup
from copilot_quant.local.books import fetch_truth, judge
from copilot_quant.local.system import LocalOptions, LocalSystem
from shared.errors import ConfigError, CqError
from shared.messages.control import ControlAction
from shared.messages.orders import Side
from shared.settings import BrokerSettings, load_settings
from tests.support import eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(300)]
START_S, LIMIT_S = 90.0, 60.0


@asynccontextmanager
async def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[LocalSystem, Desk, BrokerSettings]]:
    options = LocalOptions(
        data_dir=tmp_path / ".cq" / "sim", gateways=1, workers=1, strategies_file=str(tmp_path / "none.toml"),
        simulator={"SIM_STATE_DIR": str(tmp_path / "exchange"), "SIM_TICK_RATE": "20"},
    )  # fmt: skip
    (tmp_path / "none.toml").write_text("")
    system = LocalSystem(options, tmp_path)
    try:
        await system.start(lambda _: None)
        for name, value in system.operator_env().items():
            monkeypatch.setenv(name, value)
        settings = load_settings(BrokerSettings)
        async with open_desk(settings) as desk:
            yield system, desk, settings
    finally:
        await asyncio.to_thread(system.stop)


async def buy(desk: Desk, quantity: int) -> str:
    """Buy at the market, as soon as the system can, and return the intent."""

    async def done() -> str:
        try:
            contract = await desk.resolve("AAPL")
        except CqError:
            return ""
        result = await desk.place(contract, OrderTicket(Side.BUY, Decimal(quantity)))
        return result.intent_id if result.state == "filled" else ""

    return str(await eventually(done, START_S))


@pytest.mark.long
async def test_an_older_backup_starts_halted_and_sends_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state_dir, file = tmp_path / ".cq" / "sim", tmp_path / "backup.tar.gz"
    async with running(tmp_path, monkeypatch) as (system, desk, settings):
        await buy(desk, 5)
        archive = await take_backup(settings, state_dir, file)
        assert archive.state and "orders" in archive.redis and "fills" in archive.redis
        after = await buy(desk, 7)
        with pytest.raises(ConfigError, match="runs already"):
            await restore_backup(archive, settings, state_dir)
        epoch = json.loads((state_dir / "guard" / "epoch.json").read_text())["epoch"]
    archive = read_archive(file)
    with pytest.raises(ConfigError, match="nothing changed"):
        await restore_backup(replace(archive, identity={**archive.identity, "account": "DU9"}), settings, state_dir)
    done = await restore_backup(archive, settings, state_dir)
    assert done.before is not None and done.before.is_dir() and done.epoch >= epoch

    async with running(tmp_path, monkeypatch) as (system, desk, _):
        assert (await desk.halt_status())["who"] == "restore"
        published = {fill.intent_id for fill in await desk.fills()}
        assert after not in published, "the backup is older than this order"

        async def is_found_out() -> bool:
            return after in {fill.intent_id for fill in await desk.fills()}

        await eventually(is_found_out, START_S)
        assert (await desk.wait_halt_stage(frozenset({"holding", "clean"}), limit_s=LIMIT_S))["who"] == "restore"
        truth = await fetch_truth(system.simulator_http)
        assert len(truth["orders"]) == 2, "nothing is sent while it is halted"
        await desk.control(ControlAction.RESUME, who="test", reason="looked at the account")
        await desk.wait_halt_stage(frozenset({"none"}), limit_s=LIMIT_S)
        await buy(desk, 3)

        async def adds_up() -> bool:
            return (await judge(desk, system.simulator_http)).is_clean

        await eventually(adds_up, LIMIT_S)
        verdict = await judge(desk, system.simulator_http)
        assert (verdict.orders, verdict.sent_twice, verdict.executions, verdict.fills_lost) == (3, 0, 3, 0)

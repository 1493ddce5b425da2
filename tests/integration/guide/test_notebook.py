"""Every facade in a notebook that Jupyter's own kernel executes, and inside asyncio code of a script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.guide.conftest import Exchange
from tests.support import ROOT, clean_environment

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.slow, pytest.mark.timeout(240)]
NOTEBOOK = ROOT / "examples" / "first_look.ipynb"
EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
shown = {}
for cell in notebook.cells:
    texts = [out.get("text", "") or out.get("data", {}).get("text/plain", "") for out in cell.get("outputs", [])]
    is_table = any("text/html" in out.get("data", {}) for out in cell.get("outputs", []))
    shown[cell.source] = {"text": "".join(texts), "html": is_table}
print("NOTEBOOK " + json.dumps(shown))
"""
SCRIPT = """
import asyncio

from copilot_quant.backtest.live_engine import LiveStrategyEngine
from copilot_quant.brokers.connection_manager import IBKRConnectionManager
from copilot_quant.brokers.interactive_brokers import IBKRBroker
from copilot_quant.brokers.live_market_data import IBKRLiveDataFeed
from copilot_quant.strategies.my_strategy import MyStrategy


async def main() -> None:
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    counting = asyncio.create_task(count())
    with IBKRBroker(paper_trading=True) as broker, IBKRLiveDataFeed(paper_trading=True) as feed:
        with IBKRConnectionManager(paper_trading=True) as manager:
            print("accounts", manager.get_ib().managedAccounts(), (await manager.get_ib().reqPositionsAsync()))
        print("price", await asyncio.to_thread(feed.get_latest_price, "AAPL"))
        for _ in range(4):  # on a machine that is busy an order may be too late, or its price too old: nothing was sent
            answer = await asyncio.to_thread(broker.execute_order, "AAPL", 1)
            print("order", answer["status"], len(broker.fills_frame()), answer["code"], answer["message"])
            if answer["by"] != "risk":
                break
        engine = LiveStrategyEngine(paper_trading=True, update_interval=1.0)
        engine.add_strategy(MyStrategy())
        print("engine", engine.connect())
        await asyncio.to_thread(engine.start, ["AAPL"])
        while engine.updates < 2:
            await asyncio.sleep(0.1)
        await asyncio.to_thread(engine.stop)
    counting.cancel()
    print("own loop went on", ticks > 20)


asyncio.run(main())
"""


def run(code: str, folder: Path, paper: Exchange, *words: str) -> str:
    env: dict[str, Any] = clean_environment({**paper.env, "JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(folder)})
    env["PATH"] = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{env['PATH']}"
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=220)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    assert not (folder / ".cq" / "run.json").exists(), "a system was left running"
    return done.stdout


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path, paper: Exchange) -> None:

    out = run(EXECUTE, tmp_path, paper, str(NOTEBOOK))
    shown = json.loads(out[out.index("NOTEBOOK ") + 9 :])

    def of(part: str) -> dict[str, Any]:
        return next(value for source, value in shown.items() if part in source)

    assert "(True, '')" in of("manager.connect()")["text"] and "(True, '')" in of("broker.connect()")["text"]
    assert "NetLiquidation" in of("accountSummary")["text"]
    assert "datetime" in of("reqCurrentTimeAsync")["text"]
    assert "filled" in of("execute_order")["text"]
    for frame in ("orders_frame", "positions_frame", "fills_frame", "get_historical_bars"):
        assert of(frame)["html"], frame
    assert "AAPL" in of("positions_frame")["text"] and "AAPL" in of("fills_frame")["text"]
    assert "True" in of("cancel_order")["text"]
    assert float(of("get_latest_price")["text"]) > 0
    assert "True" in of("engine.is_running")["text"] and int(of("engine.stop()")["text"]) >= 1


def test_it_stands_in_the_repository_without_anybodys_output() -> None:
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]


def test_every_facade_works_inside_asyncio_code(tmp_path: Path, paper: Exchange) -> None:
    out = run(SCRIPT, tmp_path, paper)
    for line in ("accounts ['DUB267514']", "price ", "order filled ", "engine True", "own loop went on True"):
        assert line in out, out

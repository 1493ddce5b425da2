"""Whatever is wrong with a strategy is one sentence with file and line in `cq strategies`, and stops only that unit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.strategy.market import Market, intents_of, rows_of, strategies_file, worker_env
from tests.support import ROOT, Spawner, clean_environment, eventually

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(240)]
CON_IDS = [1001, 1002]
QUOTES = 12
TABLES = """
[strategy.counter]
file = "mine.py"
class = "Counter"
contracts = ["C1001", "C1002"]
"""
HEAD = """\
import sys
from pydantic import BaseModel
from services.strategy.api import Quote, Strategy
"""
CODE = {
    "syntax": "class Bad(Strategy)\n    pass\n",
    "missing": "import no_such_module\nclass Bad(Strategy): ...\n",
    "exits": "sys.exit('not today')\nclass Bad(Strategy): ...\n",
    "init": "class Bad(Strategy):\n    def __init__(self, params):\n        self.x = 1 / 0\n",
    "required": "class Bad(Strategy):\n    class State(BaseModel):\n        entry: float\n",
    "no_model": "class Bad(Strategy):\n    class State:\n        pass\n",
    "params": "class Bad(Strategy):\n    class Params(BaseModel):\n        quantity: int = 1\n",
    "params_no_model": "class Bad(Strategy):\n    class Params:\n        pass\n",
    "needs": "class Bad(Strategy):\n    @classmethod\n    def history_needs(cls, params):\n        sys.exit(3)\n",
    "quits": "class Bad(Strategy):\n    def on_quote(self, quote):\n        sys.exit('enough')\n",
    "begins": "class Bad(Strategy):\n    def on_start(self):\n        raise KeyError('AAPL')\n",
    "nonsense": "class Bad(Strategy):\n    def on_quote(self, quote):\n        return [('BUY', 5)]\n",
    "recursion": "class Bad(Strategy):\n    def on_quote(self, quote):\n        self.on_quote(quote)\n",
    "quantity": "class Bad(Strategy):\n    def on_quote(self, quote):\n        self.buy(quote.contract, -5)\n",
    "other": "class Bad(Strategy):\n    def on_quote(self, quote):\n        self.buy('MSFT', 5)\n",
    "unsaved": "class Bad(Strategy):\n    def on_quote(self, quote):\n        self.state = object()\n",
}
ERRORS = {
    "syntax": ("syntax.py:4: ", "expected ':'"),
    "missing": ("missing.py:4: ", "No module named 'no_such_module'"),
    "exits": ("exits.py:4: ", "not today"),
    "init": ("init.py:6", "ZeroDivisionError: division by zero"),
    "required": ("required.py:6", "'entry'", "give the field a default"),
    "no_model": ("no_model.py:5", "State", "pydantic model or dict"),
    "params": ("[strategy.params] params.quantity", "integer", "'many'", "strategies.toml:"),
    "params_no_model": ("params_no_model.py:5", "Params", "pydantic model"),
    "needs": ("history_needs", "SystemExit: 3"),
    "quits": ("quits.py:6", "SystemExit: enough"),
    "begins": ("begins.py:6", "on_start raised KeyError: 'AAPL'"),
    "nonsense": ("nonsense.py:5", "returned a list", "self.buy"),
    "recursion": ("recursion.py:6", "RecursionError"),
    "quantity": ("quantity.py:6", "quantity must be positive, got -5"),
    "other": ("other.py:6", "'MSFT' is no contract of other/C1001"),
    "unsaved": ("saving the state", "unsaved.py", "self.state is of type object"),
}


async def test_each_mistake_is_named_in_a_sentence_and_stops_nothing_else(
    market: Market, redis_url: str, deployment: str, tmp_path: Path, spawn: Spawner
) -> None:
    tables = TABLES
    for name, code in CODE.items():
        (tmp_path / f"{name}.py").write_text(HEAD + code)
        params = 'params = { quantity = "many" }\n' if name == "params" else ""
        tables += f'[strategy.{name}]\nfile = "{name}.py"\nclass = "Bad"\ncontracts = ["C1001"]\n{params}'
    env = worker_env(redis_url, deployment, "w1", strategies_file(tmp_path, tables), CQ_LEASE_TTL_S="4.0")
    worker = spawn("services.strategy", env=env)
    runs = [name for name in CODE if name in ("quits", "begins", "nonsense", "recursion", "quantity", "other")]

    async def all_there() -> bool:
        rows = await rows_of(market)
        assert worker.status is None, worker.output[-3000:]
        expected = ["counter/C1001", "counter/C1002", *(f"{name}/C1001" for name in runs)]
        return all(rows.get(unit, {}).get("state") == "running" for unit in expected)

    await eventually(all_there, 60.0)
    for _ in range(QUOTES):
        await market.quote_all()

    async def counted() -> bool:
        await market.reject_all()
        found = await intents_of(market.bus)
        numbers = [str(number) for number in range(1, QUOTES + 1)]
        return found == {"counter/C1001": numbers, "counter/C1002": numbers}

    await eventually(counted, 30.0)

    async def all_named() -> bool:
        rows = {row["strategy"]: row for row in (await rows_of(market)).values()}
        return all(words[0] in rows[name]["error"] for name, words in ERRORS.items())

    await eventually(all_named, 20.0)
    command = [sys.executable, "-c", "from copilot_quant.cli import main; main()", "strategies", "--json"]
    env = clean_environment({"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url})
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    rows = {row["strategy"]: row for row in json.loads(done.stdout)}
    wrong = {
        name: rows[name]["error"]
        for name, words in ERRORS.items()
        if not all(word in rows[name]["error"] for word in words)
    }
    assert wrong == {}
    assert all("\n" not in row["error"] for row in rows.values()), "one sentence each"
    paused = [name for name in runs if name != "begins" and "errors within a minute" not in rows[name]["paused"]]
    assert paused == [], "after five errors it orders no more"
    assert worker.status is None

"""History end to end: `cq history` → marketdata's cache → the gateway → the simulator with IB's pacing, and back."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot_quant.desk import Desk as Operator
from shared.errors import ExitCode, Refused
from shared.messages.requests import HistoryQuery
from tests.support import ROOT, SpawnedProcess, Spawner, clean_environment

pytestmark = [pytest.mark.redis, pytest.mark.process, pytest.mark.timeout(90)]
AAPL, MSFT = 265598, 272093


@pytest.fixture
async def marketdata(
    start_gateway: Callable[..., Any], desk: Any, spawn: Spawner, redis_url: str, deployment: str, tmp_path: Path
) -> SpawnedProcess:
    start_gateway("a", 1)
    await desk.ready_leader()
    process = spawn(
        "services.marketdata",
        env={
            "CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url, "CQ_LEASE_TTL_S": "1.0",
            "MARKETDATA_CACHE_DIR": str(tmp_path / "history"), "CQ_HTTP_PORT": "0",
        },
        name="marketdata",
    )  # fmt: skip
    process.wait_for_output("lease.acquired", 20.0)
    return process


async def asked(desk: Any) -> list[HistoryQuery]:
    """What marketdata asked the gateway."""
    return [one for one in await desk.messages(desk.bus.keys.queries) if isinstance(one, HistoryQuery)]


def cq(redis_url: str, deployment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment({"CQ_MODE": "sim", "CQ_DEPLOYMENT": deployment, "REDIS_URL": redis_url})
    command = [sys.executable, "-c", "from copilot_quant.cli import main; main()", *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


async def test_the_brokers_bars_come_through_and_the_second_time_from_the_cache(
    marketdata: SpawnedProcess, desk: Any, redis_url: str, deployment: str
) -> None:
    arguments = ("history", "AAPL", "60 D", "1 day", "--closed", "--json")
    first = await asyncio.to_thread(cq, redis_url, deployment, *arguments)
    assert first.returncode == 0, first.stderr
    rows = json.loads(first.stdout)
    times = [row["time"] for row in rows]
    assert times == sorted(set(times)) and 35 < len(rows) < 60
    assert all(float(row["low"]) <= float(row["close"]) <= float(row["high"]) for row in rows)
    count = len(await asked(desk))
    assert count >= 1
    as_csv = await asyncio.to_thread(cq, redis_url, deployment, *arguments[:-1], "--csv")
    assert [row["time"] for row in csv.DictReader(io.StringIO(as_csv.stdout))] == times
    assert len(await asked(desk)) == count


async def test_questions_of_many_at_once_are_asked_once_and_strict_pacing_is_kept(
    marketdata: SpawnedProcess, desk: Any
) -> None:
    clients = [Operator(desk.bus, "DUSIM0001") for _ in range(6)]
    end_ns = (time.time_ns() // (300 * 10**9)) * 300 * 10**9
    answers = await asyncio.gather(*[
        client.history(con_id, bar_size="5 secs", span_s=14 * 3600, end_ns=end_ns, use_rth=False, limit_s=60)
        for client in clients for con_id in (AAPL, MSFT)
    ])  # fmt: skip
    assert {len(bars) for bars in answers} == {14 * 720}
    assert answers[0] == answers[2] and answers[1] == answers[3]
    queries = await asked(desk)
    # Seven pieces of two hours for each contract, whoever asked; six alike within two seconds, and the simulator would
    # have refused one as IB does.
    assert len(queries) == 14


async def test_failures_are_sentences_and_never_empty_answers(
    marketdata: SpawnedProcess, desk: Any, redis_url: str, deployment: str
) -> None:
    operator = Operator(desk.bus, "DUSIM0001")
    with pytest.raises(Refused, match="No historical market data"):
        await operator.history(AAPL, bar_size="1 min", span_s=3600, what_to_show="NONSENSE")
    unknown = await asyncio.to_thread(cq, redis_url, deployment, "history", "AAPL", "1 D", "7 mins")
    assert unknown.returncode == ExitCode.BAD_DATA and "5 mins" in unknown.stderr
    desk.broker.process.kill()
    await asyncio.sleep(1.0)
    with pytest.raises(Refused) as failed:
        await operator.history(MSFT, bar_size="1 min", count=10, limit_s=10)
    assert failed.value.code in ("BROKER_AWAY", "TIMED_OUT")

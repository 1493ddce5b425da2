from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys

import pytest
import structlog

from shared.logs import LINGER_S, configure_logs, get_logger, mask_account


@pytest.fixture(autouse=True)
def _put_back() -> object:
    before = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_what_was_bound() -> None:
    stream = io.StringIO()
    configure_logs("risk", "r1", mode="sim", stream=stream)
    get_logger().bind(intent_id="i1").info("intent.rejected", code="RISK_HALTED")
    get_logger().debug("not.shown")
    logging.getLogger("ib_insync").warning("told by a library")
    first, second = logged(stream)
    assert first["event"] == "intent.rejected" and first["intent_id"] == "i1"
    assert (first["service"], first["instance"], first["mode"], first["level"]) == ("risk", "r1", "sim", "info")
    assert second["event"] == "told by a library" and second["level"] == "warning"


def test_secrets_and_accounts_are_masked() -> None:
    stream = io.StringIO()
    configure_logs("risk", "r1", mode="sim", stream=stream)
    get_logger().info(
        "x.done", password="p", account="DUB267514", url="redis://risk:topsecret@h:1/0", text="of U1234567"
    )
    text = stream.getvalue()
    assert "topsecret" not in text and "DUB267514" not in text and "U1234567" not in text
    assert logged(stream)[0]["password"] == "…"


def test_an_account_is_recognised_by_its_end() -> None:
    assert mask_account("DUB267514") == "DU…514"
    assert mask_account("U1234567,F7654321") == "U…567,F…321"
    assert mask_account("GOOGL") == "GOOGL"


async def test_a_loop_writes_its_lines_together_and_a_warning_brings_them_out_at_once() -> None:
    stream = io.StringIO()
    configure_logs("risk", "r1", mode="sim", stream=stream)
    log = get_logger()
    log.info("intent.approved", number=1, password="p")
    log.info("intent.approved", number=2)
    assert logged(stream) == []
    await asyncio.sleep(LINGER_S * 3)
    assert [line["number"] for line in logged(stream)] == [1, 2]
    assert logged(stream)[0]["password"] == "…" and logged(stream)[0]["ts"] <= logged(stream)[1]["ts"]  # type: ignore[operator]
    log.info("intent.approved", number=3)
    log.warning("bus.away", number=4)
    assert [line["number"] for line in logged(stream)] == [1, 2, 3, 4]
    log.info("intent.approved", number=5)
    await asyncio.to_thread(log.info, "told.by_a_thread", number=6)
    assert [line["number"] for line in logged(stream)] == [1, 2, 3, 4, 5, 6]


def test_what_waits_when_a_loop_or_the_process_ends_is_written() -> None:
    text = """
import asyncio
from shared.logs import LINGER_S, configure_logs, get_logger
configure_logs("risk", "r1", mode="sim")
async def main(number):
    get_logger().info("loop.ended", number=number)
asyncio.run(main(1))
asyncio.run(main(2))
"""
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert [json.loads(line)["number"] for line in ended.stderr.splitlines()] == [1, 2]

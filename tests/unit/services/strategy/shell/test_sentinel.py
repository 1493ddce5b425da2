from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from services.strategy.shell.mark import Mark
from services.strategy.shell.sentinel import sample_of, user_line
from tests.support import ROOT, clean_environment, eventually_sync

TRACE = """Current thread 0x1 (most recent call first):
  File "/desk/strategies/dip.py", line 12 in helper
  File "/desk/strategies/dip.py", line 30 in on_quote
  File "/app/services/strategy/core/unit.py", line 440 in _call
"""
WORKER = """
import sys
from services.strategy.shell.sentinel import with_sentinel
from shared.clock import SYSTEM_CLOCK

mark = with_sentinel()
print("ready", flush=True)
mark.begin("dip/IBM", "on_quote")
{body}
mark.end()
SYSTEM_CLOCK.block(1.0)
"""


def worker(body: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a process with a sentinel; there is no Redis to tell, which must not keep it from ending the process."""
    env = {"CQ_MODE": "sim", "REDIS_URL": "redis://127.0.0.1:1/0", "STRATEGY_HANDLER_LIMIT_S": "0.3", **settings}
    code = textwrap.dedent(WORKER).format(body=body)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(env), cwd=ROOT, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip


def test_the_innermost_line_of_the_user_is_named() -> None:
    assert user_line(TRACE) == "/desk/strategies/dip.py:12"
    assert user_line('  File "/app/services/strategy/core/unit.py", line 440 in _call') == ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_process_is_seen_with_its_memory_and_time() -> None:
    mark = Mark()
    mark.begin("dip/IBM", "on_quote")
    sample = sample_of(mark, os.getpid())
    assert sample.is_running and sample.unit == "dip/IBM" and not sample.is_held and sample.is_waiting is False
    assert sample.memory_mb > 10 and (sample.cpu_ns or 0) > 0
    gone = sample_of(mark, 2**22 + 1)
    assert gone.cpu_ns is None and gone.is_waiting is None and gone.memory_mb == 0


def test_a_call_into_c_that_takes_no_signal_is_ended_from_outside_with_its_line() -> None:
    ended = worker("sum(range(10**12))")
    assert ended.returncode == -signal.SIGKILL, ended
    assert '"event": "strategy.stuck"' in ended.stderr and '"unit": "dip/IBM"' in ended.stderr
    assert '"handler": "on_quote"' in ended.stderr


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_without_end_is_ended_too() -> None:
    body = (
        "kept = []\nwhile True: kept.append(bytearray(5_000_000)); SYSTEM_CLOCK.block(0.01); mark.begin('dip/IBM', 'x')"
    )
    ended = worker(body, STRATEGY_MEMORY_MB="300")
    assert ended.returncode == -signal.SIGKILL, ended
    assert "memory grew to" in ended.stderr and "(limit 300)" in ended.stderr


def test_a_quick_handler_is_left_alone_and_the_sentinel_ends_with_its_process() -> None:
    ended = worker("SYSTEM_CLOCK.block(0.1)")
    assert ended.returncode == 0 and "stuck" not in ended.stdout + ended.stderr
    code = "import os; from services.strategy.shell.sentinel import with_sentinel; with_sentinel(); os._exit(0)"
    env = clean_environment({"CQ_MODE": "sim", "CQ_SENTINEL_TEST": str(os.getpid())})
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, timeout=20, check=True)
    marker = f"CQ_SENTINEL_TEST={os.getpid()}".encode()

    def none_is_left() -> bool:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                found.append(marker in (folder / "environ").read_bytes())
            except OSError:
                continue
        return not any(found)

    eventually_sync(none_is_left, 10)

"""The mistakes that a reader of the guide makes, made on purpose: cause and cure in a sentence, not 0, nothing hangs.

The programs are those that the guide names, each in a process of its own with a limit.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.guide.conftest import Exchange
from tests.support import ROOT, Spawner, clean_environment, free_port

pytestmark = [pytest.mark.process, pytest.mark.redis, pytest.mark.long, pytest.mark.timeout(300)]
CONNECT, DATA, LIVE = "test_ibkr_connection.py", "ibkr_live_data_example.py", "run_live_strategy.py"
LIMIT_S = 150.0


def run(
    folder: Path, env: Mapping[str, str], *words: str, limit_s: float = LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Run an example, or `cq` where the first word says so, to its end."""
    program = ["-m", "copilot_quant.cli"] if words[0] == "cq" else [str(ROOT / "examples" / words[0])]
    return subprocess.run(
        [sys.executable, *program, *words[1:]], cwd=folder, env=clean_environment(env), capture_output=True, text=True,
        timeout=limit_s, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what it said, once it is known to have failed as a program of ours does."""
    text = done.stdout + done.stderr
    assert done.returncode != 0, text
    assert "Traceback" not in text, text
    return text


def nobody() -> dict[str, str]:
    return {"IB_PAPER_ACCOUNT": "DUB267514", "IB_PAPER_PORT": str(free_port())}


@pytest.mark.parametrize("example", [CONNECT, DATA, LIVE])
def test_tws_is_not_running(example: str, tmp_path: Path) -> None:
    """At once: no system is started in front of nothing."""
    text = said(run(tmp_path, nobody(), example, limit_s=30))
    assert "nothing answers" in text and "Enable ActiveX and Socket Clients" in text


@pytest.mark.parametrize("words", [("cq", "connect"), ("cq", "doctor"), ("cq", "order", "buy", "AAPL", "1")])
def test_tws_is_not_running_for_cq(words: tuple[str, ...], tmp_path: Path) -> None:
    said(run(tmp_path, {**nobody(), "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}, *words, limit_s=40))


@pytest.mark.parametrize("example", [CONNECT, DATA, LIVE])
@pytest.mark.parametrize(
    "env, words",
    [
        ({}, ["IB_PAPER_ACCOUNT is missing"]),
        ({"IB_PAPER_ACCOUNT": "U1234567"}, ["IB_PAPER_ACCOUNT", "no paper account"]),
        ({"IB_PAPER_ACCOUNT": "DU1", "IB_PAPER_PORT": "seven"}, ["IB_PAPER_PORT"]),
        ({"IB_PAPER_ACCOUNT": "DU1", "IB_PAPER_CLIENT_ID": "0", "IB_PAPER_PORT": "70000"}, ["_PORT", "_CLIENT_ID"]),
        ({"IB_PAPER_ACCOUNT": "DU1", "CQ_MODE": "papre"}, ["CQ_MODE"]),
    ],
)
def test_settings_that_are_wrong_are_named_all_at_once(
    example: str, env: dict[str, str], words: list[str], tmp_path: Path
) -> None:
    text = said(run(tmp_path, env, example, limit_s=30))
    assert all(word in text for word in words), text


def test_the_login_has_another_account(paper: Exchange, tmp_path: Path) -> None:
    text = said(run(tmp_path, {**paper.env, "IB_PAPER_ACCOUNT": "DU999999"}, CONNECT))
    assert "IB_PAPER_ACCOUNT" in text and "login" in text


def test_a_system_with_another_account_says_so_too(paper: Exchange, tmp_path: Path) -> None:
    text = said(run(tmp_path, {**paper.env, "IB_PAPER_ACCOUNT": "DU999999"}, DATA))
    assert "The gateway says: account DU…999 is not on this login" in text and '"event"' not in text, text
    assert not (tmp_path / ".cq" / "run.json").exists()


@pytest.mark.parametrize("example", [DATA, LIVE])
def test_a_symbol_that_does_not_exist(example: str, paper: Exchange, tmp_path: Path) -> None:
    text = said(run(tmp_path, paper.env, example, "NOSUCHSTOCK"))
    assert "NOSUCHSTOCK" in text
    assert not (tmp_path / ".cq" / "run.json").exists()


def test_the_login_is_not_finished(tmp_path: Path) -> None:
    """TWS accepts connections and says nothing."""
    spawner = Spawner(tmp_path)
    port, http = free_port(), free_port()
    env = {"SIM_ACCOUNTS": "DUB267514", "SIM_PORT": str(port), "SIM_HTTP_PORT": str(http)}
    spawner("services.simulator", env=env, name="tws").wait_for_output("exchange.opened", 60)
    done = run(tmp_path, {}, "cq", "simulator", "do", "hang", "seconds=90", "--http-port", str(http))
    assert done.returncode == 0, done.stderr
    text = said(run(tmp_path, {"IB_PAPER_ACCOUNT": "DUB267514", "IB_PAPER_PORT": str(port)}, CONNECT))
    spawner.close()
    assert "login finished" in text and "dialog" in text


def test_real_money_by_a_flag_in_a_script_alone(live: Exchange, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom copilot_quant.brokers.interactive_brokers import IBKRBroker\n"
        "broker = IBKRBroker(paper_trading=False)\nok = broker.connect()\nprint(broker.last_error)\nsys.exit(not ok)"
    )
    env = clean_environment(live.env)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30)
    assert "CQ_MODE=live" in said(done)


@pytest.mark.parametrize(
    "words, status",
    [
        (("cq", "ordre"), 64),
        (("cq", "order", "buy", "AAPL"), 64),
        (("cq", "order", "buy", "AAPL", "ten"), 65),
        (("cq", "order", "buy", "AAPL", "-5"), 64),
        (("cq", "order", "modify", "nothing", "--limit", "x"), 65),
        (("cq", "up", "--strategies", "nowhere.toml"), 78),
        (("cq", "preflight", "--answer", "x=yes"), 65),
        (("cq", "paper-check", "--restart", "perhaps", "--yes"), 78),
    ],
)
def test_what_is_typed_wrong_ends_with_its_status(words: tuple[str, ...], status: int, tmp_path: Path) -> None:
    env = {**nobody(), "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    done = run(tmp_path, env, *words, limit_s=30)
    said(done)
    assert done.returncode == status or (words[2:3] == ("modify",) and done.returncode in (65, 69)), done.stderr

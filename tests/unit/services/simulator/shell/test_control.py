from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.simulator.app import open_exchange
from services.simulator.settings import SimulatorSettings
from services.simulator.shell.control import Control
from services.simulator.shell.remote import Remote
from shared.errors import BadInput, ConfigError
from shared.settings import load_settings


@pytest_asyncio.fixture
async def control(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Control]:
    for name in ("SIM_PORT", "SIM_HTTP_PORT"):
        monkeypatch.setenv(name, "0")
    async with AsyncExitStack() as resources:
        _, opened = await open_exchange(load_settings(SimulatorSettings), resources)
        yield opened


async def ask(control: Control, path: str, body: dict[str, Any] | None = None) -> str:
    return await asyncio.to_thread(Remote("127.0.0.1", control.port).text, path, body)


async def test_every_command_is_listed_and_can_be_given(control: Control) -> None:
    listed = json.loads(await ask(control, "/commands"))
    names = {each["name"] for each in listed["commands"]}
    assert {"nightly_reset", "dividend", "halt", "double_perm_id"} <= names == set(listed["faults"])
    await ask(control, "/commands/deposit", {"amount": "5"})
    await ask(control, "/faults/lose_orders", {"count": 2})
    assert json.loads(await ask(control, "/faults"))["now"]["lose_orders"] == 2
    assert json.loads(await ask(control, "/truth"))["accounts"]["DUSIM0001"]["cash"]["USD"] == "1000005"


async def test_the_ledger_comes_as_lines_after_a_number(control: Control) -> None:
    await ask(control, "/commands/deposit", {"amount": "5"})
    entries = [json.loads(line) for line in (await ask(control, "/truth/ledger")).splitlines()]
    assert [each["kind"] for each in entries] == ["cash", "fault"]
    assert len((await ask(control, f"/truth/ledger?after={entries[0]['seq']}")).splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/commands/nonsense", {}, "there is no command 'nonsense'"),
        ("/commands/deposit", {}, "missing a required argument"),
        ("/commands/deposit", {"amount": "much"}, "not a number"),
        ("/truth/ledger?after=x", None, "whole number"),
    ],
)
async def test_mistakes_are_said(control: Control, path: str, body: dict[str, Any] | None, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        await ask(control, path, body)
    assert words in str(caught.value)


async def test_a_bad_scenario_refuses_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[[step]]\nafter_s = 1\ndo = "nonsense"\n')
    monkeypatch.setenv("SIM_SCENARIO", str(path))
    async with AsyncExitStack() as resources:
        with pytest.raises(ConfigError, match=r"bad\.toml, line 3, column 1: there is no command 'nonsense'"):
            await open_exchange(load_settings(SimulatorSettings), resources)

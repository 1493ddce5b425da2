"""Two simulated TWS, one with the guide's paper account and one with its live account, on ports of our own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import SpawnedProcess, Spawner, free_port


class Exchange:
    """A simulator with one account that can be stopped and started again on the same port."""

    def __init__(self, spawn: Spawner, account: str, mode: str) -> None:
        self._spawn, self.account, self._mode = spawn, account, mode
        self.port = free_port()
        self._process: SpawnedProcess | None = None

    def start(self) -> None:
        """Listen."""
        env = {
            "SIM_ACCOUNTS": self.account,
            "SIM_PORT": str(self.port),
            "SIM_HTTP_PORT": str(free_port()),
            "SIM_TICK_RATE": "3",
        }
        self._process = self._spawn("services.simulator", env=env, name=f"tws-{self._mode}")
        self._process.wait_for_output("exchange.opened", 90)

    def kill(self) -> None:
        """End without a word."""
        if self._process is not None:
            self._process.kill()

    @property
    def env(self) -> Mapping[str, str]:
        """Return the guide's settings for it."""
        mode = self._mode.upper()
        return {f"IB_{mode}_PORT": str(self.port), f"IB_{mode}_ACCOUNT": self.account}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def module_spawn(folder: Path) -> Iterator[Spawner]:
    spawner = Spawner(folder)
    yield spawner
    spawner.close()


@pytest.fixture(scope="module")
def paper(module_spawn: Spawner) -> Exchange:
    exchange = Exchange(module_spawn, "DUB267514", "paper")
    exchange.start()
    return exchange


@pytest.fixture(scope="module")
def live(module_spawn: Spawner) -> Exchange:
    exchange = Exchange(module_spawn, "U1234567", "live")
    exchange.start()
    return exchange


@pytest.fixture(scope="module")
def system(module_spawn: Spawner, folder: Path, paper: Exchange) -> None:
    """A system on the paper account in `folder`."""
    (folder / "none.toml").write_text("")
    words = ["up", "--gateways", "1", "--workers", "1", "--strategies", str(folder / "none.toml")]
    up = module_spawn.command([sys.executable, "-m", "copilot_quant.cli", *words], env=paper.env, name="up")
    up.wait_for_output("status page", 150)


@pytest.fixture
def here(system: None, paper: Exchange, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the folder of the system, as a person would."""
    for name, value in paper.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)

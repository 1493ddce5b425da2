"""Start simulators as real processes."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import SpawnedProcess, Spawner, free_port


@dataclass
class RunningSimulator:
    """A simulator process and how to reach it."""

    process: SpawnedProcess
    port: int
    control_port: int

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.control_port}{path}", timeout=10) as answer:
            return json.load(answer)


class Simulators:
    """Start simulators that end with the test."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner

    def start(self, **settings: str) -> RunningSimulator:
        """Start one with these settings (`SIM_...`)."""
        port, control_port = free_port(), free_port()
        environment = {"CQ_ENV_FILE": "", "SIM_TICK_RATE": "10", "SIM_HISTORY_PACING": "false", **settings}
        process = self._spawner(
            "services.simulator", "--port", str(port), "--http-port", str(control_port), env=environment
        )
        process.wait_for_output("service.started", 20)
        return RunningSimulator(process, port, control_port)


@pytest.fixture
def simulators(tmp_path: Path) -> Iterator[Simulators]:
    spawner = Spawner(tmp_path)
    try:
        yield Simulators(spawner)
    finally:
        spawner.close()

"""Start a simulator as a real process."""

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


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    directory: Path = tmp_path_factory.mktemp("simulator")
    spawner = Spawner(directory)
    port, control_port = free_port(), free_port()
    process = spawner(
        "services.simulator",
        "--port", str(port), "--http-port", str(control_port),
        env={"CQ_ENV_FILE": "", "SIM_TICK_RATE": "10", "SIM_HISTORY_PACING": "false"},
    )  # fmt: skip
    try:
        process.wait_for_output("service.started", 20)
        yield RunningSimulator(process, port, control_port)
    finally:
        spawner.close()

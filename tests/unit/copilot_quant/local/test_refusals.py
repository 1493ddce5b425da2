from __future__ import annotations

import json

import pytest

from copilot_quant.local.refusals import check_refusals, refusals
from copilot_quant.local.supervision import ProcessInfo
from shared.errors import ConfigError

ROW = "SIM_REPLAY: day.csv, line 20, column 1: 'abc' is no price"


class Supervisor:
    def __init__(self, states: dict[str, str], logs: dict[str, list[str]]) -> None:
        self.states, self.logs = states, logs

    def processes(self) -> list[ProcessInfo]:
        return [ProcessInfo(name, state, 1, 1) for name, state in self.states.items()]

    def log_tail(self, name: str, lines: int = 20) -> list[str]:
        return self.logs.get(name, [])[-lines:]


def refused(mistake: str) -> str:
    return json.dumps({"event": "service.refused_start", "mistake": mistake, "level": "error"})


def test_each_mistake_of_who_does_not_run_is_said_once_with_its_process() -> None:
    logs = {
        "simulator": [refused(ROW), "no json", "[1]", refused("SIM_CASH: not a number"), refused(ROW)],
        "risk": [refused("an old one, of a start before")],
        "guard": ['{"event": "link.lost"}', '{"event": "service.refused_start"'],
    }
    supervisor = Supervisor({"simulator": "BACKOFF", "risk": "RUNNING", "guard": "FATAL", "redis": "STARTING"}, logs)
    assert refusals(supervisor) == [
        f"simulator refuses to start: {ROW}",
        "simulator refuses to start: SIM_CASH: not a number",
    ]
    with pytest.raises(ConfigError, match=r"line 20, column 1") as told:
        check_refusals(supervisor)
    assert len(told.value.mistakes) == 2


def test_a_system_that_starts_is_waited_for() -> None:
    check_refusals(Supervisor({"simulator": "RUNNING", "risk": "STARTING"}, {}))

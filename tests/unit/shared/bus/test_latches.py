"""Which latch an act of control sets or opens."""

from __future__ import annotations

import pytest

from shared.bus.latches import ACCOUNT, latch_of, latches_in, latches_on
from shared.messages.control import Control, ControlAction


@pytest.mark.parametrize(
    "action, scope, expected",
    [
        (ControlAction.HALT, "account", (ACCOUNT, True)),
        (ControlAction.FLATTEN, "account", (ACCOUNT, True)),
        (ControlAction.RESUME, "account", (ACCOUNT, False)),
        (ControlAction.HALT, "strategy:a:b", ("halt:strategy:a:b", True)),
        (ControlAction.FLATTEN, "contract:7", ("halt:contract:7", True)),
        (ControlAction.RESUME, "contract:7", ("halt:contract:7", False)),
        (ControlAction.PAUSE_STRATEGY, "strategy:s", ("pause:strategy:s", True)),
        (ControlAction.PAUSE_STRATEGY, "s", ("pause:strategy:s", True)),
        (ControlAction.RESUME_STRATEGY, "strategy:s", ("pause:strategy:s", False)),
        (ControlAction.LIMITS, "account", None),
        (ControlAction.HANDOVER, "account", None),
    ],
)
def test_an_act_names_its_latch(action: ControlAction, scope: str, expected: tuple[str, bool] | None) -> None:
    assert latch_of(Control(control_id="c", action=action, scope=scope, who="me")) == expected


def test_an_order_is_held_by_its_strategys_and_its_contracts_latches_that_are_set() -> None:
    assert latches_on("s", 7) == ("halt:strategy:s", "halt:contract:7", "pause:strategy:s")
    stored = {
        "stage": "none",
        "halt:contract:7": "holding me: x",
        "halt:strategy:s": "",
        "waits:halt:strategy:s": "1-1",
    }
    assert latches_in(stored) == {"halt:contract:7": "holding me: x"}

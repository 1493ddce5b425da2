from __future__ import annotations

from typing import Any

import pytest

from services.simulator.core.commands import BadFault, Commands
from tests.unit.services.simulator.exchange_support import Driver

HARMLESS: dict[str, dict[str, Any]] = {
    "cut": {}, "half_open": {}, "stall": {"seconds": 0.1}, "outage": {"seconds": 1}, "notice": {"code": 1},
    "late_message": {"name": "execDetails"}, "false_alarms": {"codes": [399]},
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_parameters_are_checked_before_anything_is_done(name: str) -> None:
    driver = Driver()
    driver.engine.commands.check(name, HARMLESS[name])
    with pytest.raises(BadFault, match="cannot take"):
        driver.engine.commands.check(name, {**HARMLESS[name], "nonsense": 1})
    assert driver.truth()["counts"].get("fault", 0) == 0


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("stall", {"seconds": "long"}, "seconds='long': a number is needed"),
        ("stall", {"seconds": True}, "a number is needed"),
        ("notice", {"code": 2.5}, "a whole number is needed"),
        ("notice", {}, "missing a required argument: 'code'"),
        ("cut", {"abrupt": "yes"}, "true or false is needed"),
        ("nonsense", {}, "there is no command 'nonsense': choose from cut,"),
    ],
)
def test_mistakes_say_what_is_needed(name: str, parameters: dict[str, object], words: str) -> None:
    with pytest.raises(BadFault) as caught:
        Driver().engine.commands.check(name, parameters)
    assert words in str(caught.value)


def test_every_command_explains_itself() -> None:
    for each in Driver().engine.commands.help():
        assert each.text.endswith("."), each.name
        assert all(parameter.islower() for parameter in each.parameters), each.name


def test_what_was_done_is_in_the_ledger_and_the_history() -> None:
    driver = Driver()
    driver.fault("farm_flap", times=1)
    assert driver.truth()["counts"]["fault"] == 1
    assert [each.name for each in driver.engine.floor.faults.history] == ["farm_flap"]


def test_two_commands_of_one_name_are_a_mistake_of_ours() -> None:
    def same() -> None:
        """Do nothing."""

    with pytest.raises(ValueError, match="two commands"):
        Commands(Driver().engine.floor, {"a": [same], "b": [same]})

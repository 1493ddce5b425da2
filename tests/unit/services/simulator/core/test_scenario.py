from __future__ import annotations

import json

import pytest

from services.simulator.core.scenario import BadScenario, Scenario, parse_scenario
from shared.tws import responses as rs
from tests.support import ROOT
from tests.unit.services.simulator.exchange_support import Driver

NIGHT = """
# a bad night
[[step]]
after_s = 10
do = "farm_flap"
times = 1

[[step]]
at = "10:30"
do = "notice"
code = 2110

[[step]]
after_s = 1
every_s = 2
repeat = 3
do = "notice"
code = 2119
"""


def parsed(driver: Driver, text: str) -> Scenario:
    return parse_scenario("night.toml", text, driver.engine.commands.check)


def codes(driver: Driver) -> list[int]:
    driver.take(driver.engine.advance(driver.now_ns))
    return [each.code for each in driver.got(1, rs.ErrorMessage) if each.code in (2103, 2110, 2119)]


def test_steps_come_at_their_times() -> None:
    driver = Driver()
    driver.connect(1)
    driver.engine.play(parsed(driver, NIGHT))
    driver.run(0.9)
    assert codes(driver) == []
    driver.run(9.0)
    assert codes(driver) == [2119, 2119, 2119], "every two seconds, three times in all"
    driver.run(1.0)
    assert codes(driver)[-1] == 2103
    driver.run(30 * 60)
    assert codes(driver).count(2110) == 1, "half past ten in New York"
    driver.run(86_400)
    assert codes(driver).count(2110) == 2, "and the next day again"


def test_a_step_that_cannot_be_done_yet_does_not_stop_the_others() -> None:
    driver = Driver()
    driver.connect(1)
    text = '[[step]]\nafter_s = 1\ndo = "correction"\n[[step]]\nafter_s = 2\ndo = "notice"\ncode = 2110\n'
    driver.engine.play(parsed(driver, text))
    driver.run(3)
    assert codes(driver) == [2110]
    failed = [json.loads(line) for line in driver.engine.floor.ledger.lines if "scenario_failed" in line]
    assert [each["line"] for each in failed] == [1]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[[step]]\nafter_s = \n", "night.toml, line 2, column 11"),
        ('[[step]]\nafter_s = 1\n\n  do = "nonsense"\n', "night.toml, line 4, column 3"),
        ('[[step]]\nafter_s = 1\ndo = "stall"\nminutes = 3\n', "night.toml, line 4, column 1"),
        ('[[step]]\nafter_s = 1\ndo = "stall"\nseconds = "long"\n', "night.toml, line 4, column 1"),
        ('[[step]]\nafter_s = -1\ndo = "stall"\n', "night.toml, line 2, column 1"),
        ('[[step]]\nat = "25:00"\ndo = "stall"\n', "night.toml, line 2, column 1"),
        ('[[step]]\nat = "23:00"\nafter_s = 1\ndo = "stall"\n', "night.toml, line 2, column 1"),
        ('[[step]]\ndo = "stall"\n', "night.toml, line 1, column 1"),
        ("[[step]]\nafter_s = 1\n", "night.toml, line 1, column 1"),
        ('[[step]]\nafter_s = 1\nrepeat = 2\ndo = "stall"\n', "night.toml, line 3, column 1"),
        ('[[step]]\nafter_s = 1\ndo = "clear"\n[[step]]\nafter_s = 1\ndo = "cler"\n', "night.toml, line 6, column 1"),
        ("title = 3\n", "night.toml, line 1, column 1"),
        ("", "night.toml, line 1, column 1"),
    ],
)
def test_a_mistake_names_its_place(text: str, place: str) -> None:
    with pytest.raises(BadScenario, match=place):
        parsed(Driver(), text)


def test_the_example_of_the_documentation_can_be_played() -> None:
    text = (ROOT / "docs" / "how-to" / "nightly.toml").read_text()
    scenario = parsed(Driver(), text)
    assert {"nightly_reset", "auto_restart", "half_open"} <= {each.do for each in scenario.steps}

"""Limits come from a profile and differences; every mistake is named at once, with its line."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

import pytest

from services.risk.core.ceiling import differences
from services.risk.core.limits import Stage
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import PROFILES, default_limits, staged
from shared.errors import ConfigError
from tests.risk_desk import info

AAPL, MSFT = info(1, name="AAPL"), info(2, name="MSFT")


def test_an_empty_file_is_the_profile() -> None:
    assert parse_limits("").base == PROFILES["small-paper"] == default_limits().base
    assert parse_limits('profile = "tiny-live"\nrules = 5').base == PROFILES["tiny-live"]


def test_differences_and_overrides() -> None:
    limits = parse_limits(
        """
        [limits]
        order_quantity_max = 10.5
        exposure_gross_max = "unlimited"
        order_types = ["LMT"]
        [strategies.slow]
        order_quantity_max = 5
        [contracts.AAPL]
        order_quantity_max = 3
        [contracts."#42"]
        position_quantity_max = 7
        """
    )
    assert limits.base.order_quantity_max == Decimal("10.5")
    assert limits.base.exposure_gross_max is None
    assert limits.for_order("slow", 2, MSFT).order_quantity_max == 5
    assert limits.for_order("slow", 1, AAPL).order_quantity_max == 3
    assert limits.for_order("fast", 2, MSFT).order_quantity_max == Decimal("10.5")
    assert limits.for_order("fast", 42, None).position_quantity_max == 7


def test_a_table_for_all_months_of_a_future_and_a_notice_day_for_one() -> None:
    limits = parse_limits(
        """
        [asset_classes.FUT]
        expiry_days_min = 10
        [contracts."FUT:CL@NYMEX"]
        expiry_days_min = 30
        [contracts."FUT:ZC@CBOT:202612"]
        first_notice = 2026-11-30
        [contracts."OPT:SPY"]
        order_quantity_max = 2
        [contracts.SAP]
        order_quantity_max = 1
        """
    )
    crude, corn = info(1, name="FUT:CL@NYMEX:202612"), info(2, name="FUT:ZC@CBOT:202612")
    found = [limits.for_order("s", one.con_id, one.model_copy(update={"sec_type": "FUT"})) for one in (crude, corn)]
    assert [one.expiry_days_min for one in found] == [30, 10]
    assert [one.first_notice for one in found] == [None, date(2026, 11, 30)]
    option = info(3, name="OPT:SPY:20261218:500C").model_copy(update={"sec_type": "OPT"})
    assert limits.for_order("s", 3, option).order_quantity_max == 2
    stock = info(4, name="SAP@IBIS:EUR")
    assert limits.for_order("s", 4, stock).order_quantity_max == limits.base.order_quantity_max, "another SAP"
    limited = staged(limits, Stage.LIMITED).for_order("s", 2, corn.model_copy(update={"sec_type": "FUT"}))
    assert limited.first_notice == date(2026, 11, 30)
    assert "[contracts.FUT:ZC@CBOT:202612] first_notice: not set -> 2026-11-30" in differences(default_limits(), limits)


@pytest.mark.parametrize(
    "line, word",
    [
        ("[contracts.A]\nfirst_notice = 2026-13-30", "TOML"),
        ("[contracts.A]\nfirst_notice = 'soon'", "must be a date"),
        ("[contracts.A]\nfirst_notice = 2026-11-30T10:00:00", "must be a date"),
        ("[contracts.A]\nfirst_notice = 3", "must be a date"),
        ("[limits]\nfirst_notice = 2026-11-30", "cannot be set in [limits]"),
        ("[asset_classes.FUT]\nfirst_notice = 2026-11-30", "cannot be set in [asset_classes.FUT]"),
    ],
)
def test_a_notice_day_is_a_date_of_one_contract(line: str, word: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(word)):
        parse_limits(line)


def test_of_two_notice_days_the_earlier_counts() -> None:
    text = '[contracts."#1"]\nfirst_notice = "2026-11-30"\n[contracts.AAPL]\nfirst_notice = 2026-11-27'
    assert parse_limits(text).for_order("s", 1, AAPL).first_notice == date(2026, 11, 27)


@pytest.mark.parametrize(
    "head, rung", [("rules = 4", "warn"), ("rules = 5", "reduce_only"), ("", "warn"), ('profile = "tiny-live"', "warn")]
)
def test_a_breaker_that_an_upgrade_added_only_warns_till_the_file_is_looked_at(head: str, rung: str) -> None:
    assert parse_limits(f"{head}\n[limits]\norder_quantity_max = 5").base.strategy_drawdown_rung == rung
    chosen = parse_limits(f'{head}\n[limits]\nstrategy_drawdown_rung = "flatten"').base
    assert chosen.strategy_drawdown_rung == "flatten"


def test_the_guides_variables_win() -> None:
    limits = parse_limits(
        "[limits]\nexposure_gross_max = 1", environment={"MAX_POSITION_SIZE": "1000", "MAX_TOTAL_EXPOSURE": "50000"}
    )
    assert (limits.base.position_quantity_max, limits.base.exposure_gross_max) == (Decimal(1000), Decimal(50_000))


def test_every_mistake_is_named_at_once_with_its_line() -> None:
    text = """profile = "huge"
nonsense = 1
[limits]
order_quantity_max = -1
price_collar_percent = "much"
position_qty_max = 5
delayed_data = "maybe"
tifs = ["DAY", "OPG"]
[strategies.s]
position_quantity_max = 5
"""
    with pytest.raises(ConfigError) as caught:
        parse_limits(text, source="limits.toml", environment={"MAX_TOTAL_EXPOSURE": "lots"})
    mistakes = caught.value.mistakes
    for line, word in ((1, "huge"), (2, "nonsense"), (4, "-1"), (5, "much"), (6, "position_qty_max"), (7, "maybe")):
        assert any(f"limits.toml, line {line}:" in one and word in one for one in mistakes), (line, mistakes)
    assert any("line 8" in one and "OPG" in one for one in mistakes)
    assert any("line 10" in one and "cannot be set in [strategies.s]" in one for one in mistakes)
    assert any(one.startswith("MAX_TOTAL_EXPOSURE") for one in mistakes)
    assert len(mistakes) == 9


@pytest.mark.parametrize(
    "text",
    [
        "[limits",
        "limits = 3",
        "strategies = 3",
        "[limits]\norder_quantity_max = true",
        "[limits]\ndaily_loss_max = nan",
    ],
)
def test_nonsense_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_limits(text)


@pytest.mark.parametrize("name", list(PROFILES))
def test_the_limited_stage_takes_every_profile(name: str) -> None:
    """A share that was a word once ended a live start in the stage limited."""
    limits = staged(parse_limits(f'profile = "{name}"\n'), Stage.LIMITED)
    assert limits.base.buying_power_share == Decimal("0.5")
    assert staged(limits, Stage.LIMITED).base == limits.base

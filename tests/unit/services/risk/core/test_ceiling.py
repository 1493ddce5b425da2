"""No table of a limits file may allow more than the ceiling, and every difference is said in one line."""

from __future__ import annotations

import pytest

from services.risk.core.ceiling import above_ceiling, differences, parse_ceiling
from services.risk.core.limits_file import parse_limits
from services.risk.core.profiles import PROFILES
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("ceiling", "limits", "is_above"),
    [
        ("order_quantity_max = 500", "[limits]\norder_quantity_max = 500", False),
        ("order_quantity_max = 500", "[limits]\norder_quantity_max = 501", True),
        ("order_quantity_max = 500", '[limits]\norder_quantity_max = "unlimited"', True),
        ("order_quantity_max = 5000", "", False),
        ("order_quantity_max = 500", "", True),
        ("order_quantity_max = 1000", "[strategies.s]\norder_quantity_max = 1001", True),
        ("order_quantity_max = 1000", "[contracts.AAPL]\norder_quantity_max = 1001", True),
        ("order_quantity_max = 1000", "[asset_classes.FUT]\norder_quantity_max = 1001", True),
        ('order_quantity_max = "unlimited"', '[limits]\norder_quantity_max = "unlimited"', False),
        ("cash_min = 100", "[limits]\ncash_min = 100", False),
        ("cash_min = 100", "[limits]\ncash_min = 99", True),
        ("cash_min = 100", "", True),
        ('short_selling = "warn"', "", True),
        ('short_selling = "warn"', '[limits]\nshort_selling = "refuse"', False),
        ('daily_loss_rung = "reduce_only"', '[limits]\ndaily_loss_rung = "warn"', True),
        ('daily_loss_rung = "reduce_only"', '[limits]\ndaily_loss_rung = "halt"', False),
        ('order_types = ["LMT"]', '[limits]\norder_types = ["LMT"]', False),
        ('order_types = ["LMT"]', "", True),
        ('contracts_allowed = ["AAPL"]', "", True),
        ('contracts_restricted = ["GME"]', '[limits]\ncontracts_restricted = ["GME", "AMC"]', False),
        ('contracts_restricted = ["GME"]', "", True),
        ('trading_day = "00:00 UTC"', "", True),
    ],
)
def test_what_is_above_a_ceiling(ceiling: str, limits: str, is_above: bool) -> None:
    found = above_ceiling(parse_limits(limits), parse_ceiling(f"[limits]\n{ceiling}"))
    assert bool(found) is is_above, found


def test_both_profiles_are_below_themselves() -> None:
    for name, profile in PROFILES.items():
        names = ("order_quantity_max", "order_types", "tifs", "daily_loss_rung")
        ceiling = {one: getattr(profile, one) for one in names}
        assert not above_ceiling(parse_limits(f'profile = "{name}"'), ceiling)


@pytest.mark.parametrize("text", ["profile = 'x'", "[limits]\nnonsense = 1", "[limits", "[strategies.s]\ntifs = []"])
def test_a_ceiling_holds_limits_only(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_ceiling(text)


def test_differences_name_old_and_new() -> None:
    before = parse_limits("rules = 2\n[limits]\norder_quantity_max = 10\n[strategies.s]\norder_quantity_max = 5")
    changed = '[limits]\norder_quantity_max = "unlimited"\n[contracts.AAPL]\ndelayed_data = "warn"'
    after = parse_limits(f"rules = 2\n{changed}")
    assert differences(before, before) == []
    assert differences(before, after) == [
        'order_quantity_max: 10 -> "unlimited"',
        "[strategies.s] order_quantity_max: 5 -> not set",
        '[contracts.AAPL] delayed_data: not set -> "warn"',
    ]
    older = parse_limits("[limits]\norder_quantity_max = 10\n[strategies.s]\norder_quantity_max = 5")
    assert differences(before, older) == ["rules: 2 -> 1"]

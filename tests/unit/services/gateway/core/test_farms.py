"""What TWS says of a data farm is news once; a farm that broke is lost until it is OK."""

from __future__ import annotations

import pytest

from services.gateway.core.farms import Farms
from shared.messages.control import FarmCondition, FarmKind


@pytest.mark.parametrize(
    "code, text, name, kind, condition",
    [
        (2103, "Market data farm connection is broken:usfarm", "usfarm", FarmKind.MARKET, FarmCondition.BROKEN),
        (2104, "Market data farm connection is OK:usfarm.nj", "usfarm.nj", FarmKind.MARKET, FarmCondition.OK),
        (2105, "HMDS data farm connection is broken:ushmds", "ushmds", FarmKind.HISTORY, FarmCondition.BROKEN),
        (2106, "HMDS data farm connection is OK:ushmds", "ushmds", FarmKind.HISTORY, FarmCondition.OK),
        (
            2107, "HMDS data farm connection is inactive but should be available upon demand.ushmds", "ushmds",
            FarmKind.HISTORY, FarmCondition.INACTIVE,
        ),
        (
            2108, "Market data farm connection is inactive but should be available upon demand.eufarm", "eufarm",
            FarmKind.MARKET, FarmCondition.INACTIVE,
        ),
        (2157, "Sec-def data farm connection is broken:secdefil", "secdefil", FarmKind.CONTRACTS, FarmCondition.BROKEN),
        (2158, "Sec-def data farm connection is OK:secdefil", "secdefil", FarmKind.CONTRACTS, FarmCondition.OK),
        (2103, "gestört", "market data", FarmKind.MARKET, FarmCondition.BROKEN),
    ],
)  # fmt: skip
def test_each_code_is_told_apart_by_name_kind_and_condition(
    code: int, text: str, name: str, kind: FarmKind, condition: FarmCondition
) -> None:
    farms = Farms()
    farm = farms.told(code, text)
    assert farm is not None
    assert (farm.name, farm.kind, farm.condition, farm.code, farm.text) == (name, kind, condition, code, text)
    assert farms.told(code, text) is None, "a repetition is no news"
    assert farms.broken == ([name] if condition is FarmCondition.BROKEN else [])


@pytest.mark.parametrize("code", [1100, 2100, 2110, 2119])
def test_other_codes_are_no_farm(code: int) -> None:
    farms = Farms()
    assert farms.told(code, "Market data farm is connecting:usfarm") is None and not list(farms)


def test_a_farm_that_broke_and_went_inactive_is_not_broken_and_still_lost_until_it_is_ok() -> None:
    farms = Farms()
    said = [
        farms.told(code, text)
        for code, text in (
            (2104, "OK:usfarm"), (2103, "broken:usfarm"), (2108, "available upon demand.usfarm"),
            (2104, "OK:usfarm"), (2108, "available upon demand.usfarm"), (2104, "OK:usfarm"),
        )
    ]  # fmt: skip
    assert [farm and farm.is_lost for farm in said] == [False, True, True, False, False, False]
    assert [farm and farm.was_lost for farm in said] == [False, False, False, True, False, False]
    assert farms.broken == [] and [farm.name for farm in farms] == ["usfarm"]
    farms.told(2103, "broken:usfarm")
    farms.clear()
    assert farms.broken == []

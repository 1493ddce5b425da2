from __future__ import annotations

from datetime import date

import pytest

from services.simulator.core.contracts import NO_DEFINITION, Listing, NotFound, Universe
from services.simulator.core.universe import default_universe, third_friday
from shared.tws.contract import TwsContract

UNIVERSE = default_universe(date(2026, 11, 23))


def resolved(**fields) -> str:
    found = UNIVERSE.resolve(TwsContract(**fields))
    return found.text if isinstance(found, NotFound) else f"{found.instrument.con_id}@{found.exchange}"


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"symbol": "AAPL", "sec_type": "STK", "currency": "USD"}, "265598@SMART"),
        ({"con_id": 265598}, "265598@SMART"),
        ({"con_id": 265598, "exchange": "ARCA"}, "265598@ARCA"),
        ({"con_id": 265598, "exchange": "IBIS"}, NO_DEFINITION),
        ({"con_id": 1}, NO_DEFINITION),
        ({"symbol": "aapl", "sec_type": "STK", "exchange": "smart"}, "265598@SMART"),
        ({"symbol": "AAPL", "sec_type": "STK", "currency": "EUR"}, NO_DEFINITION),
        ({"symbol": "SAP", "sec_type": "STK"}, "The contract description specified for SAP is ambiguous."),
        ({"symbol": "SAP", "sec_type": "STK", "currency": "EUR"}, "14204@SMART"),
        ({"symbol": "SAP", "sec_type": "STK", "exchange": "IBIS"}, "14204@IBIS"),
        ({"symbol": "SAP", "sec_type": "STK", "primary_exchange": "NYSE"}, "13015@SMART"),
        ({"symbol": "EUR", "sec_type": "CASH", "currency": "USD", "exchange": "IDEALPRO"}, "12087792@IDEALPRO"),
        ({"local_symbol": "EUR.USD", "sec_type": "CASH"}, "12087792@IDEALPRO"),
        ({"symbol": "SPX", "sec_type": "IND", "exchange": "CBOE"}, "416904@CBOE"),
        ({"sec_id_type": "ISIN", "sec_id": "US0378331005", "exchange": "SMART"}, "265598@SMART"),
        ({}, NO_DEFINITION),
    ],
)
def test_resolution(fields, answer: str) -> None:
    assert resolved(**fields) == answer


def test_an_option_needs_all_its_parts() -> None:
    parts = {"symbol": "SPY", "sec_type": "OPT", "exchange": "SMART"}
    assert "ambiguous" in resolved(**parts)
    full = {**parts, "last_trade_date": "20261218", "strike": 600.0, "right": "CALL"}
    assert resolved(**full).endswith("@SMART")
    assert "ambiguous" not in resolved(**full, multiplier="100")
    assert resolved(**full, multiplier="10") == NO_DEFINITION


def test_ids_are_unique_and_do_not_depend_on_the_day() -> None:
    other = default_universe(date(2026, 11, 30))
    today = {(each.symbol, each.sec_type, each.currency, each.local_symbol): each.con_id for each in UNIVERSE}
    for each in other:
        known = today.get((each.symbol, each.sec_type, each.currency, each.local_symbol))
        assert known in (None, each.con_id)
    with pytest.raises(ValueError, match="twice"):
        Universe([next(iter(UNIVERSE))] * 2, [])


def test_expiries_are_third_fridays() -> None:
    assert third_friday(2026, 12) == date(2026, 12, 18) and third_friday(2027, 1) == date(2027, 1, 15)


def test_a_rule_changes_with_the_price() -> None:
    from decimal import Decimal

    rule = UNIVERSE.rules[32]
    assert rule.tick_at(Decimal("0.5")) == Decimal("0.0001") and rule.tick_at(Decimal(5)) == Decimal("0.01")


def test_matching_prefers_the_start_of_the_symbol() -> None:
    found = UNIVERSE.matching("A")
    assert found[0].symbol == "AMD" or found[0].symbol.startswith("A")
    assert "AAPL" in {each.symbol for each in UNIVERSE.matching("apple")}
    assert UNIVERSE.matching("  ") == []
    assert isinstance(UNIVERSE.find(TwsContract(con_id=265598))[0], Listing)

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.contracts import ContractName, parse_contract
from shared.errors import UnknownContract


@pytest.mark.parametrize(
    "text",
    [
        "AAPL",
        "AAPL@NASDAQ",
        "SAP@IBIS:EUR",
        "BRK B",
        "FX:EUR.USD",
        "FUT:ES@CME:202612",
        "FUT:ES@CME:20261218",
        "OPT:SPY:20261218:500C",
        "OPT:SPY:20261218:512.5P",
        "IND:SPX@CBOE",
        "CRYPTO:BTC.USD",
        "#265598",
    ],
)
def test_a_name_reads_back_as_it_was_written(text: str) -> None:
    assert str(parse_contract(text)) == text
    assert parse_contract(f" {text.lower()} ") == parse_contract(text)


def test_a_stock_is_routed_smart_and_its_listing_kept_apart() -> None:
    assert parse_contract("SAP@IBIS:EUR") == ContractName("STK", "SAP", "SMART", "IBIS", "EUR")
    assert parse_contract("AAPL@SMART") == parse_contract("AAPL")


def test_an_option_has_its_strike_exactly() -> None:
    option = parse_contract("OPT:SPY:20261218:512.5P")
    assert (option.strike, option.right, option.expiry) == (Decimal("512.5"), "P", "20261218")


@pytest.mark.parametrize(
    "text", ["", "@NASDAQ", "FX:EURUSD", "FUT:ES", "OPT:SPY:2026:1C", "#0", "#x", "A:B:C", "AAPL@"]
)
def test_what_is_no_name_says_how_names_are_written(text: str) -> None:
    with pytest.raises(UnknownContract, match="AAPL@NASDAQ"):
        parse_contract(text)

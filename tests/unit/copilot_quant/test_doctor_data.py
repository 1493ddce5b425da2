from __future__ import annotations

from datetime import UTC, datetime

import pytest

from copilot_quant.doctor_data import CURES, DataFacts, data_finding
from services.gateway.core.tws_codes import TABLE, CodeKind
from shared.clock import NS_PER_S
from shared.messages.market import ContractInfo, DataStatus

NOON = int(datetime(2026, 11, 23, 17, tzinfo=UTC).timestamp()) * NS_PER_S  # a Monday, 12:00 in New York
APPLE = ContractInfo(
    con_id=265598,
    name="AAPL",
    symbol="AAPL",
    sec_type="STK",
    exchange="SMART",
    currency="USD",
    time_zone="US/Eastern",
    trading_hours="20261123:0930-20261123:1600;20261124:0930-20261124:1600",
)


def last(age_s: float, quality: str = "LIVE") -> dict[str, str]:
    return {"ts_ns": str(NOON - int(age_s * NS_PER_S)), "quality": quality, "contract": "AAPL"}


def status(code: int, text: str = "what TWS says") -> DataStatus:
    return DataStatus(con_id=APPLE.con_id, code=code, text=text)


@pytest.mark.parametrize(
    "facts, state, words, cure",
    [
        (DataFacts(1, last(2)), "ok", "LIVE, last price 2 s ago", ""),
        (DataFacts(1, last(2, "FROZEN")), "ok", "FROZEN", ""),
        (DataFacts(1, last(2, "DELAYED")), "warn", "DATA_DELAYED", "subscription"),
        (DataFacts(1, last(2, "DELAYED"), APPLE, status(10167)), "warn", "DATA_DELAYED", "delayed data flow instead"),
        (DataFacts(1, last(2), APPLE, status(10090)), "ok", "LIVE", ""),
        (DataFacts(1, {}, APPLE, status(354)), "bad", "354: what TWS says", "subscribe"),
        (
            DataFacts(1, last(300), APPLE, status(10197)),
            "bad",
            "last price 5 min ago; the broker says 10197",
            "log out",
        ),
        (DataFacts(1, last(2), APPLE, status(10197)), "ok", "LIVE", ""),
        (DataFacts(1, {}, APPLE, status(9999)), "bad", "9999", "look the code up"),
        (DataFacts(1, {}, APPLE), "bad", "no price has come yet", "is the link READY?"),
        (DataFacts(1, {}), "bad", "no price has come yet", "is the link READY?"),
        (DataFacts(1, last(4 * 3600), APPLE), "warn", "last price 4 h ago", "newer prices"),
    ],
)
def test_what_flows_and_the_cure(facts: DataFacts, state: str, words: str, cure: str) -> None:
    found = data_finding(facts, NOON, [])
    assert found.state == state and words in found.text and cure in found.cure
    assert bool(found.cure) is (state != "ok")


def test_a_closed_market_needs_no_cure() -> None:
    found = data_finding(DataFacts(1, last(10 * 3600), APPLE), NOON - 8 * 3600 * NS_PER_S, [])
    assert found.state == "ok"
    found = data_finding(DataFacts(1, last(3600), APPLE), NOON + 8 * 3600 * NS_PER_S, [])
    assert found.state == "ok" and "market is closed now" in found.text


def test_a_data_farm_that_is_down_is_ibs_side() -> None:
    found = data_finding(DataFacts(1, last(300), APPLE), NOON, ["usfarm"])
    assert found.state == "warn" and "usfarm" in found.text and "IB's side" in found.cure


def test_a_contract_is_called_what_is_known_of_it() -> None:
    assert data_finding(DataFacts(7, {}), NOON, []).name == "data #7"
    assert data_finding(DataFacts(7, {"symbol": "X"}), NOON, []).name == "data X"
    assert data_finding(DataFacts(7, {}, APPLE), NOON, []).name == "data AAPL"


def test_the_codes_of_missing_data_have_a_cure() -> None:
    without = {300, 310, 316, 317, 10182, 10190}  # depth and requests that no subscription of ours makes
    assert {code for code, row in TABLE.items() if row.kind is CodeKind.DATA} - set(CURES) == without

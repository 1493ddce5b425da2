from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_quant.flex import read_flex, signed_sum
from shared.errors import BadInput
from shared.messages.orders import Side

ACCOUNT = "U1234567"
GOOD = {
    "accountId": ACCOUNT, "conid": "265598", "symbol": "AAPL", "ibExecID": "0000e1a7.5f3c.01.01", "buySell": "SELL",
    "quantity": "-40", "tradePrice": "101.25", "dateTime": "20261124;103000", "ibCommission": "-1.05",
    "ibCommissionCurrency": "USD", "orderReference": "cqabc", "levelOfDetail": "EXECUTION", "currency": "USD",
}  # fmt: skip


def report(*rows: dict[str, str], tag: str = "Trade", account: str = ACCOUNT) -> str:
    trades = "".join(f"<{tag} " + " ".join(f'{name}="{text}"' for name, text in row.items()) + "/>" for row in rows)
    return f'<FlexQueryResponse><FlexStatement accountId="{account}">{trades}</FlexStatement></FlexQueryResponse>'


@pytest.mark.parametrize("tag", ["Trade", "TradeConfirm"])
def test_an_execution_is_read_with_its_time_in_the_reports_zone(tag: str) -> None:
    (fill,) = read_flex(report(GOOD, GOOD, {**GOOD, "levelOfDetail": "ORDER", "ibExecID": ""}, tag=tag), ACCOUNT)
    assert (fill.exec_id, fill.con_id, fill.side, fill.quantity) == (GOOD["ibExecID"], 265598, Side.SELL, 40)
    assert (fill.price, fill.commission, fill.order_ref) == (Decimal("101.25"), Decimal("1.05"), "cqabc")
    assert fill.ts_ns == 1795534200 * 10**9  # 15:30 UTC
    assert signed_sum([fill, fill]) == -80
    (other,) = read_flex(report({**GOOD, "dateTime": "2026-11-24, 10:30:00"}), ACCOUNT, zone="UTC")
    assert fill.ts_ns - other.ts_ns == 5 * 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (report(GOOD, account="U7"), "account U7"),
        (report({**GOOD, "accountId": "U7"}), "account U7"),
        ("<FlexQueryResponse/>", "no account"),
        ("<html/>", "no Flex report"),
        ("<FlexQueryResponse>", "no XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><FlexQueryResponse/>', "entities"),
        (report({**GOOD, "ibExecID": ""}), "IB Execution ID"),
        (report({**GOOD, "buySell": "BUY (Ca.)"}), "busted"),
        (report({**GOOD, "quantity": "40"}), "a SELL of 40"),
        (report({**GOOD, "tradePrice": "much"}), GOOD["ibExecID"]),
        (report({**GOOD, "dateTime": "yesterday"}), "date and time"),
        (report(GOOD, {**GOOD, "tradePrice": "1"}), "not the same"),
    ],
)
def test_what_cannot_be_trusted_is_refused_whole(text: str, word: str) -> None:
    with pytest.raises(BadInput, match=word.replace(".", r"\.")):
        read_flex(text, ACCOUNT)


@given(st.text(max_size=300))
def test_whatever_the_file_holds_the_answer_is_rows_or_a_sentence(text: str) -> None:
    for each in (text, f"<FlexQueryResponse>{text}</FlexQueryResponse>", report({**GOOD, "symbol": "x"})):
        with contextlib.suppress(BadInput):
            assert len(read_flex(each, ACCOUNT)) <= 1

from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot_quant.flex import read_cash, read_flex, signed_sum
from shared.errors import BadInput
from shared.messages.account import JournalKind
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


CASH = {
    "accountId": ACCOUNT, "currency": "USD", "type": "Dividends", "amount": "12.50", "transactionID": "77",
    "dateTime": "20261124;202000", "description": "AAPL CASH DIVIDEND", "conid": "265598", "symbol": "AAPL",
    "levelOfDetail": "DETAIL",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "amount", "kind"),
    [
        ("Dividends", "12.50", JournalKind.DIVIDEND),
        ("Payment In Lieu Of Dividends", "3", JournalKind.DIVIDEND),
        ("Withholding Tax", "-1.88", JournalKind.TAX),
        ("Broker Interest Paid", "-4", JournalKind.INTEREST),
        ("Broker Interest Received", "4", JournalKind.INTEREST),
        ("Other Fees", "-10", JournalKind.FEE),
        ("Commission Adjustments", "1", JournalKind.FEE),
        ("Deposits/Withdrawals", "1000", JournalKind.DEPOSIT),
        ("Deposits &amp; Withdrawals", "-1000", JournalKind.WITHDRAWAL),
        ("Something New", "-1", JournalKind.DEBIT),
    ],
)
def test_a_row_of_cash_has_the_journals_word_for_its_kind(said: str, amount: str, kind: JournalKind) -> None:
    summary = {**CASH, "levelOfDetail": "SUMMARY", "transactionID": "", "amount": "99"}
    text = report({**CASH, "type": said, "amount": amount}, summary, tag="CashTransaction")
    (row,) = read_cash(text, ACCOUNT)
    assert (row.kind, row.amount, row.currency, row.day) == (kind, Decimal(amount), "USD", "20261124")
    assert row.cash_id == "77" and row.text.startswith(said.replace("&amp;", "&")) and not read_flex(text, ACCOUNT)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (report({**CASH, "accountId": "U7"}, tag="CashTransaction"), "account U7"),
        (report({**CASH, "transactionID": ""}, tag="CashTransaction"), "Transaction ID"),
        (report({**CASH, "currency": ""}, tag="CashTransaction"), "Currency"),
        (report({**CASH, "amount": "much"}, tag="CashTransaction"), "77"),
        (report({**CASH, "dateTime": "yesterday"}, tag="CashTransaction"), "77"),
        (report(CASH, {**CASH, "amount": "1"}, tag="CashTransaction"), "not the same"),
        (report({"accountId": ACCOUNT, "currency": "USD", "dividends": "5"}, tag="CashReportCurrency"), "only sums"),
    ],
)
def test_cash_that_cannot_be_trusted_is_refused_whole(text: str, word: str) -> None:
    with pytest.raises(BadInput, match=word):
        read_cash(text, ACCOUNT)

"""Read a Flex report of Interactive Brokers (XML): executions (`Trade` of a statement, `TradeConfirm`) and cash.

Invariants:
1. All or nothing: a report of another account, one without the broker's ids, or one that cannot be read gives no row.
2. A row is one execution, named by `ibExecID`, which is the execId of the API. Summaries by order or symbol are passed
   over where the report says what they are (`levelOfDetail`).
3. A row of cash is one `CashTransaction`, named by `transactionID`. A Cash Report has only sums over the report's time:
   beside transactions it says nothing new, alone it is refused.

Known limits: busted trades are not taken (a person accepts what they leave), nor are executions of before `MAX_AGE_S`.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TypeVar
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

from shared.clock import NS_PER_S
from shared.errors import BadInput
from shared.messages.account import JournalKind
from shared.messages.control import ImportedCash, ImportedFill
from shared.messages.orders import Side
from shared.money import decimal_of

R = TypeVar("R")
MAX_BYTES = 50_000_000
MAX_AGE_S = 7 * 24 * 3600
"""The bus knows for eight days which executions it has had; what is older could not be told from a repeat."""
ZONE = "America/New_York"
_ELEMENTS = ("Trade", "TradeConfirm")
_EXECUTION_LEVELS = ("", "EXECUTION")
_CASH_LEVELS = ("", "DETAIL")
_CASH_KINDS = {
    "withholding": JournalKind.TAX, "dividend": JournalKind.DIVIDEND, "interest": JournalKind.INTEREST,
    "fee": JournalKind.FEE, "commission": JournalKind.FEE,
}  # fmt: skip
"""A word of IB's `type` → ours: Withholding Tax, Payment In Lieu Of Dividends, Broker Interest Paid, Other Fees, …"""


def read_flex(text: str, account: str, *, zone: str = ZONE) -> list[ImportedFill]:
    """Return the executions of a report, oldest first, each once.

    Args:
        text: the report.
        account: the deployment's account; a report of any other is refused.
        zone: the time zone of the report's times.

    Raises:
        BadInput: not a Flex report, another account's, or a row that cannot be read; the sentence says which and why.
    """
    root = _report(text, account)
    found: dict[str, ImportedFill] = {}
    for element in root.iter():
        if element.tag in _ELEMENTS and element.get("levelOfDetail", "") in _EXECUTION_LEVELS:
            fill = _fill_of(element, ZoneInfo(zone))
            _put_once(found, fill.exec_id, fill, "execution")
    return sorted(found.values(), key=lambda fill: (fill.ts_ns, fill.exec_id))


def read_cash(text: str, account: str, *, zone: str = ZONE) -> list[ImportedCash]:
    """Return the cash rows of a report, oldest first, each once.

    Raises:
        BadInput: as `read_flex`; or the report has only sums of cash.
    """
    root = _report(text, account)
    found: dict[str, ImportedCash] = {}
    for element in root.iter("CashTransaction"):
        if element.get("levelOfDetail", "") in _CASH_LEVELS:
            row = _cash_of(element, ZoneInfo(zone))
            _put_once(found, row.cash_id, row, "cash transaction")
    if not found and not _has_trades(root) and next(root.iter("CashReportCurrency"), None) is not None:
        raise BadInput("the report has only sums of cash: add the section Cash Transactions, with Detail, to the query")
    return sorted(found.values(), key=lambda row: (row.ts_ns, row.cash_id))


def _put_once(found: dict[str, R], name: str, row: R, what: str) -> None:
    if found.setdefault(name, row) != row:
        raise BadInput(f"the report has {what} {name} twice, and not the same")


def _has_trades(root: ElementTree.Element) -> bool:
    return any(next(root.iter(tag), None) is not None for tag in _ELEMENTS)


def _report(text: str, account: str) -> ElementTree.Element:
    if len(text) > MAX_BYTES:
        raise BadInput(f"the report has more than {MAX_BYTES} characters: ask for fewer days")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadInput("the report defines entities: a Flex report never does")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - what makes it dangerous was refused above
    except ElementTree.ParseError as e:
        raise BadInput(f"the file is no XML: {e}") from e
    if root.tag != "FlexQueryResponse":
        raise BadInput(f"the file is no Flex report: it begins with <{root.tag}>, not <FlexQueryResponse>")
    _check_account(root, account)
    return root


def _check_account(root: ElementTree.Element, account: str) -> None:
    named = [element.get("accountId", "") for element in root.iter() if "accountId" in element.attrib]
    others = sorted({name for name in named if name != account})
    if others:
        raise BadInput(f"the report is of account {', '.join(others)}, this deployment trades {account}")
    if not named:
        raise BadInput("the report names no account: tick the field Account ID in the Flex query")


def _fill_of(element: ElementTree.Element, zone: ZoneInfo) -> ImportedFill:
    exec_id = element.get("ibExecID", "")
    where = exec_id or f"trade {element.get('tradeID', '?')}"
    if not exec_id:
        raise BadInput(f"{where} has no ibExecID: tick the field IB Execution ID in the Flex query")
    side = element.get("buySell", "")
    if side not in ("BUY", "SELL"):
        raise BadInput(f"{where}: {side!r} is no trade that can be imported (a busted one is accepted by a person)")
    try:
        con_id = int(element.get("conid", ""))
        quantity, price = decimal_of(element.get("quantity", "")), decimal_of(element.get("tradePrice", ""))
        commission = decimal_of(element.get("ibCommission") or "0")
        ts_ns = _time_of(element, zone)
    except ValueError as e:
        raise BadInput(f"{where}: {e}") from e
    if not quantity or (quantity > 0) != (side == "BUY"):
        raise BadInput(f"{where}: a {side} of {quantity}")
    return ImportedFill(
        exec_id=exec_id, con_id=con_id, contract=element.get("symbol", ""), side=Side(side), quantity=abs(quantity),
        price=price, ts_ns=ts_ns, order_ref=element.get("orderReference", ""), exchange=element.get("exchange", ""),
        currency=element.get("currency", "USD"), commission=-commission,
        commission_currency=element.get("ibCommissionCurrency", ""),
    )  # fmt: skip


def _cash_of(element: ElementTree.Element, zone: ZoneInfo) -> ImportedCash:
    cash_id, kind = element.get("transactionID", ""), element.get("type", "")
    where = f"cash transaction {cash_id}" if cash_id else f"a cash transaction of type {kind or '?'}"
    if not cash_id:
        raise BadInput(f"{where} has no transactionID: tick the field Transaction ID in the Flex query")
    try:
        amount, con_id = decimal_of(element.get("amount", "")), int(element.get("conid") or 0)
        day = re.sub(r"\D", "", element.get("dateTime") or element.get("reportDate") or "")
        moment = datetime.strptime(day[:8], "%Y%m%d").replace(tzinfo=zone)
    except ValueError as e:
        raise BadInput(f"{where}: {e}") from e
    if not element.get("currency"):
        raise BadInput(f"{where} has no currency: tick the field Currency in the Flex query")
    return ImportedCash(
        cash_id=cash_id, kind=_kind_of(kind, amount), amount=amount, currency=element.get("currency", ""), day=day[:8],
        ts_ns=int(moment.timestamp()) * NS_PER_S, text=f"{kind}: {element.get('description', '')}"[:200],
        con_id=con_id, contract=element.get("symbol", "")[:100],
    )  # fmt: skip


def _kind_of(kind: str, amount: Decimal) -> JournalKind:
    """Return the journal's word for IB's; one that is not known stays a credit or debit, with IB's word in its text."""
    name = kind.casefold()
    if "deposit" in name or "withdrawal" in name:
        return JournalKind.DEPOSIT if amount > 0 else JournalKind.WITHDRAWAL
    for word, known in _CASH_KINDS.items():
        if word in name:
            return known
    return JournalKind.CREDIT if amount > 0 else JournalKind.DEBIT


def _time_of(element: ElementTree.Element, zone: ZoneInfo) -> int:
    text = element.get("dateTime") or f"{element.get('tradeDate', '')};{element.get('tradeTime', '')}"
    digits = re.sub(r"\D", "", text)
    if len(digits) != 14:
        raise ValueError(f"{text!r} is no date and time: use yyyyMMdd;HHmmss in the Flex query")
    moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=zone)
    return int(moment.timestamp()) * NS_PER_S


def signed_sum(fills: list[ImportedFill]) -> Decimal:
    """Return what executions of one contract add up to."""
    return sum((fill.quantity * fill.side.sign for fill in fills), Decimal(0))

"""Describe the responses about the session, errors, order states, executions, accounts and positions.

Source: ib-facts A.5, A.6, B.5; ib_insync 0.9.86 and ibapi 10.51 decoder.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from shared.tws import versions
from shared.tws.contract import Contract11, Contract11Primary
from shared.tws.fields import (
    BOOL,
    INT,
    MAX_INT,
    OPT_FLOAT,
    TEXT,
    Bool,
    Float,
    Gate,
    Int,
    Many,
    MaxDecimal,
    MaxFloat,
    OptInt,
    Quantity,
    Shares,
    Text,
)
from shared.tws.layout import RESPONSES, Record, Response, message


# ------------------------------------------------------------------------------------------------ session
@message(RESPONSES, 4, version=2, version_until=versions.ERROR_TIME)
@dataclass(frozen=True, slots=True)
class ErrorMessage(Response):
    """An error, a warning or a notice; `id` is -1, or that of the request or order it is about."""

    id: Int
    code: Int
    text: Text
    advanced_order_reject_json: Annotated[str, TEXT, Gate(versions.ADVANCED_ORDER_REJECT)] = ""
    time_ms: Annotated[int, INT, Gate(versions.ERROR_TIME)] = 0
    """When it happened, in epoch milliseconds."""


@message(RESPONSES, 9, version=1)
@dataclass(frozen=True, slots=True)
class NextValidId(Response):
    """The lowest order id this client id may use."""

    order_id: Int


@message(RESPONSES, 15, version=1)
@dataclass(frozen=True, slots=True)
class ManagedAccounts(Response):
    """The login's accounts, comma separated."""

    accounts: Text


@message(RESPONSES, 49, version=1)
@dataclass(frozen=True, slots=True)
class CurrentTime(Response):
    """The server's time in epoch seconds."""

    time: Int


@message(RESPONSES, 109, since=versions.CURRENT_TIME_IN_MILLIS)
@dataclass(frozen=True, slots=True)
class CurrentTimeInMillis(Response):
    """The server's time in epoch milliseconds."""

    time_ms: Int


@message(RESPONSES, 107, since=versions.USER_INFO)
@dataclass(frozen=True, slots=True)
class UserInfo(Response):
    """The user's white branding id."""

    req_id: Int
    white_branding_id: Text = ""


@message(RESPONSES, 65, version=1)
@dataclass(frozen=True, slots=True)
class VerifyMessageApi(Response):
    """Go on with a verification."""

    api_data: Text


@message(RESPONSES, 66, version=1)
@dataclass(frozen=True, slots=True)
class VerifyCompleted(Response):
    """A verification has ended."""

    is_successful: Bool
    error_text: Text = ""


@message(RESPONSES, 67, version=1)
@dataclass(frozen=True, slots=True)
class DisplayGroupList(Response):
    """TWS' display groups."""

    req_id: Int
    groups: Text


@message(RESPONSES, 68, version=1)
@dataclass(frozen=True, slots=True)
class DisplayGroupUpdated(Response):
    """A display group's contract."""

    req_id: Int
    contract_info: Text


@message(RESPONSES, 69, version=1)
@dataclass(frozen=True, slots=True)
class VerifyAndAuthMessageApi(Response):
    """Go on with a verification with a key."""

    api_data: Text
    xyz_challenge: Text = ""


@message(RESPONSES, 70, version=1)
@dataclass(frozen=True, slots=True)
class VerifyAndAuthCompleted(Response):
    """A verification with a key has ended."""

    is_successful: Bool
    error_text: Text = ""


# ------------------------------------------------------------------------------------------------ orders
@message(RESPONSES, 3)
@dataclass(frozen=True, slots=True)
class OrderStatus(Response):
    """An order's state and fills. Carries no orderRef; may be repeated unchanged, and may be missing."""

    order_id: Int
    status: Text
    filled: Quantity
    remaining: Quantity
    avg_fill_price: Float = 0.0
    perm_id: Int = 0
    parent_id: Int = 0
    last_fill_price: Float = 0.0
    client_id: Int = 0
    why_held: Text = ""
    mkt_cap_price: Float = 0.0


@message(RESPONSES, 53, version=1)
@dataclass(frozen=True, slots=True)
class OpenOrderEnd(Response):
    """All open orders were sent."""


@message(RESPONSES, 100)
@dataclass(frozen=True, slots=True)
class OrderBound(Response):
    """A manual order has got an API order id."""

    perm_id: Int
    client_id: Int
    order_id: Int


@message(RESPONSES, 102)
@dataclass(frozen=True, slots=True)
class CompletedOrdersEnd(Response):
    """All completed orders were sent."""


@message(RESPONSES, 11)
@dataclass(frozen=True, slots=True)
class ExecDetails(Response):
    """An execution.

    `req_id` is -1 for a live one, the request's id in an answer. `order_id` is None for manual orders. `time` as
    "yyyymmdd hh:mm:ss Zone/Name" (2025) or "yyyymmdd  hh:mm:ss" (2023). side: BOT or SLD. A correction repeats all but
    the digits after the last period of `exec_id`.
    """

    req_id: Int
    order_id: Annotated[int | None, MAX_INT]
    contract: Contract11
    exec_id: Text
    time: Text
    account: Text
    exchange: Text
    side: Text
    shares: Quantity
    price: Float
    perm_id: Int
    client_id: Int
    liquidation: Int = 0
    cum_qty: Quantity = Decimal(0)
    avg_price: Float = 0.0
    order_ref: Text = ""
    ev_rule: Text = ""
    ev_multiplier: Annotated[float | None, OPT_FLOAT] = None
    model_code: Text = ""
    last_liquidity: Int = 0
    pending_price_revision: Annotated[bool, BOOL, Gate(versions.PENDING_PRICE_REVISION)] = False
    submitter: Annotated[str, TEXT, Gate(versions.SUBMITTER)] = ""


@message(RESPONSES, 55, version=1)
@dataclass(frozen=True, slots=True)
class ExecDetailsEnd(Response):
    """All executions were sent."""

    req_id: Int


@message(RESPONSES, 59, version=1)
@dataclass(frozen=True, slots=True)
class CommissionReport(Response):
    """The commission of an execution; joined by `exec_id`, sent after it, other messages may come between."""

    exec_id: Text
    commission: Quantity
    currency: Text
    realized_pnl: MaxDecimal = None
    yield_amount: MaxFloat = None
    yield_redemption_date: OptInt = None
    """yyyymmdd as a number."""


# ------------------------------------------------------------------------------------------------ account
@message(RESPONSES, 6, version=2)
@dataclass(frozen=True, slots=True)
class AccountValue(Response):
    """One value of the subscribed account."""

    key: Text
    value: Text
    currency: Text
    account: Text


@message(RESPONSES, 7, version=8)
@dataclass(frozen=True, slots=True)
class PortfolioValue(Response):
    """One position of the subscribed account, with its prices."""

    contract: Contract11Primary
    position: Quantity
    market_price: Float
    market_value: Float
    average_cost: Float
    unrealized_pnl: Float
    realized_pnl: Float
    account: Text


@message(RESPONSES, 8, version=1)
@dataclass(frozen=True, slots=True)
class AccountUpdateTime(Response):
    """When the account was last updated, as hh:mm."""

    time: Text


@message(RESPONSES, 54, version=1)
@dataclass(frozen=True, slots=True)
class AccountDownloadEnd(Response):
    """The account was sent once in full."""

    account: Text


@message(RESPONSES, 61, version=3)
@dataclass(frozen=True, slots=True)
class Position(Response):
    """One position; average cost includes commission and multiplier."""

    account: Text
    contract: Contract11
    position: Quantity
    avg_cost: Float


@message(RESPONSES, 62, version=1)
@dataclass(frozen=True, slots=True)
class PositionEnd(Response):
    """All positions were sent."""


@message(RESPONSES, 63, version=1)
@dataclass(frozen=True, slots=True)
class AccountSummary(Response):
    """One value of a summary."""

    req_id: Int
    account: Text
    tag: Text
    value: Text
    currency: Text


@message(RESPONSES, 64, version=1)
@dataclass(frozen=True, slots=True)
class AccountSummaryEnd(Response):
    """The summary was sent once in full."""

    req_id: Int


@message(RESPONSES, 71, version=1)
@dataclass(frozen=True, slots=True)
class PositionMulti(Response):
    """One position of an account and model."""

    req_id: Int
    account: Text
    contract: Contract11
    position: Quantity
    avg_cost: Float
    model_code: Text = ""


@message(RESPONSES, 72, version=1)
@dataclass(frozen=True, slots=True)
class PositionMultiEnd(Response):
    """All positions of an account and model were sent."""

    req_id: Int


@message(RESPONSES, 73, version=1)
@dataclass(frozen=True, slots=True)
class AccountUpdateMulti(Response):
    """One value of an account and model."""

    req_id: Int
    account: Text
    model_code: Text
    key: Text
    value: Text
    currency: Text


@message(RESPONSES, 74, version=1)
@dataclass(frozen=True, slots=True)
class AccountUpdateMultiEnd(Response):
    """All values of an account and model were sent."""

    req_id: Int


@message(RESPONSES, 94)
@dataclass(frozen=True, slots=True)
class PnL(Response):
    """An account's profit and loss; None is not known."""

    req_id: Int
    daily: MaxFloat = None
    unrealized: MaxFloat = None
    realized: MaxFloat = None


@message(RESPONSES, 95)
@dataclass(frozen=True, slots=True)
class PnLSingle(Response):
    """A position's profit and loss; None is not known."""

    req_id: Int
    position: Shares
    daily: MaxFloat = None
    unrealized: MaxFloat = None
    realized: MaxFloat = None
    value: MaxFloat = None


@message(RESPONSES, 16, version=1)
@dataclass(frozen=True, slots=True)
class ReceiveFA(Response):
    """An advisor's configuration."""

    fa_type: Int
    xml: Text


@message(RESPONSES, 103)
@dataclass(frozen=True, slots=True)
class ReplaceFAEnd(Response):
    """An advisor's configuration was replaced."""

    req_id: Int
    text: Text


@dataclass(frozen=True, slots=True)
class FamilyCode:
    """An account's family."""

    account: Text
    code: Text


@message(RESPONSES, 78)
@dataclass(frozen=True, slots=True)
class FamilyCodes(Response):
    """All accounts' families."""

    codes: Annotated[tuple[FamilyCode, ...], Many(Record(FamilyCode))]


@dataclass(frozen=True, slots=True)
class SoftDollarTier:
    """A soft dollar tier."""

    name: Text
    value: Text
    display_name: Text = ""


@message(RESPONSES, 77)
@dataclass(frozen=True, slots=True)
class SoftDollarTiers(Response):
    """All soft dollar tiers."""

    req_id: Int
    tiers: Annotated[tuple[SoftDollarTier, ...], Many(Record(SoftDollarTier))]

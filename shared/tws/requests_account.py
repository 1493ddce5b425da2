"""Describe the requests about the session, orders and accounts (all but placeOrder).

The classes carry IB's names. Fields that a server version does not have keep their defaults.

Source: ib-facts B.7; ib_insync 0.9.86 client.py, ibapi 10.51 client.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from shared.tws import versions
from shared.tws.contract import C11, TwsContract
from shared.tws.fields import (
    BOOL,
    INT,
    OPT_INT,
    TEXT,
    Bool,
    Gate,
    Int,
    Many,
    Quantity,
    Reader,
    Text,
    Wire,
    Writer,
)
from shared.tws.layout import REQUESTS, Request, message


# ------------------------------------------------------------------------------------------------ session
@message(REQUESTS, 71, version=2)
@dataclass(frozen=True, slots=True)
class StartApi(Request):
    """Name the client id; the first request of every session."""

    client_id: Int
    optional_capabilities: Text = ""


@message(REQUESTS, 8, version=1)
@dataclass(frozen=True, slots=True)
class ReqIds(Request):
    """Ask for the next valid order id; the number is ignored."""

    count: Int = 1


@message(REQUESTS, 14, version=1)
@dataclass(frozen=True, slots=True)
class SetServerLogLevel(Request):
    """Set TWS' log level, 1 to 5."""

    level: Int = 2


@message(REQUESTS, 17, version=1)
@dataclass(frozen=True, slots=True)
class ReqManagedAccounts(Request):
    """Ask for the account list."""


@message(REQUESTS, 49, version=1)
@dataclass(frozen=True, slots=True)
class ReqCurrentTime(Request):
    """Ask for the server's time."""


@message(REQUESTS, 105, since=versions.CURRENT_TIME_IN_MILLIS)
@dataclass(frozen=True, slots=True)
class ReqCurrentTimeInMillis(Request):
    """Ask for the server's time to the millisecond (from 197)."""


@message(REQUESTS, 65, version=1)
@dataclass(frozen=True, slots=True)
class VerifyRequest(Request):
    """Start a verification (rarely used)."""

    api_name: Text = ""
    api_version: Text = ""


@message(REQUESTS, 66, version=1)
@dataclass(frozen=True, slots=True)
class VerifyMessage(Request):
    """Go on with a verification (rarely used)."""

    api_data: Text = ""


@message(REQUESTS, 72, version=1)
@dataclass(frozen=True, slots=True)
class VerifyAndAuthRequest(Request):
    """Start a verification with a key (rarely used)."""

    api_name: Text = ""
    api_version: Text = ""
    opaque_isv_key: Text = ""


@message(REQUESTS, 73, version=1)
@dataclass(frozen=True, slots=True)
class VerifyAndAuthMessage(Request):
    """Go on with a verification with a key (rarely used)."""

    api_data: Text = ""
    xyz_response: Text = ""


@message(REQUESTS, 104, since=versions.USER_INFO)
@dataclass(frozen=True, slots=True)
class ReqUserInfo(Request):
    """Ask for the user's white branding id (from 167)."""

    req_id: Int


# ------------------------------------------------------------------------------------------------ orders
_OPERATOR = Annotated[str, TEXT, Gate(versions.CME_TAGGING)]
_INDICATOR = Annotated[int | None, OPT_INT, Gate(versions.CME_TAGGING)]


@message(REQUESTS, 4, version=1, version_until=versions.CME_TAGGING)
@dataclass(frozen=True, slots=True)
class CancelOrder(Request):
    """Cancel an order of this client id."""

    order_id: Int
    manual_cancel_order_time: Annotated[str, TEXT, Gate(versions.MANUAL_ORDER_TIME)] = ""
    ext_operator: _OPERATOR = ""
    manual_order_indicator: _INDICATOR = None


@message(REQUESTS, 58, version=1, version_until=versions.CME_TAGGING)
@dataclass(frozen=True, slots=True)
class ReqGlobalCancel(Request):
    """Cancel everything open on the login, of whatever origin."""

    ext_operator: _OPERATOR = ""
    manual_order_indicator: _INDICATOR = None


@message(REQUESTS, 5, version=1)
@dataclass(frozen=True, slots=True)
class ReqOpenOrders(Request):
    """Ask for this client id's open orders (client 0: also binds manual ones)."""


@message(REQUESTS, 15, version=1)
@dataclass(frozen=True, slots=True)
class ReqAutoOpenOrders(Request):
    """Bind future manual orders to client 0."""

    auto_bind: Bool


@message(REQUESTS, 16, version=1)
@dataclass(frozen=True, slots=True)
class ReqAllOpenOrders(Request):
    """Ask for all open orders of the accounts."""


@message(REQUESTS, 99)
@dataclass(frozen=True, slots=True)
class ReqCompletedOrders(Request):
    """Ask for today's filled, cancelled and rejected orders."""

    api_only: Bool


_DATES: Wire[tuple[int, ...]] = Many(INT)


@message(REQUESTS, 7, version=3)
@dataclass(frozen=True, slots=True)
class ReqExecutions(Request):
    """Ask for executions; an empty filter field lets everything pass, client id 0 too.

    From 200 the request may ask for several days: `last_n_days`, or `specific_dates` as yyyymmdd. There the official
    client sends the literal version field, others do not; which it is follows from the count of the dates.
    """

    req_id: int
    client_id: int = 0
    account: str = ""
    time: str = ""
    symbol: str = ""
    sec_type: str = ""
    exchange: str = ""
    side: str = ""
    last_n_days: int | None = None
    specific_dates: tuple[int, ...] = ()

    def write_fields(self, out: Writer) -> None:
        """Append the fields."""
        INT.write(out, self.req_id)
        INT.write(out, self.client_id)
        for text in (self.account, self.time, self.symbol, self.sec_type, self.exchange, self.side):
            TEXT.write(out, text)
        if out.version >= versions.EXECUTION_DATES:
            OPT_INT.write(out, self.last_n_days)
            _DATES.write(out, self.specific_dates)

    @classmethod
    def read_fields(cls, src: Reader) -> ReqExecutions:
        """Take the fields."""
        has_dates = src.version >= versions.EXECUTION_DATES
        if has_dates and src.peek(9) != str(src.remaining - 10):  # the count is not there: no version field came first
            src.untake()
        req_id, client_id = INT.read(src), INT.read(src)
        account, time, symbol, sec_type, exchange, side = (TEXT.read(src) for _ in range(6))
        days, dates = (OPT_INT.read(src), _DATES.read(src)) if has_dates else (None, ())
        return cls(req_id, client_id, account, time, symbol, sec_type, exchange, side, days, dates)


@message(REQUESTS, 21, version=2)
@dataclass(frozen=True, slots=True)
class ExerciseOptions(Request):
    """Exercise (action 1) or lapse (2) an option position."""

    req_id: Int
    contract: Annotated[TwsContract, C11]
    action: Int = 1
    quantity: Quantity = Decimal(1)
    account: Text = ""
    override: Int = 0
    manual_order_time: Annotated[str, TEXT, Gate(versions.MANUAL_EXERCISE_TIME)] = ""
    customer_account: Annotated[str, TEXT, Gate(versions.CUSTOMER_ACCOUNT)] = ""
    professional_customer: Annotated[bool, BOOL, Gate(versions.PROFESSIONAL_CUSTOMER)] = False


# ------------------------------------------------------------------------------------------------ account
@message(REQUESTS, 6, version=2)
@dataclass(frozen=True, slots=True)
class ReqAccountUpdates(Request):
    """Subscribe to or leave the updates of one account."""

    subscribe: Bool
    account: Text = ""


@message(REQUESTS, 61, version=1)
@dataclass(frozen=True, slots=True)
class ReqPositions(Request):
    """Subscribe to the positions of all accounts."""


@message(REQUESTS, 64, version=1)
@dataclass(frozen=True, slots=True)
class CancelPositions(Request):
    """Leave the positions."""


@message(REQUESTS, 62, version=1)
@dataclass(frozen=True, slots=True)
class ReqAccountSummary(Request):
    """Subscribe to a summary; tags are comma separated."""

    req_id: Int
    group: Text = "All"
    tags: Text = ""


@message(REQUESTS, 63, version=1)
@dataclass(frozen=True, slots=True)
class CancelAccountSummary(Request):
    """Leave a summary."""

    req_id: Int


@message(REQUESTS, 74, version=1)
@dataclass(frozen=True, slots=True)
class ReqPositionsMulti(Request):
    """Subscribe to the positions of one account and model."""

    req_id: Int
    account: Text = ""
    model_code: Text = ""


@message(REQUESTS, 75, version=1)
@dataclass(frozen=True, slots=True)
class CancelPositionsMulti(Request):
    """Leave the positions of one account and model."""

    req_id: Int


@message(REQUESTS, 76, version=1)
@dataclass(frozen=True, slots=True)
class ReqAccountUpdatesMulti(Request):
    """Subscribe to the values of one account and model."""

    req_id: Int
    account: Text = ""
    model_code: Text = ""
    ledger_and_nlv: Bool = False


@message(REQUESTS, 77, version=1)
@dataclass(frozen=True, slots=True)
class CancelAccountUpdatesMulti(Request):
    """Leave the values of one account and model."""

    req_id: Int


@message(REQUESTS, 92)
@dataclass(frozen=True, slots=True)
class ReqPnL(Request):
    """Subscribe to an account's profit and loss."""

    req_id: Int
    account: Text = ""
    model_code: Text = ""


@message(REQUESTS, 93)
@dataclass(frozen=True, slots=True)
class CancelPnL(Request):
    """Leave an account's profit and loss."""

    req_id: Int


@message(REQUESTS, 94)
@dataclass(frozen=True, slots=True)
class ReqPnLSingle(Request):
    """Subscribe to one position's profit and loss."""

    req_id: Int
    account: Text = ""
    model_code: Text = ""
    con_id: Int = 0


@message(REQUESTS, 95)
@dataclass(frozen=True, slots=True)
class CancelPnLSingle(Request):
    """Leave one position's profit and loss."""

    req_id: Int


@message(REQUESTS, 18, version=1)
@dataclass(frozen=True, slots=True)
class RequestFA(Request):
    """Ask for an advisor's groups (1), profiles (2) or aliases (3)."""

    fa_type: Int


@message(REQUESTS, 19, version=1)
@dataclass(frozen=True, slots=True)
class ReplaceFA(Request):
    """Replace an advisor's configuration."""

    fa_type: Int
    xml: Text
    req_id: Int


@message(REQUESTS, 80)
@dataclass(frozen=True, slots=True)
class ReqFamilyCodes(Request):
    """Ask for the family codes."""


@message(REQUESTS, 79)
@dataclass(frozen=True, slots=True)
class ReqSoftDollarTiers(Request):
    """Ask for the soft dollar tiers."""

    req_id: Int

"""Queries to the gateway leader and their answers (`queries` / `answers:<client>`)."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from shared.messages.base import Message, Part, register
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderLeg


class Query(Message):
    """Base of queries: `client` names the answer stream; an answer comes before `deadline_ns` (wall time) or never."""

    query_id: str = Field(min_length=1)
    client: str = Field(min_length=1)
    deadline_ns: int = Field(gt=0)

    def envelope_key(self) -> str:
        """Return the asking client."""
        return self.client

    def envelope_id(self) -> str:
        """Return the query's id."""
        return self.query_id


@register
class ContractQuery(Query):
    """Resolve a name of the contract grammar; with `search` set, list what matches a pattern instead."""

    TYPE: ClassVar[str] = "contract_query"

    name: str
    search: bool = False


@register
class HistoryQuery(Query):
    """Historical bars of one contract in IB's own words for duration, bar size and what to show.

    `end_ns` 0 means now. `use_rth` limits to regular hours.
    """

    TYPE: ClassVar[str] = "history_query"

    con_id: int = Field(gt=0)
    end_ns: int = 0
    duration: str
    bar_size: str
    what_to_show: str = "TRADES"
    use_rth: bool = True


@register
class WhatIfQuery(Query):
    """What one order would cost: margin and commission, by the broker's own reckoning. Nothing is placed."""

    TYPE: ClassVar[str] = "what_if_query"

    con_id: int = Field(gt=0)
    order: OrderLeg


class Answer(Message):
    """Base of answers; `error` empty means success. A query that failed is never an empty answer."""

    query_id: str
    error: str = ""
    code: str = ""

    def envelope_id(self) -> str:
        """Return the query's id."""
        return self.query_id


@register
class ContractAnswer(Answer):
    """The contracts found; more than one for a resolve is an error that lists the candidates."""

    TYPE: ClassVar[str] = "contract_answer"

    contracts: tuple[ContractInfo, ...] = ()
    candidates: tuple[str, ...] = ()


class HistoryBar(Part):
    """One historical bar; `ts_ns` is its opening time, wall ns UTC; a daily bar carries midnight UTC of its date."""

    ts_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)
    vwap: Decimal | None = None
    count: int = 0


@register
class HistoryAnswer(Answer):
    """Historical bars, oldest first."""

    TYPE: ClassVar[str] = "history_answer"

    con_id: int
    bars: tuple[HistoryBar, ...] = ()


@register
class WhatIfAnswer(Answer):
    """Margin before and after an order, in the account's base currency, and its commission; None: the broker says none.

    `warning` is the broker's own text. It was true when it was asked, no longer.
    """

    TYPE: ClassVar[str] = "what_if_answer"

    con_id: int
    status: str = ""
    init_margin_before: Decimal | None = None
    init_margin_after: Decimal | None = None
    maint_margin_before: Decimal | None = None
    maint_margin_after: Decimal | None = None
    equity_with_loan_before: Decimal | None = None
    equity_with_loan_after: Decimal | None = None
    commission: Decimal | None = None
    min_commission: Decimal | None = None
    max_commission: Decimal | None = None
    commission_currency: str = ""
    warning: str = ""

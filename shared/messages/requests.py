"""Queries to the gateway leader and their answers (`queries` / `answers:<client>`)."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from shared.messages.base import Message, Part, register
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderLeg

NO_DATA = "NO_DATA"
"""Code of an answer: the broker says that there are no bars, as opposed to a request that failed."""


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


@register
class BarsQuery(Query):
    """Historical bars by way of marketdata's cache (`history-queries`), the span either as `start_ns` or as `count`.

    `end_ns` 0 means now. With `closed_only` the bar that still grows is left out. `use_rth` limits to regular hours.
    """

    TYPE: ClassVar[str] = "bars_query"

    con_id: int = Field(gt=0)
    bar_size: str
    start_ns: int = Field(default=0, ge=0)
    end_ns: int = Field(default=0, ge=0)
    count: int = Field(default=0, ge=0)
    closed_only: bool = False
    what_to_show: str = "TRADES"
    use_rth: bool = True


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


@register
class BarsAnswer(Answer):
    """One piece of the bars that answer a `BarsQuery`: `bars[0]` is number `first` of `total`, oldest first.

    `series` is the same in all pieces of one answering: after a change of marketdata's leader a query may be answered
    twice, and pieces of two series must not be mixed.
    """

    TYPE: ClassVar[str] = "bars_answer"

    con_id: int
    bar_size: str = ""
    series: str = ""
    first: int = 0
    total: int = 0
    bars: tuple[HistoryBar, ...] = ()


class BarsPieces:
    """Puts the pieces of one answer together."""

    def __init__(self) -> None:
        self._pieces: dict[str, dict[int, BarsAnswer]] = {}

    def add(self, piece: BarsAnswer) -> list[HistoryBar] | None:
        """Take a piece of an answer without error; return all bars once none is missing."""
        pieces = self._pieces.setdefault(piece.series, {})
        pieces[piece.first] = piece
        bars = [bar for first in sorted(pieces) for bar in pieces[first].bars]
        return bars if len(bars) == piece.total else None

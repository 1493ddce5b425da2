"""Lay the events of all symbols out in one order of time, and keep what the last of each were.

Rows are tuples `(at_ns, ts_ns, index, is_quote, a, b, c, d)`; `index` counts the symbols. They are made a piece at a
time out of columns, so that a day of ticks is no list of a million objects.

Invariants:
1. Rows come in the order of `at_ns`; of the same moment the symbol named first goes first, and a symbol's own rows keep
   their order.
2. A book is brought up to the last rows before anything looks at it; size that an order took stays taken until the next
   quote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from copilot_quant.backtest.ticks import Ticks
from services.simulator.core.book import Book
from services.simulator.core.market import Quote, Trade
from services.simulator.core.replay import quote_of_trade

PIECE = 100_000
Row = tuple[int, int, int, bool, float, float, float, float]


def rows_of(ticks: Sequence[Ticks]) -> Iterator[list[Row]]:
    """Yield the rows of all symbols, merged by time, in pieces."""
    columns: list[Any] = [np.concatenate(parts) for parts in zip(*(each.columns() for each in ticks), strict=True)]
    index = np.concatenate([np.full(len(each), number) for number, each in enumerate(ticks)])
    order = np.argsort(columns[0], kind="stable")
    at_ns, ts_ns, *rest = columns
    for first in range(0, len(order), PIECE):
        piece = order[first : first + PIECE]
        lists = [column[piece].tolist() for column in (at_ns, ts_ns, index, *rest)]
        yield list(zip(*lists, strict=True))


class Prices:
    """The last quote and trade of each symbol, and the exchange's books behind them.

    Args:
        books: by index.
        ticks: price step by index, for symbols without quotes; 0 for those that have some.
    """

    def __init__(self, books: Sequence[Book], ticks: Sequence[float]) -> None:
        self.quotes: list[Row | None] = [None] * len(books)
        self.trades: list[Row | None] = [None] * len(books)
        self._books = list(books)
        self._ticks = list(ticks)
        self._seen: list[tuple[Row | None, Row | None]] = [(None, None)] * len(books)

    def sync(self) -> None:
        """Bring every book up to the last rows."""
        for index, book in enumerate(self._books):
            quote, trade = self.quotes[index], self.trades[index]
            seen = self._seen[index]
            if seen[0] is quote and seen[1] is trade:
                continue
            if trade is not None and seen[1] is not trade:
                book.last, book.last_size, book.last_ns = trade[4], trade[5], trade[0]
                if self._ticks[index]:
                    event = Trade(book.con_id, trade[0], trade[4], trade[5])
                    book.on_quote(quote_of_trade(event, self._ticks[index]))
            if quote is not None and seen[0] is not quote:
                book.on_quote(_quote(book.con_id, quote))
            self._seen[index] = (quote, trade)

    def met(self, index: int) -> None:
        """Note that a book has had the last rows already."""
        self._seen[index] = (self.quotes[index], self.trades[index])

    def events(self, index: int, row: Row) -> list[Quote | Trade]:
        """Return a row as the exchange takes it: a trade of a symbol without quotes brings one along."""
        con_id = self._books[index].con_id
        if row[3]:
            return [_quote(con_id, row)]
        trade = Trade(con_id, row[0], row[4], row[5])
        return [quote_of_trade(trade, self._ticks[index]), trade] if self._ticks[index] else [trade]


def _quote(con_id: int, row: Row) -> Quote:
    """Return a quote as the exchange takes it: a side without a price, NaN to strategies, is 0 there."""
    bid, ask = row[4], row[6]
    has_bid, has_ask = bid > 0, ask > 0
    return Quote(
        con_id, row[0], bid if has_bid else 0.0, row[5] if has_bid else 0.0, ask if has_ask else 0.0,
        row[7] if has_ask else 0.0,
    )  # fmt: skip

"""Prices: the middle, else the last trade, else one side; nothing is not zero."""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.quotes import Quote
from shared.messages.market import DataQuality, TickKind

NAN = float("nan")


def test_mark_is_mid_then_last_then_a_side() -> None:
    quote = Quote()
    assert quote.mark is None
    quote.apply(TickKind.QUOTE, 1, 5, NAN, 10.2)
    assert quote.mark == Decimal("10.2")
    quote.apply(TickKind.TRADE, 1, 6, 10.1, 0.0)
    assert quote.mark == Decimal("10.1")
    quote.apply(TickKind.QUOTE, 1, 7, 10.0, 10.5)
    assert quote.mark == Decimal("10.25")
    quote.apply(TickKind.QUOTE, 1, 3, -1.0, -1.0)
    assert quote.mark == Decimal("10.1") and quote.ts_ns == 3, "a clock that was set back: the newest word counts"


def test_markers_change_nothing_and_quality_is_known() -> None:
    quote = Quote()
    quote.apply(TickKind.MARKER, 3, 9, 1.0, 1.0)
    assert (quote.ts_ns, quote.price) == (0, 0.0)
    quote.apply(TickKind.QUOTE, DataQuality.DELAYED_FROZEN, 9, 1.0, 1.0)
    assert quote.is_delayed and quote.is_frozen

"""Note what should not happen: errors, executions that cannot be right, liquidations; what breakers trip on.

Invariants:
1. Only what was written after `since_ns` is judged: a book that is rebuilt reads history, whose prices are gone and
   whose trips a person may have ended.
2. A price is compared only with a quote of the same moment, and never for an execution that was found afterwards.
3. Nothing here grows without bound, and nothing forgets by itself but the windows in time; a person's resume does.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from services.risk.core.legs import Leg
from services.risk.core.quotes import Quote
from shared.messages.orders import Fill, OrderState
from shared.money import ZERO

SAME_MOMENT_NS = 5_000_000_000
SECOND_NS = 1_000_000_000
KEEP = 1000
ERRORS = (OrderState.REJECTED, OrderState.UNKNOWN, OrderState.NOT_SENT)


class Oddities:
    """What was seen since `since_ns` and since the last resume of the account."""

    __slots__ = (
        "_executions", "away_percent", "away_text", "errors", "executions_peak", "liquidated", "since_ns", "strange",
        "unprotected",
    )  # fmt: skip

    def __init__(self) -> None:
        self.since_ns = 0
        self.unprotected: dict[tuple[str, int], int] = {}
        """Strategy and conId of a position without all its stops → since when."""
        self._executions: deque[int] = deque(maxlen=KEEP)
        self.errors: deque[int] = deque(maxlen=KEEP)
        """When an order was rejected by the broker, not sent or in doubt, or an entry could not be read."""
        self.resume()

    def resume(self, strategy: str = "") -> None:
        """Take a person's word: what was seen till now counts no more, of a strategy or ("") of the account."""
        self.unprotected = {key: at_ns for key, at_ns in self.unprotected.items() if strategy not in ("", key[0])}
        if strategy:
            return
        self.errors.clear()
        self._executions.clear()
        self.away_percent = ZERO
        self.away_text = ""
        """The execution farthest from the market."""
        self.strange = ""
        """The first execution of an order that risk knows nothing of, or beyond its order."""
        self.executions_peak = 0
        """The most executions within a second."""
        self.liquidated = ""
        """The first execution by which the broker closed something for want of margin."""

    def erred(self, now_ns: int) -> None:
        """Count an error."""
        if now_ns >= self.since_ns:
            self.errors.append(now_ns)

    def errors_within(self, window_ns: int, now_ns: int) -> int:
        """Return how many errors there were in a window up to now."""
        return sum(1 for at_ns in self.errors if at_ns > now_ns - window_ns)

    def executed(self, fill: Fill, leg: Leg, quote: Quote, now_ns: int, *, is_known: bool) -> None:
        """Judge an execution that was counted just now.

        Args:
            fill: the execution.
            leg: its order, the execution counted.
            quote: of its contract.
            now_ns: when it was written to the stream.
            is_known: whether its order was known before.
        """
        if now_ns < self.since_ns:
            return
        name = f"execution {fill.exec_id} of {fill.quantity} {fill.contract or fill.con_id} at {fill.price}"
        if fill.is_liquidation and not self.liquidated:
            self.liquidated = name
        if fill.intent_id and leg.quantity and leg.executed > leg.quantity:
            self.strange = self.strange or f"{name} goes beyond its order of {leg.quantity}"
        if fill.is_late or fill.origin:
            return
        if fill.intent_id and not is_known:
            self.strange = self.strange or f"{name} belongs to an order that risk never approved ({fill.intent_id})"
        self._executions.append(now_ns)
        while self._executions[0] <= now_ns - SECOND_NS:
            self._executions.popleft()
        self.executions_peak = max(self.executions_peak, len(self._executions))
        mark = quote.mark
        if mark and abs(now_ns - quote.ts_ns) <= SAME_MOMENT_NS:
            away = abs(fill.price - mark) * 100 / mark
            if away > self.away_percent:
                self.away_percent, self.away_text = Decimal(away), f"{name}, the market was at {mark}"

"""Buy what fell below its recent mean, sell what rose above it, go flat in between.

Trades on quotes. The position never leaves -`quantity` … +`quantity`, there is one working order a contract at most,
and at least `pause_s` seconds lie between two orders of a contract.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, Field

from services.strategy.api import EmaDeviation, Gap, OrderUpdate, Quote, Strategy, Timer


class MeanReversion(Strategy):
    """Trade the distance of the mid price from its moving mean, in standard deviations."""

    class Params(BaseModel):
        """What the TOML file may set."""

        quantity: int = Field(default=10, ge=1)
        period: int = Field(default=40, ge=5)
        enter: float = Field(default=1.2, gt=0)
        leave: float = Field(default=0.2, ge=0)
        pause_s: float = Field(default=2.0, ge=0.2)
        order_life_s: float = Field(default=4.0, ge=1)

    class State(BaseModel):
        """What is saved: the mean of each contract, when it was last ordered, and what works."""

        means: dict[int, EmaDeviation] = {}
        ordered_ns: dict[int, int] = {}
        working: str = ""

    params: Params
    state: State

    def on_quote(self, quote: Quote) -> None:
        """Compare the mid with its mean and set the target."""
        mid = quote.mid
        if not math.isfinite(mid) or mid <= 0:
            return
        con_id = quote.contract.con_id
        mean = self.state.means.setdefault(con_id, EmaDeviation(period=self.params.period))
        score = mean.add(mid)
        if score is None or self.state.working or self._is_resting(con_id):
            return
        target = self._target(score, int(self.position(quote.contract)))
        price = quote.ask if target > self.position(quote.contract) else quote.bid
        order = self.target_position(quote.contract, target, limit=price, reason=f"score {score:.2f}")
        if order is not None:
            self.state.working = order
            self.state.ordered_ns[con_id] = self.now_ns
            self.set_timer("cancel", self.params.order_life_s, every_s=self.params.order_life_s)

    def _is_resting(self, con_id: int) -> bool:
        return self.now_ns - self.state.ordered_ns.get(con_id, 0) < self.params.pause_s * 1e9

    def _target(self, score: float, position: int) -> int:
        if score <= -self.params.enter:
            return self.params.quantity
        if score >= self.params.enter:
            return -self.params.quantity
        return 0 if abs(score) <= self.params.leave else position

    def on_order(self, update: OrderUpdate) -> None:
        """Be free for the next order once this one has ended."""
        if update.is_final and update.intent_id == self.state.working:
            self.state.working = ""
            self.cancel_timer("cancel")

    def on_timer(self, _: Timer) -> None:
        """Cancel an order that found nobody."""
        if self.state.working:
            self.cancel(self.state.working, reason=f"did not fill within {self.params.order_life_s:g} s")

    def on_gap(self, gap: Gap) -> None:
        """Start the means anew: what was missed may have moved the market."""
        if gap.blocks:
            self.state.means.clear()
            self.accept_gap()

"""Buy a new high of the last bars with a bracket, and let the stop follow the price up.

Looks back on minute bars, which are loaded before the start, so that it can trade from the first bar on. The exits rest
at the broker and cancel each other there, whatever happens to this strategy.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from services.strategy.api import Bar, OrderType, OrderUpdate, Side, Strategy


class Breakout(Strategy):
    """Enter above the channel of the last bars, one position at a time."""

    class Params(BaseModel):
        """What the TOML file may set."""

        quantity: int = Field(default=10, ge=1)
        channel: int = Field(default=30, ge=2, description="bars that a new high is compared with")
        risk: float = Field(default=0.5, gt=0, description="stop below the entry, in heights of the channel")
        reward: float = Field(default=1.0, gt=0, description="profit above the entry, in heights of the channel")

    class State(BaseModel):
        """What is saved: the bracket under way and how far below the price its stop follows."""

        bracket: str = ""
        distance: float = 0.0

    params: Params
    state: State

    @classmethod
    def history_needs(cls, params: Params) -> Mapping[str, int]:
        """Look back on the channel and the bar that may leave it."""
        return {"1 min": params.channel + 1}

    def on_bar(self, bar: Bar) -> None:
        """Enter on a close above the channel; while in, follow with the stop."""
        if self.state.bracket:
            self._follow(bar)
            return
        before = self.history_bars(bar.contract, "1 min")[:-1]
        if len(before) < self.params.channel or bar.is_revised:
            return
        high, low = max(one.high for one in before), min(one.low for one in before)
        if bar.close <= high or high <= low:
            return
        height = high - low
        bracket = self.bracket(
            bar.contract,
            Side.BUY,
            self.params.quantity,
            take_profit=bar.close + self.params.reward * height,
            stop_loss=bar.close - self.params.risk * height,
            reason=f"{bar.close:g} is above {high:g}",
        )
        if bracket is not None:
            self.state.bracket, self.state.distance = bracket, self.params.risk * height

    def _follow(self, bar: Bar) -> None:
        for order in self.working_orders(bar.contract):
            if order.intent_id == self.state.bracket and order.order_type is OrderType.STOP and order.stop_price:
                wanted = bar.close - self.state.distance
                if wanted > float(order.stop_price):
                    self.modify(order, stop=wanted, reason="follows the price")

    def on_order(self, update: OrderUpdate) -> None:
        """Be free for the next entry once nothing of the bracket works any more."""
        working = [order for order in self.working_orders() if order.intent_id == self.state.bracket]
        if update.intent_id == self.state.bracket and not working:
            self.state.bracket = ""

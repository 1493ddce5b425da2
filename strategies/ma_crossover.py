"""Be long while the fast average of closes is above the slow one, short (or flat) while it is below.

Trades on bars, with market orders. The position never leaves -`quantity` … +`quantity`: each order is the difference
to the target, counting what still works.
"""

from __future__ import annotations

from pydantic import BaseModel, Field, model_validator

from services.strategy.api import Bar, Gap, Sma, Strategy


class Averages(BaseModel):
    """The two averages of one contract."""

    fast: Sma
    slow: Sma


class MaCrossover(Strategy):
    """Follow the crossing of two simple moving averages."""

    class Params(BaseModel):
        """What the TOML file may set."""

        quantity: int = Field(default=10, ge=1)
        fast: int = Field(default=3, ge=1)
        slow: int = Field(default=8, ge=2)
        may_short: bool = True

        @model_validator(mode="after")
        def _fast_is_faster(self) -> MaCrossover.Params:
            if self.fast >= self.slow:
                raise ValueError(f"fast ({self.fast}) must be below slow ({self.slow})")
            return self

    class State(BaseModel):
        """What is saved: the averages of each contract."""

        averages: dict[int, Averages] = {}

    params: Params
    state: State

    def on_bar(self, bar: Bar) -> None:
        """Take a close, and follow the averages."""
        if bar.is_revised or bar.close <= 0:
            return
        both = self.state.averages.setdefault(
            bar.contract.con_id, Averages(fast=Sma(period=self.params.fast), slow=Sma(period=self.params.slow))
        )
        fast, slow = both.fast.add(bar.close), both.slow.add(bar.close)
        if fast is None or slow is None or fast == slow:
            return
        short = -self.params.quantity if self.params.may_short else 0
        target = self.params.quantity if fast > slow else short
        self.target_position(bar.contract, target, reason=f"fast {fast:.3f} slow {slow:.3f}")

    def on_gap(self, gap: Gap) -> None:
        """Start the averages anew: missed bars would distort them."""
        if gap.blocks:
            self.state.averages.clear()
            self.accept_gap()

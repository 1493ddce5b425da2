"""Trade the distance between two contracts that usually move together: long the one that fell behind, short the other.

One unit for both contracts: `per = "all"` in the TOML file, and exactly two contracts.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, Field

from services.strategy.api import EmaDeviation, Gap, Quote, Strategy


class Pairs(Strategy):
    """Mean reversion of the logarithm of the ratio of two mid prices."""

    class Params(BaseModel):
        """What the TOML file may set."""

        notional: float = Field(default=2000.0, gt=0, description="money on each side, in the contracts' currency")
        period: int = Field(default=200, ge=10)
        enter: float = Field(default=2.0, gt=0)
        leave: float = Field(default=0.5, ge=0)

    class State(BaseModel):
        """What is saved: the last mids, the mean of the ratio, and which way the pair is held."""

        mids: dict[int, float] = {}
        ratio: EmaDeviation | None = None
        side: int = 0

    params: Params
    state: State

    def on_start(self) -> None:
        """Insist on two contracts."""
        if len(self.contracts) != 2:
            raise ValueError(f'a pair is two contracts in one unit (per = "all"), not {len(self.contracts)}')

    def on_quote(self, quote: Quote) -> None:
        """Compare the ratio with its mean."""
        if not math.isfinite(quote.mid) or quote.mid <= 0:
            return
        self.state.mids[quote.contract.con_id] = quote.mid
        first, second = self.contracts
        mids = self.state.mids.get(first.con_id), self.state.mids.get(second.con_id)
        if mids[0] is None or mids[1] is None:
            return
        if self.state.ratio is None:
            self.state.ratio = EmaDeviation(period=self.params.period)
        score = self.state.ratio.add(math.log(mids[0] / mids[1]))
        side = self._side(score) if score is not None else 0
        if side == self.state.side:
            return
        self.state.side = side
        for contract, mid, sign in ((first, mids[0], side), (second, mids[1], -side)):
            self.target_position(contract, sign * int(self.params.notional / mid), reason=f"score {score:.2f}")

    def _side(self, score: float) -> int:
        if score >= self.params.enter:
            return -1
        if score <= -self.params.enter:
            return 1
        return 0 if abs(score) <= self.params.leave else self.state.side

    def on_gap(self, gap: Gap) -> None:
        """Start the mean anew: the ratio may have moved unseen."""
        if gap.blocks:
            self.state.ratio = None
            self.state.mids.clear()
            self.accept_gap()

"""Hold contracts at fixed weights of a sum of money, and trade back when one has drifted too far.

One unit for all contracts: `per = "all"` in the TOML file. Weights are by contract name; what is left is cash.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, Field, model_validator

from services.strategy.api import Quote, Strategy, Timer


class Rebalancer(Strategy):
    """Look every `every_s` seconds, trade what is off by more than `drift` of its target."""

    class Params(BaseModel):
        """What the TOML file may set."""

        capital: float = Field(default=20_000.0, gt=0, description="money to spread, in the contracts' currency")
        weights: dict[str, float] = Field(default={}, description="contract name to share; empty: equal shares")
        drift: float = Field(default=0.05, gt=0, lt=1)
        every_s: float = Field(default=60.0, ge=1)

        @model_validator(mode="after")
        def _at_most_all(self) -> Rebalancer.Params:
            if sum(self.weights.values()) > 1 + 1e-9 or any(share < 0 for share in self.weights.values()):
                raise ValueError("weights are shares of 0 to 1 that add up to at most 1")
            return self

    class State(BaseModel):
        """What is saved: the last mid of each contract."""

        mids: dict[int, float] = {}

    params: Params
    state: State

    def on_start(self) -> None:
        """Find the contracts that the weights name, and begin to look."""
        for name in self.params.weights:
            self.contract(name)
        self.set_timer("look", self.params.every_s, every_s=self.params.every_s)

    def on_quote(self, quote: Quote) -> None:
        """Remember the price."""
        if math.isfinite(quote.mid) and quote.mid > 0:
            self.state.mids[quote.contract.con_id] = quote.mid

    def on_timer(self, _: Timer) -> None:
        """Order the differences once every price is known; sales first, their money pays for the rest."""
        if len(self.state.mids) < len(self.contracts):
            return
        named = {self.contract(name).con_id: share for name, share in self.params.weights.items()}
        orders = []
        for contract in self.contracts:
            share = named.get(contract.con_id, 0.0) if named else 1 / len(self.contracts)
            target = int(self.params.capital * share / self.state.mids[contract.con_id])
            missing = target - int(self.expected_position(contract))
            if abs(missing) > self.params.drift * max(target, 1):
                orders.append((missing, contract, target, share))
        for missing, contract, target, share in sorted(orders, key=lambda row: row[0]):
            self.target_position(contract, target, reason=f"{missing:+d} to {share:.0%}")

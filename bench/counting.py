"""The strategy of the workers' bench: it counts quotes that are numbered by their bid, and what did not follow."""

from __future__ import annotations

from pydantic import BaseModel

from services.strategy.api import Quote, Strategy


class Counting(Strategy):
    """Counts."""

    class State(BaseModel):
        """How many quotes came, and how many of them were not the next one."""

        seen: int = 0
        wrong: int = 0

    state: State

    def on_quote(self, quote: Quote) -> None:
        """Count."""
        state = self.state
        state.seen += 1
        if int(quote.bid) != state.seen:
            state.wrong += 1

"""The strategy of the drills of workers and stalls: it counts and sums what it is told and says so in its orders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from services.strategy.api import FillEvent, Quote, Strategy
from tests.chaos.chain import fill_link, quote_link


class Witness(Strategy):
    """One order for every so many quotes, by turns a buy and a sale of one share."""

    class Params(BaseModel):
        """How many quotes from order to order."""

        every: int = 20

    class State(BaseModel):
        """How many quotes and fills there were, and their checksums."""

        quotes: int = 0
        quote_sum: int = 0
        fills: int = 0
        fill_sum: int = 0

    params: Params
    state: State

    def on_quote(self, quote: Quote) -> None:
        """Count, and order at every so manieth quote whatever the market is."""
        state = self.state
        state.quotes += 1
        state.quote_sum = quote_link(state.quote_sum, quote.ts_ns, quote.bid, quote.bid_size, quote.ask, quote.ask_size)
        if state.quotes % self.params.every:
            return
        account = f"{state.quotes}:{state.quote_sum}:{state.fills}:{state.fill_sum}"
        order = self.buy if self.expected_position(quote.contract) <= 0 else self.sell
        order(quote.contract, 1, valid_for_s=3600, reason=account)  # so long, that no order is left out as stale

    def on_fill(self, fill: FillEvent) -> None:
        """Count."""
        self.state.fills += 1
        self.state.fill_sum = fill_link(self.state.fill_sum, fill.exec_id)


def witness_file(folder: Path, symbols: Sequence[str], every: int) -> Path:
    """Write a strategies file with a witness of these contracts, an order for every so many quotes; return its path."""
    file = folder / "strategies.toml"
    names = ", ".join(f'"{symbol}"' for symbol in symbols)
    (folder / "witness.py").write_text("from tests.chaos.witness import Witness as Witness\n")
    file.write_text(
        f'[strategy.witness]\nfile = "witness.py"\nclass = "Witness"\ncontracts = [{names}]\n'
        f"params = {{ every = {every} }}\n"
    )
    return file

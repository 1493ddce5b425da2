"""Test strategies without any service: feed events, look at what leaves.

```python
from copilot_quant.testing import StrategyTest, stock

def test_it_buys_three_falling_bars():
    test = StrategyTest(Dip, [stock("AAPL")], quantity=5)
    for close in (10.0, 9.0, 8.0):
        test.bar("AAPL", close=close, open=close + 0.5)
    (order,) = test.orders
    assert (order.legs[0].side, order.legs[0].quantity) == ("BUY", 5)
    test.fill(order)
    assert test.position("AAPL") == 5
```

The unit is the real one: prices round, a paused unit sends nothing, an error takes back what its handler asked for. An
error in a handler fails the test, unless it is expected (`raises=True`). Time is what the test says; timers fire on
the way.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.strategy.api import Strategy
from services.strategy.core.events import Bar, Gap, Quote, Trade
from services.strategy.core.history import ClosedBar, checked_needs
from services.strategy.core.ordering import Identity
from services.strategy.core.saved import Commit, Limits
from services.strategy.core.sessions import SessionPlan, SessionRules
from services.strategy.core.unit import Unit
from shared.clock import NS_PER_S
from shared.errors import BadInput, InvariantBroken
from shared.messages.market import ContractInfo
from shared.messages.orders import CancelRequest, Decision, Fill, Intent, IntentAction, OrderEvent, OrderState, Side

START_NS = 1_700_000_000 * NS_PER_S
SECONDS = {"1s": 1, "5s": 5, "1m": 60, "1d": 86_400}
UNREAD = "1-1"
"""The entry id that fed events carry as the cause of orders."""


def stock(symbol: str, *, con_id: int = 0, **more: Any) -> ContractInfo:
    """Return a stock in dollars with a tick of a cent; any field of `ContractInfo` may be given."""
    content = {"name": symbol, "symbol": symbol, "sec_type": "STK", "exchange": "SMART", "currency": "USD", **more}
    return ContractInfo.model_validate({"con_id": con_id or zlib.crc32(symbol.encode()), **content})


class StrategyTest:
    """One unit of a strategy and the rest of the system as the test plays it.

    Args:
        strategy: the class.
        contracts: what the unit trades; see `stock`.
        history: contract name → bar size → closed bars before the start, for strategies with `history_needs`.
        rules: session, last entry and flat by, as the TOML file would have them.
        params: the strategy's parameters by name.
    """

    def __init__(
        self,
        strategy: type[Strategy],
        contracts: Sequence[ContractInfo],
        *,
        history: Mapping[str, Mapping[str, Iterable[ClosedBar]]] | None = None,
        rules: SessionRules | None = None,
        start_ns: int = START_NS,
        **params: Any,
    ) -> None:
        values = strategy.Params.model_validate(params)
        self.strategy = strategy(values)
        self.now_ns = start_ns
        by_id = {info.con_id: info for info in contracts}
        plans = {} if rules is None else {info.con_id: SessionPlan(rules, info) for info in contracts}
        needs = checked_needs(strategy.history_needs(values))
        identity = Identity("test", "DUTEST", "test", "test/unit")
        self.unit = Unit(identity, self.strategy, by_id, Limits(), history_needs=needs, sessions=plans)
        self.strategy.bind(self.unit)
        self._history = {
            name: {size: list(bars) for size, bars in sizes.items()} for name, sizes in (history or {}).items()
        }
        self._known_errors = 0
        self._saved: Commit | None = None
        self._past = b""
        self.orders: list[Intent] = []
        """Every intent that left, changes included, oldest first."""
        self.cancels: list[CancelRequest] = []
        self._executions = 0
        self._filled: dict[tuple[str, int], Decimal] = {}
        self._start()

    def _start(self) -> None:
        for name, sizes in self._history.items():
            for size, bars in sizes.items():
                self.unit.history.load(self.strategy.contract(name).con_id, size, bars)
        self.unit.history.begin(self.now_ns)
        self.unit.start(self.now_ns, self.now_ns)
        self._after(raises=False)
        self._save(force=True)

    # -- time and the market

    def wait(self, seconds: float) -> None:
        """Let time go by; timers fire at their time."""
        end_ns = self.now_ns + int(seconds * NS_PER_S)
        while True:
            due = min((at for at, _ in self.unit.timers.due.values()), default=end_ns + 1)
            self.now_ns = min(max(due, self.now_ns), end_ns)
            self.unit.tick(self.now_ns)
            self._after(raises=False)
            if due > end_ns:
                return

    def quote(self, contract: str, bid: float, ask: float, *, size: float = 100.0, raises: bool = False) -> None:
        """Feed a quote."""
        info = self.strategy.contract(contract)
        self.unit.quote(Quote(info, bid, size, ask, size, self.now_ns, 1), self.now_ns, self.now_ns, UNREAD)
        self._after(raises=raises)

    def trade(self, contract: str, price: float, size: float = 100.0, *, raises: bool = False) -> None:
        """Feed a trade of the market."""
        info = self.strategy.contract(contract)
        self.unit.trade(Trade(info, price, size, self.now_ns, 1), self.now_ns, self.now_ns, UNREAD)
        self._after(raises=raises)

    def bar(
        self,
        contract: str,
        close: float,
        *,
        open: float | None = None,
        high: float | None = None,
        low: float | None = None,
        volume: float = 100.0,
        interval: str = "1m",
        raises: bool = False,
    ) -> None:
        """Let a bar go by and feed it at its end; what is not given equals the close."""
        length_ns = SECONDS[interval] * NS_PER_S
        self.wait(SECONDS[interval])
        first = close if open is None else open
        top = max(first, close) if high is None else high
        bottom = min(first, close) if low is None else low
        info = self.strategy.contract(contract)
        bar = Bar(info, interval, self.now_ns - length_ns, self.now_ns, first, top, bottom, close, volume)
        bar.hours = "rth" if interval == "1d" else "all"
        self.unit.bar(bar, self.now_ns, self.now_ns, UNREAD)
        self._after(raises=raises)

    def gap(self, *, blocks: bool = True) -> None:
        """Tell the strategy that entries were missed."""
        self.unit.gap(Gap("ticks", "1-0", "2-0", blocks), self.now_ns, self.now_ns)
        self._after(raises=False)

    # -- risk and the broker

    def reject(self, order: Intent, code: str = "RISK_TEST", text: str = "the test said no") -> None:
        """Be risk and say no."""
        decision = Decision(
            intent_id=order.intent_id,
            approved=False,
            code=code,
            text=text,
            con_id=order.con_id,
            strategy=order.strategy,
        )
        self.unit.decision(decision, self.now_ns, self.now_ns, UNREAD)
        self._after(raises=False)

    def tell(self, order: Intent, state: OrderState, *, leg: int = 0) -> None:
        """Be the broker and show an order in a state; of a change say `OrderState.MODIFIED` or `REJECTED`."""
        index = 0 if order.action is IntentAction.MODIFY else leg
        terms = order.legs[index]
        filled = self._filled.get((order.intent_id, terms.leg), Decimal(0))
        event = OrderEvent(
            intent_id=order.intent_id, leg=terms.leg, state=state, strategy=order.strategy, account=order.account,
            con_id=order.con_id, side=terms.side, quantity=terms.quantity, order_type=terms.order_type,
            limit_price=terms.limit_price, stop_price=terms.stop_price, parent_leg=terms.parent_leg, group=order.group,
            filled=filled, remaining=terms.quantity - filled, by="broker", ts_event_ns=self.now_ns,
        )  # fmt: skip
        self.unit.order_event(event, self.now_ns, self.now_ns, UNREAD)
        self._after(raises=False)

    def fill(
        self, order: Intent, *, price: float = 100.0, quantity: float | None = None, leg: int = 0
    ) -> None:  # fmt: skip
        """Be the broker and fill a leg, whole or in part; a whole one ends."""
        terms = order.legs[leg]
        key = (order.intent_id, terms.leg)
        before = self._filled.get(key, Decimal(0))
        amount = terms.quantity - before if quantity is None else Decimal(str(quantity))
        if amount <= 0 or before + amount > terms.quantity:
            raise BadInput(f"{before} of {terms.quantity} are filled: {amount} more is no fill")
        self._filled[key] = before + amount
        self._executions += 1
        fill = Fill(
            exec_id=f"test{self._executions}.01", exec_stem=f"test{self._executions}", intent_id=order.intent_id,
            leg=terms.leg, strategy=order.strategy, account=order.account, con_id=order.con_id, side=Side(terms.side),
            quantity=amount, price=Decimal(str(price)), ts_event_ns=self.now_ns,
        )  # fmt: skip
        self.unit.fill(fill, self.now_ns, self.now_ns, UNREAD)
        self._after(raises=False)
        is_whole = self._filled[key] == terms.quantity
        self.tell(order, OrderState.FILLED if is_whole else OrderState.WORKING, leg=leg)

    # -- looking

    def position(self, contract: str) -> Decimal:
        """Return the unit's filled position."""
        return self.strategy.position(contract)

    @property
    def errors(self) -> list[str]:
        """Return the errors of handlers so far, with file and line."""
        return [str(error) for error in self.unit.recent_errors]

    def move(self) -> None:
        """Let another worker take over: the strategy is made anew from what was saved, its history from `history`."""
        self._save(force=True)
        commit = self._saved
        if commit is None:
            raise InvariantBroken("a unit that has started was never saved")
        old = self.unit
        self.strategy = type(self.strategy)(self.strategy.params)
        self.unit = Unit(
            old.identity,
            self.strategy,
            old.contracts,
            old.limits,
            history_needs=old.history_needs,
            sessions=old.sessions,
        )
        self.strategy.bind(self.unit)
        self.unit.restore(
            commit=commit.number, state=commit.state, timers=commit.timers, cursors=commit.cursors, past=self._past
        )
        self._start()

    def _after(self, *, raises: bool) -> None:
        """Take what left; an error that was not expected fails the test, and one that was must have come."""
        errors = self.unit.saved.errors
        known, self._known_errors = self._known_errors, errors
        if errors > known and not raises:
            raise AssertionError(self.errors[-1])
        if raises and errors == known:
            raise AssertionError("the handler was expected to raise and did not")
        self._save()

    def _save(self, *, force: bool = False) -> None:
        commit = self.unit.commit(self.now_ns, force=force)
        if commit is None:
            return
        self._saved = commit
        self._past = self._past if commit.past is None else commit.past
        seen = {order.intent_id for order in self.orders}
        self.orders += [order for order in commit.intents if order.intent_id not in seen]
        self.cancels += commit.cancels
        self.unit.committed(self.now_ns)

"""What authors of strategies use: one class, typed events, orders as methods.

```python
class Dip(Strategy):
    class Params(BaseModel):
        quantity: int = 10

    class State(BaseModel):
        last: float = 0.0

    def on_quote(self, quote: Quote) -> None:
        if quote.ask < self.state.last * 0.999:
            self.target_position(quote.contract, self.params.quantity, limit=quote.ask)
        self.state.last = quote.mid
```

The rules: no waiting and no threads in a handler; what must survive goes into `self.state`; time is `self.now`.
Orders leave when the handler has returned, together with the state. A handler that raises sends nothing.
Contracts are given as an event's `contract`, as a name (`"AAPL"`), or as a conId.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from services.strategy.core.book import OrderRow
from services.strategy.core.events import Bar, Event, FillEvent, Gap, OrderUpdate, Quote, Timer, Trade
from services.strategy.core.history import ClosedBar, frame_of
from services.strategy.core.indicators import Ema, EmaDeviation, Sma, StDev
from services.strategy.core.ordering import Number, Order, Ticket, quantity_of, signed_order
from services.strategy.core.unit import Unit
from shared.bar_sizes import parse_bar_size
from shared.contracts import parse_contract
from shared.errors import InvariantBroken, UnknownContract
from shared.messages.market import ContractInfo
from shared.messages.orders import OrderState, OrderType, Side

__all__ = [
    "Bar",
    "ClosedBar",
    "ContractInfo",
    "Ema",
    "EmaDeviation",
    "Event",
    "FillEvent",
    "Gap",
    "Order",
    "OrderState",
    "OrderType",
    "OrderUpdate",
    "Quote",
    "Side",
    "Sma",
    "StDev",
    "Strategy",
    "Timer",
    "Trade",
]

ContractLike = ContractInfo | str | int
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Nothing(BaseModel):
    """Nothing to remember."""


class Strategy:
    """Base of every strategy; each unit has an instance of its own.

    `Params` is a pydantic model; `self.params` comes from the TOML file and does not change. `State` is a pydantic
    model whose fields have defaults, or `dict` (then `self.state` holds what JSON can: text, numbers, lists, dicts with
    text keys). `self.state` is saved with each commit and is there again after a crash or a move.
    """

    class Params(BaseModel):
        """No parameters."""

    State: type[Any] = Nothing

    params: Any
    state: Any

    @classmethod
    def history_needs(cls, params: Any) -> Mapping[str, int]:
        """Return bar size → how many closed bars `self.history` must give; loaded before `on_start`.

        Sizes are those of the bar streams ("1 secs", "5 secs", "1 min", "1 day"), which keep the history up to date.
        Daily bars are of regular hours, the others of all hours.
        """
        del params  # for those that override it
        return {}

    def __init__(self, params: BaseModel) -> None:
        self.params = params
        self.state = self.State()
        self._unit: Unit | None = None

    # -- what authors override

    def on_start(self) -> None:
        """Begin, and begin again after each move; `self.is_resumed` tells which."""

    def on_quote(self, quote: Quote) -> None:
        """Take a quote."""

    def on_trade(self, trade: Trade) -> None:
        """Take a trade of the market."""

    def on_bar(self, bar: Bar) -> None:
        """Take a closed bar of an interval that the TOML file asks for."""

    def on_order(self, update: OrderUpdate) -> None:
        """Take a transition of an order of ours."""

    def on_fill(self, fill: FillEvent) -> None:
        """Take an execution of ours."""

    def on_timer(self, timer: Timer) -> None:
        """Take a timer that is due."""

    def on_gap(self, gap: Gap) -> None:
        """Learn that entries were missed; where `gap.blocks`, nothing is traded until `self.accept_gap()`."""

    def on_stop(self) -> None:
        """End on this worker; another may go on."""

    # -- what authors may ask

    @property
    def unit(self) -> Unit:
        """Return the unit that runs this instance."""
        if self._unit is None:
            raise InvariantBroken("a strategy was used before its unit started: orders belong into the handlers")
        return self._unit

    def bind(self, unit: Unit) -> None:
        """Join the strategy to its unit (the platform does this)."""
        self._unit = unit

    @property
    def now_ns(self) -> int:
        """Return the time of the event, wall nanoseconds UTC."""
        return self.unit.outbox.moment.now_ns

    @property
    def now(self) -> datetime:
        """Return the time of the event in UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.now_ns // 1000)

    @property
    def is_resumed(self) -> bool:
        """Return whether the unit ran before, here or elsewhere."""
        return self.unit.saved.is_started

    @property
    def contracts(self) -> list[ContractInfo]:
        """Return the contracts of this unit, in the order of the TOML file."""
        return list(self.unit.contracts.values())

    def contract(self, contract: ContractLike) -> ContractInfo:
        """Return the definition of one of this unit's contracts.

        Raises:
            UnknownContract: the unit does not trade it.
        """
        if isinstance(contract, ContractInfo):
            return contract
        if isinstance(contract, int):
            found = self.unit.contracts.get(contract)
        else:
            name = str(parse_contract(contract))
            matches = [info for info in self.contracts if name in (info.name, info.symbol, f"#{info.con_id}")]
            found = matches[0] if matches else None
        if found is None:
            raise UnknownContract(
                f"{contract!r} is no contract of {self.unit.identity.unit}: it has "
                f"{', '.join(info.name for info in self.contracts)}"
            )
        return found

    def position(self, contract: ContractLike) -> Decimal:
        """Return this unit's filled position: signed shares or contracts."""
        return self.unit.position(self.contract(contract).con_id)

    def expected_position(self, contract: ContractLike) -> Decimal:
        """Return filled plus working plus unknown (resting stops and bracket exits not counted)."""
        return self.unit.book.expected(self.contract(contract).con_id)

    def working_orders(self, contract: ContractLike | None = None) -> list[OrderRow]:
        """Return the orders that may still fill, oldest first."""
        return self.unit.book.open_orders(None if contract is None else self.contract(contract).con_id)

    def history(self, contract: ContractLike, bar_size: str = "1 day", count: int | None = None) -> Any:
        """Return the last closed bars as a pandas DataFrame: open, high, low, close, volume, vwap by time (UTC).

        `attrs["hours"]` says what they cover: "rth" (daily bars) or "all". Nothing is asked for here: the bars were
        loaded before the start, as `history_needs` says, and carried on by the bars of the stream. So at the same event
        the same bars come again, also after a crash.

        Args:
            contract: event's contract, name or conId.
            bar_size: one that `history_needs` names.
            count: at most so many; default all that `history_needs` names. There may be fewer.

        Raises:
            BadInput: more than `history_needs` names, or pandas is not installed.
        """
        return frame_of(self.history_bars(contract, bar_size, count), parse_bar_size(bar_size))

    def history_bars(
        self, contract: ContractLike, bar_size: str = "1 day", count: int | None = None
    ) -> list[ClosedBar]:  # fmt: skip
        """Return the same bars as `history` without pandas, oldest first."""
        wanted = self.unit.history.needs.get(parse_bar_size(bar_size), 1) if count is None else count
        return self.unit.history.last(self.contract(contract).con_id, bar_size, wanted)

    # -- what authors may do

    def buy(self, contract: ContractLike, quantity: Number, **order: Any) -> str | None:
        """Buy; see `order` for the keyword arguments."""
        return self.order(contract, Side.BUY, quantity, **order)

    def sell(self, contract: ContractLike, quantity: Number, **order: Any) -> str | None:
        """Sell; see `order` for the keyword arguments."""
        return self.order(contract, Side.SELL, quantity, **order)

    def order(
        self,
        contract: ContractLike,
        side: Side,
        quantity: Number,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        tif: str = "",
        outside_rth: bool = False,
        valid_for_s: float | None = None,
        reason: str = "",
        rounding: str = "passive",
    ) -> str | None:
        """Order; return the intent's id, None when nothing is sent (paused, gap, session, event out of date).

        Args:
            contract: event's contract, name or conId.
            side: BUY or SELL.
            quantity: positive shares or contracts.
            limit: limit price; rounded to the tick as `rounding` says.
            stop: trigger price; with `limit` a stop limit order.
            tif: DAY, GTC, IOC or FOK; default DAY, for stops GTC.
            outside_rth: may fill outside regular hours.
            valid_for_s: not sent to the broker later than this after the event; default 5 s for market orders, else 30.
            reason: shown beside the order.
            rounding: "passive" (default: limits of buys down and of sells up, stops to where they trigger later),
                "aggressive", "nearest", or "exact": a price between two ticks is a mistake.

        Raises:
            BadInput: a quantity or price that cannot be an order.
        """
        info = self.contract(contract)
        if self.unit.refuses(info.con_id, side, quantity_of(quantity)):
            return None
        ticket = Ticket(
            info, side, quantity, limit=limit, stop=stop, tif=tif, outside_rth=outside_rth, valid_for_s=valid_for_s,
            reason=reason, rounding=rounding,
        )  # fmt: skip
        return self.unit.outbox.place(ticket)

    def bracket(
        self,
        contract: ContractLike,
        side: Side,
        quantity: Number,
        *,
        limit: Number | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        valid_for_s: float | None = None,
        reason: str = "",
        rounding: str = "passive",
    ) -> str | None:
        """Order with its exits, which rest at the broker and cancel each other; return the intent's id or None."""
        info = self.contract(contract)
        if self.unit.refuses(info.con_id, side, quantity_of(quantity)):
            return None
        ticket = Ticket(
            info, side, quantity, limit=limit, valid_for_s=valid_for_s, reason=reason, take_profit=take_profit,
            stop_loss=stop_loss, rounding=rounding,
        )  # fmt: skip
        return self.unit.outbox.place(ticket)

    def one_cancels_all(
        self, contract: ContractLike, *orders: Order, valid_for_s: float | None = None, reason: str = ""
    ) -> str | None:
        """Place orders of one contract of which the first to fill cancels the others; return the intent's id or None.

        They cancel each other at the broker, in an OCA group of IB, also while nothing of ours runs. `on_order` calls
        them legs 0, 1, 2 … of the intent.

        Raises:
            BadInput: fewer than two, or one that cannot be an order.
        """
        info = self.contract(contract)
        if any(self.unit.refuses(info.con_id, order.side, quantity_of(order.quantity)) for order in orders):
            return None
        return self.unit.outbox.place_alternatives(info, orders, valid_for_s, reason)

    def modify(
        self,
        order: OrderRow | OrderUpdate | str,
        leg: int = 0,
        *,
        limit: Number | None = None,
        stop: Number | None = None,
        quantity: Number | None = None,
        valid_for_s: float | None = None,
        reason: str = "",
        rounding: str = "passive",
    ) -> str | None:
        """Change prices or quantity of a working order; what is not named stays as it is.

        The change has an intent of its own: its id is returned, and `on_order` tells under that id whether the broker
        took it (`modified`) or who refused it; the order itself works on either way. None when nothing is sent: the
        unit is paused, the terms are those the order has, or another change of the order is not answered yet.

        Args:
            order: one of `working_orders()`, an `on_order` update, or the id that placing it returned.
            leg: which leg, where an id is given.
            limit: new limit price; rounded to the tick as `rounding` says, like `order`'s.
            stop: new trigger price.
            quantity: new total quantity, what has filled included.
            valid_for_s: the change is not sent later than this after the event.
            reason: shown beside the change.
            rounding: as in `order`.

        Raises:
            BadInput: the order is unknown or has ended, or it would become another type of order.
        """
        if self.unit.why_not_trading:
            return None
        row = (
            self.unit.book.order(order, leg)
            if isinstance(order, str)
            else self.unit.book.order(order.intent_id, order.leg)
        )
        ticket = Ticket(
            self.contract(row.con_id),
            row.side,
            row.quantity if quantity is None else quantity,
            limit=row.limit_price if limit is None else limit,
            stop=row.stop_price if stop is None else stop,
            valid_for_s=valid_for_s,
            reason=reason,
            rounding=rounding,
        )
        return self.unit.outbox.modify(row, ticket)

    def target_position(self, contract: ContractLike, target: Number, **order: Any) -> str | None:
        """Order what is missing from filled plus working plus unknown to `target` (signed); None if nothing is."""
        info = self.contract(contract)
        missing = signed_order(Decimal(str(target)) - self.unit.book.expected(info.con_id))
        return None if missing is None else self.order(info, missing[0], missing[1], **order)

    def close(self, contract: ContractLike, **order: Any) -> str | None:
        """Cancel what still works in a contract, its exits too, and order the position back to zero."""
        info = self.contract(contract)
        self.cancel_all(info)
        missing = signed_order(-self.unit.position(info.con_id))
        return None if missing is None else self.order(info, missing[0], missing[1], **order)

    def cancel(self, intent_id: str, leg: int | None = None, *, reason: str = "") -> None:
        """Ask for the cancel of an order (all legs without `leg`); always possible, `on_order` tells the outcome."""
        self.unit.outbox.cancel(intent_id, leg, reason)

    def cancel_all(self, contract: ContractLike | None = None) -> None:
        """Cancel every order of this unit that may still fill."""
        for intent_id in dict.fromkeys(row.intent_id for row in self.working_orders(contract) if row.intent_id):
            self.cancel(intent_id)

    def set_timer(self, name: str, after_s: float, *, every_s: float = 0.0) -> None:
        """Call `on_timer` once after `after_s` seconds, then every `every_s` if given; the name replaces its like."""
        self.unit.set_timer(name, after_s, every_s=every_s)

    def cancel_timer(self, name: str) -> None:
        """Forget a timer."""
        self.unit.cancel_timer(name)

    def accept_gap(self) -> None:
        """Trade again although entries were missed."""
        self.unit.accept_gap()

"""The guide's `IBKRBroker`: account, positions and orders through the running system, so through risk (P1).

```python
broker = IBKRBroker(paper_trading=True)
if broker.connect():
    print(broker.execute_order(symbol="AAPL", quantity=10, order_type="market", side="buy"))
```

1. An order's answer is a dict whose `status` is a state of docs/glossary.md; who refused is in `by` (risk or broker).
2. An order that got no answer in time is `unanswered`: it may still happen, so look (`get_open_orders`), never repeat.
3. `connect` answers True or False and `last_error` says why; every other method needs it and raises otherwise.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from copilot_quant.access import Joined, open_access
from copilot_quant.background import BACKGROUND
from copilot_quant.brokers.rows import balance_of, fill_row, order_row, position_row, receipt, ticket_of
from copilot_quant.desk import Desk, OrderResult, OrderTicket
from copilot_quant.frames import frame
from copilot_quant.front_settings import sentence
from services.strategy.core.ordering import Number
from shared.clock import NS_PER_S, SYSTEM_CLOCK
from shared.errors import BusUnavailable, CqError, DecodeError
from shared.ids import MANUAL
from shared.messages import decode_fields
from shared.messages.market import ContractInfo
from shared.messages.orders import Fill, OrderEvent

log = logging.getLogger("copilot_quant.broker")
ORDER_LIMIT_S = 20.0
LOOK_LIMIT_S = 10.0
POSITION_LIMIT_S = 3.0


class IBKRBroker(Joined):
    """One account through the system; with no system running, `connect` starts one and says so.

    Args:
        paper_trading: paper account; False: the live one, which also needs `CQ_MODE=live`.
    """

    def __init__(self, paper_trading: bool = True) -> None:  # noqa: FBT001, FBT002 - the guide's signature
        self.paper_trading = paper_trading
        super().__init__()
        self._watching: concurrent.futures.Future[None] | None = None
        self._order_callbacks: list[Callable[[dict[str, Any]], object]] = []
        self._fill_callbacks: list[Callable[[dict[str, Any]], object]] = []

    # -- connection

    def connect(self) -> bool:
        """Find the system of this directory, or start one; say whether it worked."""
        try:
            self._access = open_access(paper_trading=self.paper_trading, is_ordering=True)
        except (CqError, OSError) as e:
            self.last_error = sentence(e)
            log.error("not connected: %s", self.last_error)  # noqa: TRY400 - a sentence, no traceback
            return False
        self.last_error = ""
        self._watch_if_wanted()
        return True

    def disconnect(self) -> None:
        """Let go of the system; working orders stay, and a system started here runs until this process ends."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
        self._access = None

    # -- account

    def get_account_balance(self) -> dict[str, float]:
        """Return the account's numbers in its base currency: NetLiquidation, TotalCashValue, BuyingPower and more."""
        values = self.access.run(self.access.desk.account_values(), limit_s=LOOK_LIMIT_S)
        return balance_of(values)

    def get_positions(self) -> list[dict[str, Any]]:
        """Return a dict per position: symbol, position (signed), avg_cost, market_price, P&L, contract, con_id."""
        reports = self.access.run(self.access.desk.positions(), limit_s=LOOK_LIMIT_S)
        return [position_row(report) for report in reports if report.position]

    def get_open_orders(self) -> list[dict[str, Any]]:
        """Return a dict per order that may still fill."""
        return [order_row(event) for event in self.access.run(self.access.desk.open_orders(), limit_s=LOOK_LIMIT_S)]

    def get_fills(self) -> list[dict[str, Any]]:
        """Return a dict per execution that the system still keeps, oldest first."""
        return [fill_row(fill) for fill in self.access.run(self.access.desk.fills(), limit_s=LOOK_LIMIT_S)]

    def positions_frame(self) -> Any:
        """Return the positions as a pandas DataFrame."""
        return frame(self.get_positions(), ["symbol", "position", "avg_cost"])

    def orders_frame(self) -> Any:
        """Return the open orders as a pandas DataFrame."""
        return frame(self.get_open_orders(), ["order_id", "symbol", "side", "quantity", "order_type", "status"])

    def fills_frame(self) -> Any:
        """Return the executions as a pandas DataFrame."""
        return frame(self.get_fills(), ["time", "symbol", "side", "quantity", "price", "order_id"])

    # -- orders

    def execute_order(
        self,
        symbol: str,
        quantity: Number,
        order_type: str = "market",
        side: str = "buy",
        *,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        tif: str = "DAY",
        outside_rth: bool = False,
        strategy: str = MANUAL,
        reason: str = "",
    ) -> dict[str, Any]:
        """Order and return what the broker or risk said: order_id, status, filled, avg_fill_price, by, code, message.

        A market order is waited for until it ended (at most 15 s), any other until the broker has it. Refusals are
        answers, no exceptions: `status` is `rejected` and `message` says why.

        Args:
            symbol: AAPL, SAP@IBIS:EUR, FX:EUR.USD …
            quantity: positive.
            order_type: market, limit, stop, stop_limit or bracket.
            side: buy or sell.
            limit_price: for limit, stop_limit, and a bracket's entry.
            stop_price: trigger of stop and stop_limit.
            take_profit: a bracket's limit exit.
            stop_loss: a bracket's stop exit.
            tif: DAY, GTC, IOC or FOK.
            outside_rth: may fill outside regular hours.
            strategy: whose position it becomes; default by hand.
            reason: kept beside the order.

        Raises:
            BadInput: this cannot be an order; nothing was sent.
            UnknownContract: no such symbol.
        """
        prices = {
            "limit_price": limit_price,
            "stop_price": stop_price,
            "take_profit": take_profit,
            "stop_loss": stop_loss,
        }
        ticket = ticket_of(
            quantity, order_type, side, prices, tif=tif, outside_rth=outside_rth, strategy=strategy, reason=reason
        )
        access = self.access
        result, info = access.run(_place(access.desk, symbol, ticket), limit_s=ORDER_LIMIT_S * 2)
        answer = receipt(result, info, ticket)
        level = logging.WARNING if result.is_refused or result.state == "unanswered" else logging.INFO
        log.log(level, "%s %s %s: %s %s", side, quantity, info.name, answer["status"], answer["message"])
        return answer

    def market_order(self, symbol: str, quantity: Number, side: str = "buy", **more: Any) -> dict[str, Any]:
        """Order at the market; see `execute_order`."""
        return self.execute_order(symbol, quantity, "market", side, **more)

    def limit_order(
        self, symbol: str, quantity: Number, limit_price: Number, side: str = "buy", **more: Any
    ) -> dict[str, Any]:
        """Order at a limit; see `execute_order`."""
        return self.execute_order(symbol, quantity, "limit", side, limit_price=limit_price, **more)

    def stop_order(
        self, symbol: str, quantity: Number, stop_price: Number, side: str = "sell", **more: Any
    ) -> dict[str, Any]:
        """Order with a trigger; see `execute_order`."""
        return self.execute_order(symbol, quantity, "stop", side, stop_price=stop_price, **more)

    def bracket_order(
        self, symbol: str, quantity: Number, take_profit: Number, stop_loss: Number, side: str = "buy", **more: Any
    ) -> dict[str, Any]:
        """Order with two exits that rest at the broker and cancel each other; see `execute_order`."""
        return self.execute_order(
            symbol, quantity, "bracket", side, take_profit=take_profit, stop_loss=stop_loss, **more
        )

    def cancel_order(self, order_id: str, *, limit_s: float = 10.0) -> bool:
        """Cancel an order (all legs of a bracket); say whether nothing of it works any more.

        False: it still works, or its fate is not known yet; True also where it had ended before.
        """
        return self.access.run(_cancel(self.access.desk, order_id, limit_s), limit_s=limit_s + 5)

    # -- callbacks

    def on_order_status(self, callback: Callable[[dict[str, Any]], object]) -> None:
        """Call back with a dict like those of `get_open_orders` at each transition of any order of the account."""
        self._order_callbacks.append(callback)
        self._watch_if_wanted()

    def on_fill(self, callback: Callable[[dict[str, Any]], object]) -> None:
        """Call back with a dict like those of `get_fills` at each execution of the account."""
        self._fill_callbacks.append(callback)
        self._watch_if_wanted()

    def _watch_if_wanted(self) -> None:
        wanted = self._order_callbacks or self._fill_callbacks
        if wanted and self._access is not None and (self._watching is None or self._watching.done()):
            desk = self._access.desk
            streams = (desk.keys.orders, desk.keys.fills)
            cursors = {name: self._access.run(desk.bus.last_id(name), limit_s=LOOK_LIMIT_S) for name in streams}
            self._watching = BACKGROUND.spawn(self._watch(desk, cursors))

    async def _watch(self, desk: Desk, cursors: dict[str, str]) -> None:
        """Tell callbacks what comes, from when the first of them was given."""
        while True:
            try:
                found = await desk.bus.read(cursors, block_ms=500)
            except BusUnavailable:
                await SYSTEM_CLOCK.sleep(0.5)
                continue
            for stream, entries in found.items():
                for entry in entries:
                    cursors[stream] = entry.entry_id
                    try:
                        message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
                    except DecodeError:
                        continue  # the services that own the stream dead-letter it
                    self._tell(message)

    def _tell(self, message: object) -> None:
        if isinstance(message, OrderEvent):
            for callback in self._order_callbacks:
                BACKGROUND.tell(callback, order_row(message))
        elif isinstance(message, Fill):
            for callback in self._fill_callbacks:
                BACKGROUND.tell(callback, fill_row(message))


# ------------------------------------------------------------------------------------------- on the loop


async def _place(desk: Desk, symbol: str, ticket: OrderTicket) -> tuple[OrderResult, ContractInfo]:
    info = await desk.resolve(symbol)
    before = await _held(desk, info.con_id)
    result = await desk.place(info, ticket)
    if result.filled:
        # The broker reports positions a moment after the fill, and who orders wants to see them.
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(POSITION_LIMIT_S * NS_PER_S)
        while await _held(desk, info.con_id) == before and SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
            await SYSTEM_CLOCK.sleep(0.05)
    return result, info


async def _held(desk: Desk, con_id: int) -> Decimal:
    return next((report.position for report in await desk.positions() if report.con_id == con_id), Decimal(0))


async def _cancel(desk: Desk, order_id: str, limit_s: float) -> bool:
    deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
    is_asked = False
    while SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
        if not any(event.intent_id == order_id for event in await desk.open_orders()):
            return True
        if not is_asked:
            await desk.cancel(order_id, reason="IBKRBroker.cancel_order")
            is_asked = True
        await SYSTEM_CLOCK.sleep(0.05)
    return False

"""Book fills: into the order, the account, the executions and the ledger, then tell those who may see them.

Source: ib-facts A.6, A.8 (recorded market order).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from services.simulator.core.account import Account, Summary
from services.simulator.core.combos import leg_prices
from services.simulator.core.commission import commission_currency, order_commission
from services.simulator.core.contracts import Instrument
from services.simulator.core.executions import Execution, Executions
from services.simulator.core.floor import Floor
from services.simulator.core.matching import Fill, price_of
from services.simulator.core.order_book import OrderBook
from services.simulator.core.orders import BrokerOrder, open_order, order_status
from services.simulator.core.reserve import Claims

ZERO = Decimal(0)


@dataclass(slots=True)
class LegTrades:
    """What has traded of one leg of a combination's order."""

    shares: Decimal = ZERO
    paid: Decimal = ZERO
    fee: Decimal = ZERO


class FillBooker:
    """Turn fills into bookings and messages."""

    def __init__(self, floor: Floor, accounts: dict[str, Account], executions: Executions, book: OrderBook) -> None:
        self._floor = floor
        self._orders = book
        self._accounts = accounts
        self._executions = executions
        self._untold: dict[int, list[Execution]] = {}
        self._legs: dict[tuple[int, int], LegTrades] = {}
        """What has traded of the legs of combinations, by permId and conId."""
        self.leg_marks: Callable[[Instrument], list[Decimal]] = lambda _: []

    def book(self, order: BrokerOrder, fill: Fill) -> None:
        """Book one fill; nobody is told yet."""
        instrument = order.instrument
        order.filled += fill.quantity
        order.paid += fill.quantity * fill.price
        order.last_price = fill.price
        order.fills += 1
        order.working.remaining = order.remaining
        order.status = "Filled" if order.remaining <= 0 else "Submitted"
        self._untold.setdefault(order.perm_id, [])
        if instrument.legs:
            self._book_legs(order, fill)
            return
        account = self._accounts[order.account]
        fee = self._fee(instrument, order.filled, order.paid, order.commission)
        order.commission += fee
        realized = account.apply_fill(instrument, order.working.side, fill.quantity, fill.price, fee)
        self._record(
            order, instrument, exec_id=self._executions.next_exec_id(), contract=order.contract,
            side=order.working.side, shares=fill.quantity, price=fill.price, cum_qty=order.filled,
            avg_price=order.average_price, liquidity=fill.liquidity, commission=fee, realized=realized,
        )  # fmt: skip

    def _book_legs(self, order: BrokerOrder, fill: Fill) -> None:
        """Book the trade of a combination: it is told as one and for each leg, and the legs are what is held."""
        combo, account = order.instrument, self._accounts[order.account]
        exec_id = self._executions.next_exec_id()
        self._record(
            order, combo, exec_id=exec_id, contract=order.contract, side=order.working.side, shares=fill.quantity,
            price=fill.price, cum_qty=order.filled, avg_price=order.average_price, liquidity=fill.liquidity,
            commission=ZERO, realized=None,
        )  # fmt: skip
        prices = leg_prices(combo, fill.price, self.leg_marks(combo))
        for number, ((leg, ratio), price) in enumerate(zip(combo.legs, prices, strict=True), start=2):
            side, shares = (1 if ratio > 0 else -1) * order.working.side, fill.quantity * abs(ratio)
            done = self._legs.setdefault((order.perm_id, leg.con_id), LegTrades())
            done.shares += shares
            done.paid += shares * price
            fee = self._fee(leg, done.shares, done.paid, done.fee)
            done.fee += fee
            order.commission += fee
            realized = account.apply_fill(leg, side, shares, price, fee)
            self._record(
                order, leg, exec_id=f"{exec_id[:-3]}.{number:02d}.01", contract=leg.contract(), side=side,
                shares=shares, price=price, cum_qty=done.shares, avg_price=done.paid / done.shares,
                liquidity=fill.liquidity, commission=fee, realized=realized,
            )  # fmt: skip

    def _fee(self, instrument: Instrument, shares: Decimal, paid: Decimal, charged: Decimal) -> Decimal:
        """Return what is due now of an order's commission on one contract."""
        value, config = abs(paid) * instrument.multiplier, self._floor.config
        due = order_commission(instrument, shares, value, schedule=config.commissions, rate=config.commission_rate)
        return max(ZERO, due - charged)

    def _record(self, order: BrokerOrder, instrument: Instrument, **facts: Any) -> None:
        execution = Execution(
            ts_ns=self._floor.now_ns, perm_id=order.perm_id, client_id=order.client_id, order_id=order.order_id,
            order_ref=order.order.order_ref, account=order.account, exchange=_venue(order),
            currency=commission_currency(instrument), is_manual=order.is_manual,
            is_liquidation=order.is_liquidation, **facts,
        )  # fmt: skip
        self._executions.add(execution)
        self._untold[order.perm_id].append(execution)
        self._floor.log(
            "execution", exec_id=execution.exec_id, perm_id=order.perm_id, client_id=order.client_id,
            order_id=order.order_id, order_ref=order.order.order_ref, account=order.account,
            con_id=instrument.con_id, symbol=instrument.symbol, side="BOT" if execution.side > 0 else "SLD",
            shares=execution.shares, price=execution.price, commission=execution.commission,
            realized=execution.realized,
        )  # fmt: skip

    def correct(self, old: Execution, price: Decimal, shares: Decimal) -> Execution:
        """Book a correction of an execution: the old trade is taken back, the new one is booked, no fee is charged."""
        floor = self._floor
        stem, _, revision = old.exec_id.rpartition(".")
        instrument = floor.universe.by_id(old.contract.con_id)
        if instrument is None:
            raise ValueError(f"the contract of execution {old.exec_id} is not listed any more")
        if instrument.legs:
            raise ValueError(f"execution {old.exec_id} is of a combination: correct those of its legs")
        account = self._accounts[old.account]
        account.apply_fill(instrument, -old.side, old.shares, old.price, ZERO)
        if shares > 0:
            account.apply_fill(instrument, old.side, shares, price, ZERO)
        new = replace(
            old, exec_id=f"{stem}.{int(revision) + 1:02d}", price=price, shares=shares,
            cum_qty=old.cum_qty + shares - old.shares,
        )  # fmt: skip
        self._executions.add(new)
        floor.log(
            "correction", exec_id=new.exec_id, corrects=old.exec_id, perm_id=old.perm_id, price=price, shares=shares,
            order_ref=old.order_ref, account=old.account, con_id=instrument.con_id,
        )  # fmt: skip
        config = floor.config
        for session in floor.sessions.watchers(old.client_id, config.master_client_id, is_manual=old.is_manual):
            floor.send_broker(session, new.details(-1, config.time_zone, zone_name=config.execution_zone_name))
        floor.position_changed(old.account, instrument.con_id)
        return new

    def tell(self, order: BrokerOrder) -> None:
        """Send what has been booked on an order since the last call."""
        floor, config = self._floor, self._floor.config
        executions = self._untold.pop(order.perm_id, [])
        watchers = floor.sessions.watchers(order.client_id, config.master_client_id, is_manual=order.is_manual)
        is_first = floor.faults.commissions_first > 0
        floor.faults.commissions_first -= is_first
        for session in watchers:
            if is_first:
                self._report(session, executions)
            for execution in executions:
                floor.send_broker(
                    session, execution.details(-1, config.time_zone, zone_name=config.execution_zone_name)
                )
            floor.send_broker(session, open_order(order, none_text=config.deltaneutral_none))
            floor.send_broker(session, order_status(order))
            if order.status == "Filled":
                message = open_order(order, none_text=config.deltaneutral_none, with_commission=True)
                floor.send_broker(session, message)
            if not is_first:
                self._report(session, executions)
        for instrument in [leg for leg, _ in order.instrument.legs] or [order.instrument]:
            floor.position_changed(order.account, instrument.con_id)

    def _report(self, session: int, executions: list[Execution]) -> None:
        delay_ns = self._floor.faults.commission_delay_ns
        for execution in executions:
            if not execution.has_report:
                continue
            if delay_ns:
                self._floor.later(delay_ns, _late(self._floor, session, execution))
            else:
                self._floor.send_broker(session, execution.report())

    def rate(self, currency: str) -> Decimal:
        """Return the base currency per unit of a currency, from the currency pairs listed here."""
        base = self._floor.config.currency
        if currency == base:
            return Decimal(1)
        pair = self._floor.universe.by_symbol(currency, "CASH", base)
        if pair is not None:
            return price_of(self._floor.mark(pair))
        inverse = self._floor.universe.by_symbol(base, "CASH", currency)
        return Decimal(1) / price_of(self._floor.mark(inverse)) if inverse is not None else Decimal(1)

    def summary(self, account: Account) -> Summary:
        """Return an account's state now."""
        return account.summary(self.mark, self.rate, self.claims(account).total(self.mark, self.rate))

    def claims(self, account: Account) -> Claims:
        """Return what the working orders of an account claim."""
        return Claims(account, (each for orders in self._orders.by_contract.values() for each in orders.values()))

    def cushion(self, name: str) -> float:
        """Return an account's excess liquidity as percent of what it is worth."""
        now = self.summary(self._accounts[name])
        return float(now.excess_liquidity / now.net_liquidation * 100) if now.net_liquidation > 0 else 0.0

    def opens_short(self, order: BrokerOrder) -> bool:
        """Return whether a sale would sell more than is held."""
        held = self._accounts[order.account].quantity(order.instrument.con_id)
        return order.instrument.sec_type == "STK" and order.remaining > max(ZERO, held)

    def estimated_commission(self, order: BrokerOrder) -> Decimal:
        """Return what an order would cost if it filled at its limit or the market."""
        quantity, total = order.order.total_quantity, ZERO
        for leg, ratio in order.instrument.legs or ((order.instrument, 1),):
            price = order.order.lmt_price if leg is order.instrument else None
            shares = quantity * abs(ratio)
            total += self._fee(leg, shares, shares * (price or self.mark(leg)), ZERO)
        return total

    def mark(self, instrument: Instrument) -> Decimal:
        """Return the price that a position is valued at."""
        return price_of(self._floor.mark(instrument))


def _late(floor: Floor, session: int, execution: Execution):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return lambda: floor.send_broker(session, execution.report())


def _venue(order: BrokerOrder) -> str:
    exchange = order.contract.exchange
    return order.instrument.primary_exchange or exchange if exchange == "SMART" else exchange

"""Book fills: into the order, the account, the executions and the ledger, then tell those who may see them.

Source: ib-facts A.6, A.8 (recorded market order).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.simulator.core.account import Account, Summary
from services.simulator.core.commission import commission_currency, order_commission
from services.simulator.core.contracts import Instrument
from services.simulator.core.executions import Execution, Executions
from services.simulator.core.floor import Floor
from services.simulator.core.matching import Fill, price_of
from services.simulator.core.orders import BrokerOrder, open_order, order_status

ZERO = Decimal(0)


class FillBooker:
    """Turn fills into bookings and messages."""

    def __init__(self, floor: Floor, accounts: dict[str, Account], executions: Executions) -> None:
        self._floor = floor
        self._accounts = accounts
        self._executions = executions
        self._untold: dict[int, list[Execution]] = {}

    def book(self, order: BrokerOrder, fill: Fill) -> None:
        """Book one fill; nobody is told yet."""
        floor = self._floor
        instrument = order.instrument
        order.filled += fill.quantity
        order.paid += fill.quantity * fill.price
        order.last_price = fill.price
        order.fills += 1
        order.working.remaining = order.remaining
        order.status = "Filled" if order.remaining <= 0 else "Submitted"
        total_fee = order_commission(
            instrument, order.filled, order.paid * instrument.multiplier,
            schedule=floor.config.commissions, rate=floor.config.commission_rate,
        )  # fmt: skip
        fee = max(ZERO, total_fee - order.commission)
        order.commission += fee
        realized = self._accounts[order.account].apply_fill(
            instrument, order.working.side, fill.quantity, fill.price, fee
        )
        execution = Execution(
            exec_id=self._executions.next_exec_id(), ts_ns=floor.now_ns, perm_id=order.perm_id,
            client_id=order.client_id, order_id=order.order_id, order_ref=order.order.order_ref, account=order.account,
            contract=order.contract, exchange=_venue(order), side=order.working.side, shares=fill.quantity,
            price=fill.price, cum_qty=order.filled, avg_price=order.average_price, liquidity=fill.liquidity,
            commission=fee, currency=commission_currency(instrument), realized=realized, is_manual=order.is_manual,
        )  # fmt: skip
        self._executions.add(execution)
        self._untold.setdefault(order.perm_id, []).append(execution)
        floor.log(
            "execution", exec_id=execution.exec_id, perm_id=order.perm_id, client_id=order.client_id,
            order_id=order.order_id, order_ref=order.order.order_ref, account=order.account,
            con_id=instrument.con_id, symbol=instrument.symbol, side="BOT" if order.working.side > 0 else "SLD",
            shares=fill.quantity, price=fill.price, commission=fee, realized=realized,
        )  # fmt: skip

    def correct(self, old: Execution, price: Decimal, shares: Decimal) -> Execution:
        """Book a correction of an execution: the old trade is taken back, the new one is booked, no fee is charged."""
        floor = self._floor
        stem, _, revision = old.exec_id.rpartition(".")
        instrument = floor.universe.by_id(old.contract.con_id)
        if instrument is None:
            raise ValueError(f"the contract of execution {old.exec_id} is not listed any more")
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
        floor.position_changed(order.account, order.instrument.con_id)

    def _report(self, session: int, executions: list[Execution]) -> None:
        delay_ns = self._floor.faults.commission_delay_ns
        for execution in executions:
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
        return account.summary(self.mark, self.rate)

    def opens_short(self, order: BrokerOrder) -> bool:
        """Return whether a sale would sell more than is held."""
        held = self._accounts[order.account].quantity(order.instrument.con_id)
        return order.instrument.sec_type == "STK" and order.remaining > max(ZERO, held)

    def estimated_commission(self, order: BrokerOrder) -> Decimal:
        """Return what an order would cost if it filled at its limit or the market."""
        price = order.order.lmt_price or self.mark(order.instrument)
        quantity = order.order.total_quantity
        value = quantity * price * order.instrument.multiplier
        config = self._floor.config
        return order_commission(
            order.instrument, quantity, value, schedule=config.commissions, rate=config.commission_rate
        )

    def mark(self, instrument: Instrument) -> Decimal:
        """Return the price that a position is valued at."""
        return price_of(self._floor.mark(instrument))


def _late(floor: Floor, session: int, execution: Execution):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return lambda: floor.send_broker(session, execution.report())


def _venue(order: BrokerOrder) -> str:
    exchange = order.contract.exchange
    return order.instrument.primary_exchange or exchange if exchange == "SMART" else exchange

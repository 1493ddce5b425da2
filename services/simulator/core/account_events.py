"""Commands for what happens to accounts without an order: money, corporate actions, options, expiries, liquidation.

Invariants:
1. Every event is in the ledger with its amounts, and subscribers are told as after a fill, but no execution is made:
   IB shows such changes in positions and cash only.
2. cash + cost of positions changes by what the event says: a split, a rename and an exercise change nothing in sum.
3. A dividend that is accrued is stored until it is paid: one that falls due while the exchange is stopped is paid
   when it opens again.

4. Options follow their underlying's split and new symbol (`splits.py`), after a restart too.

Known limit: a recording does not know of splits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from services.simulator.core.account import Account, Holding
from services.simulator.core.contracts import Instrument
from services.simulator.core.floor import Save
from services.simulator.core.market import NS_PER_S
from services.simulator.core.matching import price_of
from services.simulator.core.message_faults import amount
from services.simulator.core.order_desk import OrderDesk
from services.simulator.core.splits import adjusted, delivery, renamed
from shared.tws.order import TwsOrder

ZERO = Decimal(0)


class AccountEvents:
    """What the broker and the issuers do to accounts."""

    def __init__(self, orders: OrderDesk, accounts: dict[str, Account]) -> None:
        self._floor = orders.floor
        self._orders = orders
        self._accounts = accounts
        self._accrued: set[str] = set()
        """The keys under which accrued dividends are stored."""
        self._splits: dict[int, list[tuple[int, int]]] = {}
        """The splits of each stock, new shares for old ones, oldest first."""

    def acts(self) -> list[Callable[..., None]]:
        """Return the commands."""
        return [
            self.deposit, self.fee, self.interest, self.dividend, self.split, self.symbol_change, self.exercise,
            self.assign, self.expire, self.liquidate,
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------------- money
    def deposit(self, *, amount: str, currency: str = "USD", account: str = "") -> None:
        """Pay money in, or out if the amount is negative."""
        self._pay("deposit", amount, currency, account)

    def fee(self, *, amount: str, currency: str = "USD", account: str = "", text: str = "") -> None:
        """Charge a fee, such as for market data or a short position."""
        self._pay("fee", str(-_number(amount)), currency, account, text)

    def interest(self, *, amount: str, currency: str = "USD", account: str = "") -> None:
        """Pay interest, or charge it if the amount is negative."""
        self._pay("interest", amount, currency, account)

    def _pay(self, reason: str, value: str, currency: str, account: str, text: str = "") -> None:
        number = _number(value)
        if self._orders.fills.rate(currency) == 1 and currency != self._floor.config.currency:
            raise ValueError(f"there is no exchange rate for {currency!r} here")
        for each in self._chosen(account):
            self._book_cash(each, number, currency, reason, text)

    def _book_cash(self, account: Account, number: Decimal, currency: str, reason: str, text: str = "") -> None:
        account.deposit(number, currency)
        self._floor.log("cash", account=account.name, reason=reason, amount=number, currency=currency, text=text)
        self._floor.account_changed(account.name)

    # -------------------------------------------------------------------------------------------- corporate actions
    def dividend(self, *, symbol: str, amount: str, pay_after_s: float = 0.0) -> None:
        """Pay a dividend per share to who is long, charge who is short; accrued until it is paid."""
        instrument, per_share = self._instrument(symbol), _number(amount)
        if not 0 <= pay_after_s <= 366 * 86_400:
            raise ValueError("pay_after_s must be 0 to a year")
        for account, holding in self._holders(instrument):
            number = holding.quantity * per_share
            if not pay_after_s:
                self._book_cash(account, number, instrument.currency, "dividend", symbol)
                continue
            due_ns = self._floor.now_ns + int(pay_after_s * NS_PER_S)
            key = f"{account.name} {instrument.con_id} {due_ns}"
            while key in self._accrued:
                key += "+"
            accrued = {
                "account": account.name, "con_id": instrument.con_id, "amount": str(number), "due_ns": due_ns,
                "accrued": str(number * self._orders.fills.rate(instrument.currency)),
            }  # fmt: skip
            self._floor.effect(Save("dividend", key, accrued))
            self.accrue(key, accrued)

    def accrue(self, key: str, stored: dict[str, Any]) -> None:
        """Count a dividend as accrued, and pay it when it is due; for new ones and for stored ones."""
        account, instrument = self._accounts.get(stored["account"]), self._floor.universe.by_id(stored["con_id"])
        if account is None or instrument is None:
            return
        accrued = Decimal(stored["accrued"])
        self._accrued.add(key)
        account.accrued_dividend += accrued
        self._floor.account_changed(account.name)

        def pay() -> None:
            now = self._floor.universe.by_id(instrument.con_id) or instrument
            self._accrued.discard(key)
            self._floor.effect(Save("dividend", key, None))
            account.accrued_dividend -= accrued
            self._book_cash(account, Decimal(stored["amount"]), now.currency, "dividend", now.symbol)

        self._floor.later(max(0, stored["due_ns"] - self._floor.now_ns), pay)

    def split(self, *, symbol: str, new: int, old: int = 1, keep_orders: bool = False) -> None:
        """Split a stock, `new` shares for `old` ones, and adjust its options.

        Orders end unless they are kept; fractions are paid in cash.
        """
        instrument = self._instrument(symbol)
        if not (0 < new <= 10_000 and 0 < old <= 10_000) or instrument.sec_type != "STK":
            raise ValueError("a stock is needed, and both numbers from 1 to 10000")
        if not keep_orders:
            self._cancel_orders(instrument, "Corporate action: split.")
        mark = price_of(self._floor.mark(instrument)) * old / new
        for account, holding in self._holders(instrument):
            whole = (holding.quantity * new / old).to_integral_value(ROUND_DOWN)
            fraction = holding.quantity * new / old - whole
            holding.quantity = whole + fraction
            if fraction:
                account.apply_fill(instrument, -1 if fraction > 0 else 1, abs(fraction), mark, ZERO)
            holding.quantity = whole
            self._moved(account, instrument, "split", f"{new}:{old}")
        self._floor.prices.scale(instrument.con_id, old / new)
        self._floor.books.pop(instrument.con_id, None)
        for option in self._floor.universe.derivatives(instrument.con_id):
            self._cancel_orders(option, "Corporate action: split.")
        for changed, factor in self.adjust_options(instrument.con_id, new, old):
            self._floor.books.pop(changed.con_id, None)
            for account, holding in self._holders(changed):
                holding.quantity *= factor
                self._moved(account, changed, "split", f"{new}:{old}")
        self._store_listing(instrument)

    def adjust_options(self, con_id: int, new: int, old: int) -> list[tuple[Instrument, int]]:
        """List the options of a stock as a split leaves them; return each, and how many contracts one has become."""
        if new == old:
            return []
        self._splits.setdefault(con_id, []).append((new, old))
        found = [adjusted(option, new, old) for option in self._floor.universe.derivatives(con_id)]
        for option, _ in found:
            self._relist(option)
        return found

    def symbol_change(self, *, symbol: str, to: str) -> None:
        """Give a stock another symbol; its conId, orders and positions stay."""
        instrument = self._instrument(symbol)
        if not to.isascii() or not to.replace(" ", "").isalnum() or self._floor.universe.by_symbol(to) is not None:
            raise ValueError(f"{to!r} is no free symbol")
        self.rename(instrument.con_id, to)
        self._store_listing(instrument)
        for account, _ in self._holders(instrument):
            self._moved(account, instrument, "symbol_change", f"{symbol} to {to}")

    def rename(self, con_id: int, to: str) -> None:
        """Put the new name everywhere it is known."""
        universe = self._floor.universe
        old = universe.by_id(con_id)
        if old is None:
            return
        new = replace(old, symbol=to, local_symbol="", trading_class=to if old.trading_class == old.symbol else "")
        self._relist(new)
        for option in universe.derivatives(con_id):
            self._relist(renamed(option, to))

    def _relist(self, new: Instrument) -> None:
        """Put an instrument's new description wherever the old one is."""
        self._floor.universe.replace(new)
        for account in self._accounts.values():
            if new.con_id in account.holdings:
                account.holdings[new.con_id].instrument = new
        for order in self._orders.book.open_orders():
            if order.instrument.con_id == new.con_id:
                order.instrument, order.contract = new, new.contract(order.contract.exchange)

    def restore_listing(self, con_id: int, stored: dict[str, Any]) -> None:
        """Take back a stored listing: its prices' factor, its symbol and its splits."""
        self._floor.prices.scale(con_id, stored["price_factor"])
        self.rename(con_id, stored["symbol"])
        for new, old in stored.get("splits", []):  # those of earlier releases have none
            self.adjust_options(con_id, new, old)

    def _store_listing(self, instrument: Instrument) -> None:
        now = self._floor.universe.by_id(instrument.con_id) or instrument
        factor = self._floor.prices.factor(instrument.con_id)
        listing = {
            "symbol": now.symbol, "price_factor": factor,
            "splits": [list(each) for each in self._splits.get(instrument.con_id, [])],
        }  # fmt: skip
        self._floor.effect(Save("listing", str(instrument.con_id), listing))

    # -------------------------------------------------------------------------------------------- derivatives
    def exercise(self, *, contract: str, quantity: str = "", account: str = "") -> None:
        """Exercise a long option position: shares come or go at the strike."""
        self._deliver(self._instrument(contract), quantity, account, long=True)

    def assign(self, *, contract: str, quantity: str = "", account: str = "") -> None:
        """Assign a short option position: shares come or go at the strike."""
        self._deliver(self._instrument(contract), quantity, account, long=False)

    def exercise_for(self, name: str, instrument: Instrument, quantity: Decimal) -> bool:
        """Exercise for a client; False where the account has no such options."""
        account = self._accounts.get(name)
        held = account.quantity(instrument.con_id) if account else ZERO
        if instrument.sec_type != "OPT" or not 0 < quantity <= held:
            return False
        self._deliver(instrument, str(quantity), name, long=True)
        return True

    def _deliver(self, option: Instrument, quantity: str, account: str, *, long: bool) -> None:
        under = self._floor.universe.by_id(option.under_con_id)
        if option.sec_type != "OPT" or under is None:
            raise ValueError("an option is needed, by local symbol or conId")
        found = [
            (each, holding)
            for each, holding in self._holders(option)
            if account in ("", each.name) and (holding.quantity > 0) == long
        ]
        if not found:
            raise ValueError(f"nobody is {'long' if long else 'short'} {option.local_symbol}")
        for each, holding in found:
            wanted = amount(quantity) if quantity else abs(holding.quantity)
            if not 0 < wanted <= abs(holding.quantity):
                raise ValueError(f"the position is {holding.quantity}")
            self._deliver_one(each, holding, under, wanted)

    def _deliver_one(self, account: Account, holding: Holding, under: Instrument, quantity: Decimal) -> None:
        option = holding.instrument
        is_long = holding.quantity > 0
        account.apply_fill(option, -1 if is_long else 1, quantity, ZERO, ZERO)
        # The holder of a call buys, of a put sells; who is assigned does the opposite.
        side = (1 if option.right == "C" else -1) * (1 if is_long else -1)
        shares, price = delivery(option, quantity)
        account.apply_fill(under, side, shares, price, ZERO)
        fraction = shares - shares.to_integral_value(ROUND_DOWN)
        if fraction:  # of an adjusted option: paid in cash
            account.apply_fill(under, -side, fraction, price_of(self._floor.mark(under)), ZERO)
            held = account.holdings[under.con_id]
            whole = held.quantity.quantize(Decimal(1))
            held.quantity = whole if held.quantity == whole else held.quantity  # not 28.0000
        self._moved(account, option, "exercise" if is_long else "assignment", str(quantity))
        self._floor.watch(under)
        self._floor.position_changed(account.name, under.con_id)

    def expire(self, *, contract: str) -> None:
        """Let an option or future expire: options in the money are exercised, futures settle at the market."""
        instrument = self._instrument(contract)
        if instrument.sec_type not in ("OPT", "FUT"):
            raise ValueError("an option or a future is needed, by local symbol or conId")
        self._expire(instrument)

    def expire_due(self) -> None:
        """Let everything held expire whose day is over (called at midnight)."""
        today = f"{datetime.fromtimestamp(self._floor.now_ns / NS_PER_S, self._floor.zone):%Y%m%d}"
        held = {each.instrument for account in self._accounts.values() for each in account.holdings.values()}
        for instrument in sorted(held, key=lambda each: each.con_id):
            if instrument.expiry and instrument.expiry < today:
                self._expire(instrument)

    def _expire(self, instrument: Instrument) -> None:
        self._cancel_orders(instrument, "The contract has expired.")
        mark = price_of(self._floor.mark(instrument)) if instrument.sec_type == "FUT" else ZERO
        under = self._floor.universe.by_id(instrument.under_con_id)
        level = self._floor.mark(under) * float(instrument.deliverable / instrument.multiplier) if under else 0.0
        is_in_the_money = level > instrument.strike if instrument.right == "C" else level < instrument.strike
        for account, holding in self._holders(instrument):
            if instrument.sec_type == "OPT" and under is not None and is_in_the_money:
                self._deliver_one(account, holding, under, abs(holding.quantity))
            else:
                side = -1 if holding.quantity > 0 else 1
                account.apply_fill(instrument, side, abs(holding.quantity), mark, ZERO)
                self._moved(account, instrument, "expiry", str(mark))

    # -------------------------------------------------------------------------------------------- liquidation
    def liquidate(self, *, symbol: str = "", account: str = "") -> None:
        """Close positions at the market as IB does when margin is missing; all of an account without a symbol."""
        count = 0
        for each in self._chosen(account):
            for holding in list(each.holdings.values()):
                instrument = holding.instrument
                if not holding.quantity or (symbol and instrument != self._instrument(symbol)):
                    continue
                action = "SELL" if holding.quantity > 0 else "BUY"
                order = TwsOrder(
                    action=action, total_quantity=abs(holding.quantity), order_type="MKT", tif="DAY", account=each.name
                )
                self._orders.place_by_hand(instrument, order, is_liquidation=True)
                count += 1
        if not count:
            raise ValueError("there is no such position")

    # -------------------------------------------------------------------------------------------- helpers
    def _chosen(self, name: str) -> list[Account]:
        if name and name not in self._accounts:
            raise ValueError(f"the accounts are {', '.join(self._accounts)}")
        return [self._accounts[name]] if name else list(self._accounts.values())

    def _instrument(self, text: str) -> Instrument:
        return self._floor.universe.named(text)

    def _holders(self, instrument: Instrument) -> Iterator[tuple[Account, Holding]]:
        for account in self._accounts.values():
            holding = account.holdings.get(instrument.con_id)
            if holding is not None and holding.quantity:
                yield account, holding

    def _cancel_orders(self, instrument: Instrument, reason: str) -> None:
        for order in self._orders.book.open_orders():
            legs = order.instrument.legs or ((order.instrument, 1),)
            if any(leg.con_id == instrument.con_id for leg, _ in legs):
                self._orders.life.cancel_by_broker(order, reason)

    def _moved(self, account: Account, instrument: Instrument, reason: str, text: str) -> None:
        self._floor.log(
            "position", account=account.name, con_id=instrument.con_id, symbol=instrument.symbol, reason=reason,
            text=text, quantity=account.quantity(instrument.con_id),
        )  # fmt: skip
        self._floor.position_changed(account.name, instrument.con_id)
        self._floor.account_changed(account.name)


def _number(value: str) -> Decimal:
    return amount(value)

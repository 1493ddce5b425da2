"""Write the account's journal while leading: what happened to positions and cash without an order.

What it is, is decided in `core.recognition` and `core.cash`; here the facts are brought together, the entry goes onto
`account`, orders that still work at prices of before a split are cancelled, and a contract that has another name is
asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from services.gateway.core.book_effects import Renamed
from services.gateway.core.cash import CashJournal, CashMoved, cash_of
from services.gateway.core.order_machine import OrderTrack
from services.gateway.core.recognition import ContractFacts, Recognised
from services.gateway.shell.account import AccountDesk
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.outbox import Outbox
from services.gateway.shell.trading import Trading
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.contracts import ContractName
from shared.errors import BadInput, CqError
from shared.ids import ConId
from shared.logs import get_logger
from shared.messages.account import JournalEntry, JournalKind
from shared.messages.market import ContractInfo
from shared.messages.orders import Commission, Fill
from shared.money import ZERO

_SETTLED_DAILY = ("FUT", "FOP", "CFD")
"""Their result is booked as cash every day: while one is held, cash moves without an event."""


class JournalDesk:
    """The leader's journal."""

    def __init__(
        self, bus: Bus, outbox: Outbox, account: AccountDesk, contracts: Contracts, trading: Trading, *,
        account_id: str, time_zone: str, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self.cash = CashJournal()
        self._bus = bus
        self._outbox = outbox
        self._account = account
        self._contracts = contracts
        self._trading = trading
        self._account_id = account_id
        self._zone = ZoneInfo(time_zone)
        self._clock = clock
        account.on_value = self._value

    # -- what the books ask

    def today(self) -> str:
        """Return the day at the broker."""
        return f"{datetime.fromtimestamp(self._clock.wall_ns() // NS_PER_S, self._zone):%Y%m%d}"

    async def facts(self, con_ids: Iterable[int]) -> dict[int, ContractFacts]:
        """Return what is known of contracts that are held, were held or differ."""
        found: dict[int, ContractFacts] = {}
        for con_id in con_ids:
            report, info = self._account.report(con_id), await self._info(con_id)
            if info is None:
                continue
            found[con_id] = ContractFacts(
                sec_type=info.sec_type, symbol=(report.symbol if report is not None else "") or info.symbol,
                average_cost=report.average_cost if report is not None else ZERO, strike=info.strike or ZERO,
                right=info.right, multiplier=info.multiplier, under_con_id=info.under_con_id, expiry=info.expiry[:8],
                currency=info.currency,
            )  # fmt: skip
        self.cash.is_blind = any(
            facts.sec_type in _SETTLED_DAILY and self._account.is_held(con_id) for con_id, facts in found.items()
        )
        return found

    async def _info(self, con_id: int) -> ContractInfo | None:
        try:
            return self._contracts.known(con_id) or await self._contracts.get(con_id)
        except CqError:
            return None  # not known to the broker any more, or not now: nothing is recognised without it

    # -- positions

    def happened(self, event: Recognised) -> None:
        """Journal what happened to a position, and see to the orders at prices of before a split."""
        orders = self._cancel_outdated(event.con_id) if event.kind is JournalKind.SPLIT else ()
        self.cash.promised(event.kind, event.currency, event.cash, event.text)
        self._write(
            event.kind, con_id=event.con_id, quantity=event.change, text=event.text, orders=orders,
        )  # fmt: skip

    def _cancel_outdated(self, con_id: int) -> tuple[str, ...]:
        """Cancel our orders that carry a price; return all such, those of others too."""
        session, found = self._trading.session, []
        for track in self._trading.desk.book.open_tracks():
            if track.con_id != con_id or (track.limit_price is None and track.stop_price is None):
                continue
            found.append(track.key)
            is_ours = _is_shown_here(track, self._trading)
            if is_ours and session is not None and session.is_open:
                session.cancel(track.order_id)
                track.cancel_sent_ns = self._clock.monotonic_ns()
            get_logger().error(
                "order.outdated_by_split", order_ref=track.order_ref, perm_id=track.perm_id, cancelled=is_ours
            )
        return tuple(found)

    async def renamed(self, event: Renamed) -> None:
        """Journal a contract's new symbol, and learn its new name; the old ones mean nothing any more."""
        con_id, keys = event.con_id, self._bus.keys
        name = ContractName("", currency="", con_id=ConId(con_id))
        outdated = [
            text
            for text, known in (await self._bus.hash_get_all(keys.contract_names)).items()
            if known.decode() == str(con_id)
        ]
        self._outbox.delete_fields(keys.contract_names, outdated)
        try:
            await self._contracts.resolve(name, text=f"#{con_id}")
        except CqError as e:
            get_logger().warning("contract.not_renamed", con_id=con_id, error=str(e))
        self._write(JournalKind.SYMBOL_CHANGE, con_id=con_id, text=f"{event.before} is called {event.after} now")

    # -- cash

    def _value(self, tag: str, value: str, currency: str) -> None:
        try:
            number = Decimal(value)
        except InvalidOperation:
            return
        if number.is_finite():
            self.cash.told(tag, currency, number, self._clock.monotonic_ns())

    async def fill(self, fill: Fill, replaces: Fill | None) -> None:
        """Take what a fill moved, less what the revision moved that it corrects."""
        info = await self._info(fill.con_id)
        sec_type, multiplier = (info.sec_type, info.multiplier) if info is not None else ("", Decimal(1))
        at_ns = self._seen_ns(fill.ts_init_ns)
        for sign, each in ((1, fill), (-1, replaces)):
            if each is None:
                continue
            amount = cash_of(sec_type, each.side.sign, each.quantity, each.price, multiplier)
            self.cash.flowed(each.currency, sign * (amount or ZERO), at_ns)
            if sec_type == "CASH" and info is not None:
                self.cash.flowed(info.symbol, sign * each.side.sign * each.quantity, at_ns)

    def commission(self, report: Commission) -> None:
        """Take what a commission moved."""
        if report.currency:
            self.cash.flowed(report.currency, -report.commission, self._seen_ns(report.ts_init_ns))

    def _seen_ns(self, wall_ns: int) -> int:
        """Return when something was seen, on our clock: it is read back from the bus a moment later."""
        return self._clock.monotonic_ns() - max(0, self._clock.wall_ns() - wall_ns)

    def turn(self) -> None:
        """Journal cash that moved and stands still."""
        self.cash.base_currency = self._account.base_currency()
        for moved in self.cash.judge(self._clock.monotonic_ns()):
            self._moved(moved)

    def _moved(self, moved: CashMoved) -> None:
        self._write(moved.kind, amount=moved.amount, currency=moved.currency, text=moved.text)

    def stored(self) -> dict[str, Any]:
        """Return what a successor needs."""
        return self.cash.to_dict()

    def restore(self, stored: object) -> None:
        """Take what a predecessor kept.

        Raises:
            BadInput: it cannot be read.
        """
        try:
            self.cash.restore(dict(stored))  # type: ignore[call-overload]
        except (ValueError, TypeError, ArithmeticError) as e:
            raise BadInput(f"the stored cash journal cannot be read: {type(e).__name__}: {e}") from e

    def _write(
        self, kind: JournalKind, *, con_id: int = 0, quantity: Decimal = ZERO, amount: Decimal = ZERO,
        currency: str = "", text: str = "", orders: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        info = self._contracts.known(con_id) if con_id else None
        get_logger().warning(
            "account.journaled", kind=str(kind), con_id=con_id, quantity=str(quantity), amount=str(amount),
            currency=currency, text=text,
        )  # fmt: skip
        self._outbox.put(
            self._bus.keys.account,
            JournalEntry(
                ts_init_ns=self._clock.wall_ns(), account=self._account_id, kind=kind, con_id=con_id,
                contract=info.name if info is not None else "", quantity=quantity, amount=amount, currency=currency,
                text=text, orders=orders,
            ),
        )  # fmt: skip


def _is_shown_here(track: OrderTrack, trading: Trading) -> bool:
    """Return whether a cancel of ours can reach the order: it is of this trading id, and this session has shown it."""
    return not track.is_external and track.shown_in == trading.session_number and track.client_id == trading.client_id

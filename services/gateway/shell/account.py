"""Publish the account: values, positions, P&L and exchange rates, of the one configured account only.

Positions of other accounts on the login are ignored, and listed once in the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation

from services.gateway.core.evidence import BrokerPosition
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import TransientError
from shared.logs import get_logger
from shared.messages.account import (
    AccountSnapshot,
    AccountTag,
    ExchangeRate,
    PnlReport,
    PositionReport,
    PositionsComplete,
    PositionShare,
)
from shared.messages.codec import encode_body
from shared.money import decimal_of

POSITIONS_EVERY_S = 20.0
"""How often all positions are asked for again: a difference is found within a minute (P11)."""
CHANGES_EVERY_S = 0.25
PRICES_EVERY_S = 2.0


class AccountDesk:
    """What the leader says about the account."""

    def __init__(
        self, bus: Bus, outbox: Outbox, account: str, *, session: Callable[[], IbSession | None], limit_s: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._bus = bus
        self._outbox = outbox
        self._account = account
        self._session = session
        self._limit_s = limit_s
        self._clock = clock
        self._values: dict[tuple[str, str], str] = {}
        self._changed: dict[tuple[str, str], str] = {}
        self._positions: dict[int, PositionReport] = {}
        self._priced: dict[int, int] = {}
        self._pnl: PnlReport | None = None
        self._pnl_changed = False
        self._others: set[str] = set()
        self._is_watching: IbSession | None = None
        self._next_positions_ns = 0
        self._is_complete = False
        self.books: Callable[[int], tuple[tuple[PositionShare, ...], Decimal]] = lambda _con_id: ((), Decimal(0))
        """Says whose a position is, and what of it is unexplained."""
        self.on_value: Callable[[str, str, str], None] = lambda _tag, _value, _currency: None
        """Told of every account value: tag, value, currency."""

    # -- what the books ask

    def reported(self) -> dict[int, Decimal] | None:
        """Return every position that is not flat, None until the broker has listed them all on this session."""
        if not self._is_complete or self._session() is not self._is_watching:
            return None
        return {con_id: report.position for con_id, report in self._positions.items() if report.position}

    def report(self, con_id: int) -> PositionReport | None:
        """Return what was reported of a contract last."""
        return self._positions.get(con_id)

    def is_held(self, con_id: int) -> bool:
        """Return whether the broker shows a position in a contract."""
        known = self._positions.get(con_id)
        return known is not None and bool(known.position)

    def ask_again(self) -> None:
        """Ask for all positions soon."""
        self._next_positions_ns = 0

    def refresh(self, con_ids: Iterable[int]) -> None:
        """Show what the books say now in the `positions` hash."""
        for con_id in con_ids:
            known = self._positions.get(con_id)
            shares, unexplained = self.books(con_id)
            if known is None and not unexplained:
                continue
            if known is None:
                known = PositionReport(account=self._account, con_id=con_id, position=Decimal(0))
            report = known.model_copy(update={"shares": shares, "unexplained": unexplained})
            self._positions[con_id] = report
            self._outbox.put_hash(self._bus.keys.positions, {str(con_id): encode_body(report)})

    # -- told by the data session

    def value(self, account: str, tag: str, value: str, currency: str) -> None:
        """Take one account value."""
        if account and account != self._account:
            self._foreign(account)
            return
        self.on_value(tag, value, currency)
        if self._values.get((tag, currency)) != value:
            self._values[tag, currency] = value
            self._changed[tag, currency] = value

    def position(self, position: BrokerPosition) -> None:
        """Take a position; publish it when it changed."""
        if position.account != self._account:
            self._foreign(position.account)
            return
        if position.con_id <= 0:
            return
        known = self._positions.get(position.con_id)
        said = (position.position, position.average_cost, position.symbol)
        if known is not None and (known.position, known.average_cost, known.symbol) == said:
            return
        self._report(
            PositionReport(
                ts_init_ns=self._clock.wall_ns(), account=self._account, con_id=position.con_id,
                contract=position.contract, symbol=position.symbol, currency=position.currency,
                position=position.position, average_cost=position.average_cost,
                market_price=known.market_price if known is not None else None,
                realized_pnl=known.realized_pnl if known is not None else None,
            )
        )  # fmt: skip

    def portfolio(self, position: BrokerPosition, price: float, unrealized: float, realized: float) -> None:
        """Take a portfolio line: a position with its price and P&L, at most every two seconds per contract."""
        if position.account != self._account or position.con_id <= 0:
            return
        known = self._positions.get(position.con_id)
        now_ns = self._clock.monotonic_ns()
        is_same = known is not None and known.position == position.position
        if is_same and now_ns - self._priced.get(position.con_id, 0) < PRICES_EVERY_S * NS_PER_S:
            return
        self._priced[position.con_id] = now_ns
        self._report(
            PositionReport(
                ts_init_ns=self._clock.wall_ns(), account=self._account, con_id=position.con_id,
                contract=position.contract, symbol=position.symbol, currency=position.currency,
                position=position.position, average_cost=position.average_cost, market_price=_decimal(price),
                unrealized_pnl=_decimal(unrealized), realized_pnl=_decimal(realized),
            )
        )  # fmt: skip

    def pnl(self, daily: float, unrealized: float, realized: float) -> None:
        """Take IB's own P&L."""
        report = PnlReport(
            ts_init_ns=self._clock.wall_ns(), account=self._account, daily=_decimal(daily),
            unrealized=_decimal(unrealized), realized=_decimal(realized),
        )  # fmt: skip
        self._pnl_changed = self._pnl_changed or self._pnl is None or not _same(self._pnl, report)
        self._pnl = report

    def _foreign(self, account: str) -> None:
        if account not in self._others:
            self._others.add(account)
            get_logger().warning("account.ignored", account=account)

    def _report(self, report: PositionReport) -> None:
        shares, unexplained = self.books(report.con_id)
        report = report.model_copy(update={"shares": shares, "unexplained": unexplained})
        self._positions[report.con_id] = report
        self._outbox.put(self._bus.keys.account, report)
        self._outbox.put_hash(self._bus.keys.positions, {str(report.con_id): encode_body(report)})

    # -- loops

    async def run(self) -> None:
        """Watch the account on each data session until cancelled."""
        while True:
            session = self._session()
            if session is None or not session.is_open:
                self._is_watching = None
                await self._clock.sleep(0.1)
                continue
            now_ns = self._clock.monotonic_ns()
            try:
                if session is not self._is_watching:
                    await self._begin(session)
                    self._next_positions_ns = 0
                if now_ns >= self._next_positions_ns:
                    await self._all_positions(session)
                    self._next_positions_ns = self._clock.monotonic_ns() + int(POSITIONS_EVERY_S * NS_PER_S)
            except TransientError as e:
                get_logger().warning("account.not_answered", error=str(e))
                await self._clock.sleep(1.0)
                continue
            self._publish_changes(is_full=False)
            await self._clock.sleep(CHANGES_EVERY_S)

    async def _begin(self, session: IbSession) -> None:
        self._is_complete = False
        self._values.clear()
        self._changed.clear()
        await session.account_values(self._account, limit_s=self._limit_s)
        session.watch_pnl(self._account)
        self._is_watching = session
        self._publish_changes(is_full=True)

    async def _all_positions(self, session: IbSession) -> None:
        found = await session.positions(limit_s=self._limit_s)
        held = {each.con_id for each in found if each.account == self._account and each.position}
        for con_id, known in list(self._positions.items()):
            if con_id not in held and known.position:
                self._report(known.model_copy(update={"position": Decimal(0), "ts_init_ns": self._clock.wall_ns()}))
        self._is_complete = True
        con_ids = tuple(sorted(held))
        self._outbox.put(
            self._bus.keys.account,
            PositionsComplete(ts_init_ns=self._clock.wall_ns(), account=self._account, con_ids=con_ids),
        )
        stored = await self._bus.hash_get_all(self._bus.keys.positions)
        self._outbox.delete_fields(
            self._bus.keys.positions, [name for name in stored if int(name) not in self._positions]
        )

    def _publish_changes(self, *, is_full: bool) -> None:
        if self._changed or is_full:
            chosen = self._values if is_full else self._changed
            tags = tuple(AccountTag(tag=tag, value=value, currency=cur) for (tag, cur), value in chosen.items())
            currency = self.base_currency()
            self._outbox.put(
                self._bus.keys.account,
                AccountSnapshot(
                    ts_init_ns=self._clock.wall_ns(), account=self._account, currency=currency, values=tags,
                    is_full=is_full,
                ),
            )  # fmt: skip
            hashed: dict[str, str | bytes] = {
                f"{tag}:{cur}" if cur else tag: value for (tag, cur), value in chosen.items()
            }
            self._outbox.put_hash(self._bus.keys.account_values, hashed)
            self._publish_rates(chosen)
            self._changed.clear()
        if self._pnl_changed and self._pnl is not None:
            self._pnl_changed = False
            self._outbox.put(self._bus.keys.account, self._pnl)

    def _publish_rates(self, values: dict[tuple[str, str], str]) -> None:
        for (tag, currency), value in values.items():
            rate = _decimal(value) if tag == "ExchangeRate" and currency not in ("", "BASE") else None
            if rate is not None and rate > 0:
                self._outbox.put(
                    self._bus.keys.account,
                    ExchangeRate(ts_init_ns=self._clock.wall_ns(), account=self._account, currency=currency, rate=rate),
                )

    def base_currency(self) -> str:
        """Return the account's base currency, nothing while it is not known."""
        for (tag, currency), value in self._values.items():
            if tag == "NetLiquidation" and currency not in ("", "BASE"):
                return currency
            if tag == "Currency" and value and value != "BASE":
                return value
        return ""

    def stop(self) -> None:
        """End the account's subscriptions: the leadership is over."""
        session = self._session()
        if session is not None and session is self._is_watching:
            session.stop_account_values(self._account)
        self._is_watching = None
        self._is_complete = False
        self._positions.clear()
        self._values.clear()
        self._changed.clear()
        self._pnl = None


def _decimal(value: float | str) -> Decimal | None:
    try:
        if isinstance(value, float) and (not math.isfinite(value) or abs(value) > 1e300):
            return None
        return decimal_of(value)
    except (ValueError, InvalidOperation):
        return None


def _same(first: PnlReport, second: PnlReport) -> bool:
    return (first.daily, first.unrealized, first.realized) == (second.daily, second.unrealized, second.realized)

"""Keep risk's book: event-sourced from approvals, order events, fills, account, contracts and prices (P7, P11).

Invariants:
1. An approval reserves its worst case at once, until the first order event of that intent and leg.
2. Quantity leaves "working" only into "position": filled = max(reported, sum of executions), whichever comes first.
3. Sums per contract and of the account are kept running; `tests/property` compares them with the whole history.
4. Applying a message twice changes nothing; messages of one stream come in its order, streams among each other in any.
5. Memory is bounded by what works: an order whose legs have all ended is packed after a minute and dropped after days
   (`ended.py`).

Known limit: where `fills` was trimmed and no snapshot tells whose they were, what the lost entries held shows as
`unassigned`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from services.risk.core.breakers import Breakers
from services.risk.core.days import TradingDay
from services.risk.core.orders import Orders
from services.risk.core.positions import ContractExposure
from services.risk.core.profiles import TRADING_DAY
from services.risk.core.readiness import Readiness
from shared.ids import UNASSIGNED
from shared.messages.account import (
    AccountSnapshot,
    BookMove,
    ExchangeRate,
    JournalEntry,
    JournalKind,
    PnlReport,
    PositionReport,
    PositionsComplete,
    Unexplained,
)
from shared.messages.base import Message
from shared.messages.control import BrokerStatus, Control, ControlAction, HaltStatus, Reconciled, SharesToBorrow
from shared.messages.market import ContractInfo
from shared.messages.orders import CancelCommand, Command, Commission, Fill, OrderEvent
from shared.money import ZERO

KEEP_MOVES = 1000
_TAGS = {"NetLiquidation": "net_liquidation", "TotalCashValue": "cash", "DayTradesRemaining": "day_trades_left"}


class Book(Orders):
    """The account as risk sees it.

    Args:
        account: the one account of the deployment; what belongs to others is ignored.
        incarnation: of the order-flow server that the book was read from.
        day: the trading day that counts and losses belong to.
    """

    __slots__ = (
        "_appliers", "_epoch", "_has_baseline", "_positions_seen", "_reported", "breakers", "buying_power", "cash",
        "day_trades_left", "incarnation", "moves", "net_liquidation", "readiness", "stamp", "worth_seen",
    )  # fmt: skip

    def __init__(self, account: str, *, incarnation: str = "", epoch: int = 0, day: TradingDay = TRADING_DAY) -> None:
        super().__init__(account, day)
        self.incarnation = incarnation
        self.stamp: dict[str, object] = dict.fromkeys(Command.model_fields) | {"incarnation": incarnation}
        """What every command carries of this book, with room for the rest: copied for each."""
        self.stamp["is_reducing"] = False
        self.epoch = epoch
        self.buying_power: Decimal | None = None
        self.net_liquidation: Decimal | None = None
        self.cash: Decimal | None = None
        self.day_trades_left: Decimal | None = None
        """Day trades that the broker still allows; -1 without a limit, None where it does not say."""
        self.worth_seen = 1
        """Grows with every report of the account's figures: what was made of them is made anew."""
        self.breakers = Breakers()
        self.readiness = Readiness()
        self._has_baseline = False
        self._positions_seen = False
        self._reported: dict[int, None] = {}
        self.moves: dict[str, None] = {}
        """Moves between owners that count already."""
        self._appliers: Mapping[type[Message], Callable[[Any, int], None]] = {
            Command: self._apply_command,
            CancelCommand: self._apply_cancel,
            OrderEvent: self._apply_order,
            Fill: self._apply_fill,
            Commission: self._apply_commission,
            PositionReport: self._apply_position,
            PositionsComplete: self._apply_positions_complete,
            AccountSnapshot: self._apply_account,
            ExchangeRate: self._apply_rate,
            PnlReport: self._apply_pnl,
            Unexplained: self._apply_unexplained,
            BookMove: self._apply_book_move,
            JournalEntry: self._apply_journal,
            ContractInfo: self._apply_contract,
            Control: self._apply_control,
            HaltStatus: self._apply_halt,
            BrokerStatus: self._apply_status,
            Reconciled: self._apply_reconciled,
            SharesToBorrow: self._apply_shares,
        }

    @property
    def epoch(self) -> int:
        """The epoch of the risk that leads with this book."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = self.stamp["risk_epoch"] = epoch

    # -- taking what happened

    def apply(self, message: Message, now_ns: int) -> None:
        """Take one message of any stream; types that mean nothing here are ignored.

        Args:
            message: what was read.
            now_ns: when it was written to the stream, wall time.
        """
        applier = self._appliers.get(type(message))
        if applier is not None:
            self.seen_ns = now_ns
            applier(message, now_ns)
            self.put_away(now_ns)

    # -- account, contracts, prices

    def _apply_position(self, report: PositionReport, now_ns: int) -> None:
        if report.account != self.account:
            return
        contract = self.contract(report.con_id)
        contract.average_cost = report.average_cost
        contract.market_price = report.market_price
        contract.currency = report.currency or contract.currency
        self._reported[report.con_id] = None
        self._take_broker(contract, report.position, now_ns)
        self.sums.price_moved(contract)

    def _take_broker(self, contract: ContractExposure, position: Decimal, now_ns: int) -> None:
        if not self._has_baseline:
            contract.broker = position
            return
        before = contract.bounds
        contract.report(position, now_ns)
        self._note_difference(contract)
        if contract.bounds != before:
            self.sums.quantities_changed(contract)

    def _apply_positions_complete(self, message: PositionsComplete, now_ns: int) -> None:
        if message.account != self.account:
            return
        named = dict.fromkeys(message.con_ids) | self._reported
        self._reported = {}
        for con_id, contract in self.contracts.items():
            if con_id not in named and (contract.total or contract.broker):
                self._take_broker(contract, ZERO, now_ns)
        self._positions_seen = True
        self._try_baseline(now_ns)

    def _try_baseline(self, now_ns: int) -> None:
        """Give what the account held at the first reconciliation to `unassigned`, once."""
        if self._has_baseline or not self._positions_seen or not self.readiness.was_reconciled:
            return
        self._has_baseline = True
        self.rebase(now_ns)

    def baseline_stored(self) -> list[bool]:
        """Return what is known of the first reconciliation, for a snapshot."""
        return [self._has_baseline, self._positions_seen]

    def baseline_restore(self, stored: list[bool]) -> None:
        """Take `baseline_stored` of a snapshot."""
        self._has_baseline, self._positions_seen = stored

    def rebase(self, now_ns: int) -> None:
        """Give every difference between the broker's positions and ours to `unassigned`."""
        for contract in self.contracts.values():
            if contract.broker is not None and contract.broker != contract.total:
                contract.move(UNASSIGNED, contract.broker - contract.total, now_ns)
                self._note_difference(contract)
                self.sums.quantities_changed(contract)

    def _apply_unexplained(self, message: Unexplained, _: int) -> None:
        contract = self.contract(message.con_id)
        if message.account == self.account and contract.broker != contract.total:
            contract.unexplained = message.text or f"expected {message.expected}, the broker shows {message.reported}"

    def _apply_book_move(self, move: BookMove, now_ns: int) -> None:
        """Take what a person accepted; what we have given to `unassigned` by ourselves does not count twice."""
        contract = self.contract(move.con_id)
        if move.taken_from:
            self._apply_assignment(contract, move, now_ns)
        elif move.account == self.account and contract.broker == contract.total + move.quantity:
            contract.move(move.strategy, move.quantity, now_ns)
            self._note_difference(contract)
            self.sums.quantities_changed(contract)

    def _apply_assignment(self, contract: ContractExposure, move: BookMove, now_ns: int) -> None:
        """Move a quantity from one owner to another, once; the account's position stays."""
        if move.account != self.account or not self._is_new_move(move.move_id):
            return
        for owner, change in ((move.taken_from, -move.quantity), (move.strategy, move.quantity)):
            contract.give(owner, change)
            if move.price > ZERO:
                self.profits.executed(owner, move.con_id, change, move.price, now_ns)

    def _apply_journal(self, entry: JournalEntry, _: int) -> None:
        """Take a split, once: the broker's position is reported before it, and shares move between owners after it."""
        after = self.contract(entry.con_id).broker
        if entry.account != self.account or entry.kind is not JournalKind.SPLIT or not after:
            return
        before, name = after - entry.quantity, f"split:{entry.con_id}:{entry.quantity}:{after}"
        if before * after > ZERO and self._is_new_move(name):
            self.profits.split(entry.con_id, before, after)

    def _is_new_move(self, name: str) -> bool:
        if name in self.moves:
            return False
        self.moves[name] = None
        while len(self.moves) > KEEP_MOVES:
            del self.moves[next(iter(self.moves))]
        return True

    def _apply_account(self, snapshot: AccountSnapshot, _: int) -> None:
        if snapshot.account != self.account:
            return
        if snapshot.currency and snapshot.currency != self.sums.base_currency:
            self.sums.set_base(snapshot.currency, self.contracts)
        self.worth_seen += 1
        for tag in snapshot.values:
            if tag.tag == "BuyingPower" and tag.currency in ("", "BASE", self.sums.base_currency):
                self.buying_power = _number(tag.value)
                self.filled_since = ZERO
            elif tag.tag in _TAGS and tag.currency in ("", "BASE", self.sums.base_currency):
                setattr(self, _TAGS[tag.tag], _number(tag.value))
            elif tag.tag == "ExchangeRate" and tag.currency:
                self.sums.set_rate(tag.currency, _number(tag.value), self.contracts)

    def _apply_rate(self, message: ExchangeRate, _: int) -> None:
        if message.account == self.account:
            self.sums.set_rate(message.currency, message.rate, self.contracts)

    def _apply_pnl(self, report: PnlReport, now_ns: int) -> None:
        if report.account == self.account:
            self.activity.advance(now_ns)
            self.breakers.note_pnl(report.daily, self.activity.started_ns)

    def _apply_commission(self, message: Commission, now_ns: int) -> None:
        rate = self.sums.rate_of(message.currency)
        if message.account == self.account and rate is not None:
            self.profits.charged(message.strategy, message.exec_id, message.commission * rate, now_ns)

    def _apply_contract(self, info: ContractInfo, _: int) -> None:
        contract = self.contract(info.con_id)
        contract.info = info
        contract.currency = info.currency
        self.sums.terms_changed(contract)

    def apply_tick(self, con_id: int, kind: int, quality: int, ts_ns: int, a: float, c: float) -> None:
        """Take one tick record; see `Quote.apply`."""
        contract = self.contract(con_id)
        contract.quote.apply(kind, quality, ts_ns, a, c)
        self.sums.price_moved(contract)

    def take_quotes(self, other: Book) -> None:
        """Go on with the last prices of another book; prices are not rebuilt from streams."""
        for con_id, contract in other.contracts.items():
            if contract.quote.ts_ns:
                mine = self.contract(con_id)
                mine.quote = contract.quote
                self.sums.price_moved(mine)

    # -- control and status

    def _apply_control(self, control: Control, now_ns: int) -> None:
        self.breakers.apply(control)
        if control.action in (ControlAction.RESUME, ControlAction.RESUME_STRATEGY):
            strategy = "" if control.scope == "account" else control.scope.rpartition(":")[2]
            self.oddities.resume(strategy)
            self.activity.resume(strategy)
            if not control.scope.startswith("contract:"):
                self.profits.accept(strategy, self.contracts, now_ns)

    def _apply_halt(self, status: HaltStatus, _: int) -> None:
        self.breakers.set_stage(str(status.stage), status.reason)

    def _apply_status(self, status: BrokerStatus, _: int) -> None:
        self.readiness.apply_status(status)

    def _apply_shares(self, message: SharesToBorrow, _: int) -> None:
        self.contract(message.con_id).lendable = message.shares

    def _apply_reconciled(self, message: Reconciled, now_ns: int) -> None:
        before = self.readiness.reconciled_in
        self.readiness.apply_reconciled(message)
        self._try_baseline(now_ns)
        if self.readiness.reconciled_in != before:
            self._doubt_positions()

    def _doubt_positions(self) -> None:
        """Trust no position of our own alone: another server may have lost fills that the broker shows no more."""
        for contract in self.contracts.values():
            contract.doubt()
            self.sums.quantities_changed(contract)

    def advance(self, now_ns: int) -> None:
        """Bring values and the comparison of the books up to `now_ns`; called before each decision."""
        self.sums.advance()
        for contract in self.differing.values():
            if contract.settle(now_ns):
                self.sums.quantities_changed(contract)


def _number(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return value if value.is_finite() else None

"""Keep risk's book: event-sourced from approvals, order events, fills, account, contracts and prices (P7, P11).

Invariants:
1. An approval reserves its worst case at once, until the first order event of that intent and leg.
2. Quantity leaves "working" only into "position": filled = max(reported, sum of executions), whichever comes first.
3. Sums per contract and of the account are kept running; `tests/property` compares them with the whole history.
4. Applying a message twice changes nothing; messages of one stream come in its order, streams among each other in any.

Known limits: every leg of the retained streams is kept in memory (about 1 kB each); where `fills` was trimmed, what the
lost entries held shows as `unassigned`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from services.risk.core.breakers import Breakers
from services.risk.core.legs import Leg, OrderGroup
from services.risk.core.positions import ContractExposure
from services.risk.core.rates import TokenBucket
from services.risk.core.readiness import Readiness
from services.risk.core.sums import Sums
from shared.ids import UNASSIGNED
from shared.messages.account import (
    AccountSnapshot,
    ExchangeRate,
    PnlReport,
    PositionReport,
    PositionsComplete,
    Unexplained,
)
from shared.messages.base import Message
from shared.messages.control import BrokerStatus, Control, HaltStatus, Reconciled
from shared.messages.market import ContractInfo
from shared.messages.orders import Command, Fill, Group, Intent, IntentAction, OrderEvent, OrderState
from shared.money import ZERO

MODIFY_CLAIMED = "GATEWAY_MODIFY"
"""Code of the gateway's claim of a MODIFY intent: such an event is no order."""


class Book:
    """The account as risk sees it.

    Args:
        account: the one account of the deployment; what belongs to others is ignored.
        incarnation: of the order-flow server that the book was read from.
    """

    def __init__(self, account: str, *, incarnation: str = "", epoch: int = 0) -> None:
        self.account = account
        self.incarnation = incarnation
        self.epoch = epoch
        self.contracts: dict[int, ContractExposure] = {}
        self.groups: dict[str, OrderGroup] = {}
        self.modifies: dict[str, tuple[str, int]] = {}
        """Intent id of a modify → (intent id, leg) of the order it changes."""
        self.sums = Sums()
        self.buying_power: Decimal | None = None
        self.filled_since: Decimal = ZERO
        """Base currency of fills that opened positions since the last buying power: it may not show them yet."""
        self.open_orders = 0
        self.breakers = Breakers()
        self.readiness = Readiness()
        self.account_bucket = TokenBucket()
        self.strategy_buckets: dict[str, TokenBucket] = {}
        self._has_baseline = False
        self._positions_seen = False
        self._reported: dict[int, None] = {}
        self._differing: dict[int, ContractExposure] = {}
        self._appliers: Mapping[type[Message], Callable[[Any, int], None]] = {
            Command: self._apply_command,
            OrderEvent: self._apply_order,
            Fill: self._apply_fill,
            PositionReport: self._apply_position,
            PositionsComplete: self._apply_positions_complete,
            AccountSnapshot: self._apply_account,
            ExchangeRate: self._apply_rate,
            PnlReport: self._apply_pnl,
            Unexplained: self._apply_unexplained,
            ContractInfo: self._apply_contract,
            Control: self._apply_control,
            HaltStatus: self._apply_halt,
            BrokerStatus: self._apply_status,
            Reconciled: self._apply_reconciled,
        }

    # -- taking what happened

    def apply(self, message: Message, now_ns: int) -> None:
        """Take one message of any stream; types that mean nothing here are ignored.

        Args:
            message: what was read.
            now_ns: when it was written to the stream, wall time.
        """
        applier = self._appliers.get(type(message))
        if applier is not None:
            applier(message, now_ns)

    def contract(self, con_id: int) -> ContractExposure:
        """Return a contract's exposure, made empty if it is new."""
        found = self.contracts.get(con_id)
        if found is None:
            found = self.contracts[con_id] = ContractExposure(con_id)
        return found

    def reserve(self, intent: Intent, now_ns: int, limits_rates: tuple[float, float, float, float]) -> None:
        """Count an approved intent from now on, and take it from the order rates.

        Args:
            intent: the approved intent; reserving it twice changes nothing.
            now_ns: time of the approval.
            limits_rates: strategy's rate and burst, account's rate and burst (orders per second, orders).
        """
        if self._is_known(intent):
            return
        bucket = self.strategy_buckets.setdefault(intent.strategy, TokenBucket())
        bucket.take(limits_rates[0], limits_rates[1], now_ns)
        self.account_bucket.take(limits_rates[2], limits_rates[3], now_ns)
        self._count(intent)

    def _is_known(self, intent: Intent) -> bool:
        group = self.groups.get(intent.intent_id)
        if group is None:
            return intent.intent_id in self.modifies
        legs = [group.legs.get(terms.leg) for terms in intent.legs]
        return all(leg is not None and (leg.is_open or leg.is_shown) for leg in legs)

    def _count(self, intent: Intent) -> None:
        if intent.action is IntentAction.MODIFY:
            group = self.groups.get(intent.modifies)
            terms = intent.legs[0]
            leg = group.legs.get(terms.leg) if group is not None else None
            self.modifies[intent.intent_id] = (intent.modifies, terms.leg)
            if group is not None and leg is not None and leg.is_open:
                leg.pending[intent.intent_id] = (terms.quantity, terms.limit_price, terms.stop_price)
                self._recount(group)
            return
        group = self._group(intent.intent_id, intent.con_id, intent.strategy, intent.group)
        for terms in intent.legs:
            group.leg(terms.leg, terms.side.sign).reserve(terms)
        self._recount(group)

    def release(self, intent: Intent) -> None:
        """Take back a reservation whose approval was never written."""
        modified = self.modifies.pop(intent.intent_id, None)
        if modified is not None:
            self._end_modify(intent.intent_id, modified, is_taken=False)
            return
        released = self.groups.get(intent.intent_id)
        if released is not None:
            for leg in released.legs.values():
                leg.is_open = leg.is_open and leg.is_shown
            self._recount(released)

    def _apply_command(self, command: Command, now_ns: int) -> None:
        if command.intent.account == self.account:
            self.reserve(command.intent, now_ns, (1e9, 1e9, 1e9, 1e9))

    def _apply_order(self, event: OrderEvent, now_ns: int) -> None:
        if event.account != self.account:
            return
        modified = self.modifies.get(event.intent_id)
        if modified is not None:
            if event.state.is_final:
                self._end_modify(event.intent_id, modified, is_taken=event.state is OrderState.MODIFIED)
            return
        key = event.intent_id or _foreign_key(event.perm_id, event.order_ref)
        if not key or event.code == MODIFY_CLAIMED:
            return
        group = self._group(key, event.con_id, event.strategy, event.group, is_external=event.is_external)
        leg = group.leg(event.leg, event.side.sign)
        before = leg.filled
        leg.apply_event(event)
        self._moved(group, leg, leg.filled - before, now_ns)

    def _end_modify(self, intent_id: str, target: tuple[str, int], *, is_taken: bool) -> None:
        """End the doubt about a modify; terms the broker took hold until the order's own event shows them."""
        group = self.groups.get(target[0])
        leg = group.legs.get(target[1]) if group is not None else None
        if group is None or leg is None:
            return
        terms = leg.pending.pop(intent_id, None)
        if is_taken and terms is not None:
            leg.quantity, leg.limit_price, leg.stop_price = terms
        self._recount(group)

    def _apply_fill(self, fill: Fill, now_ns: int) -> None:
        if fill.account != self.account:
            return
        key = fill.intent_id or _foreign_key(fill.perm_id, fill.order_ref) or f"exec:{fill.exec_stem}"
        group = self._group(key, fill.con_id, fill.strategy, Group.SINGLE, is_external=not fill.intent_id)
        leg = group.leg(fill.leg, fill.side.sign)
        before = leg.filled
        if leg.apply_fill(fill):
            self._moved(group, leg, leg.filled - before, now_ns)

    def _moved(self, group: OrderGroup, leg: Leg, change: Decimal, now_ns: int) -> None:
        if change:
            contract = self.contract(group.con_id)
            before = abs(contract.total)
            contract.move(group.strategy, change * leg.sign, now_ns)
            self._note_difference(contract)
            grown = abs(contract.total) - before
            if grown > 0 and contract.value is not None:
                self.filled_since += grown * contract.value
        self._recount(group)

    def _group(self, key: str, con_id: int, strategy: str, kind: Group, *, is_external: bool = False) -> OrderGroup:
        group = self.groups.get(key)
        if group is None:
            owner = UNASSIGNED if is_external else strategy
            group = self.groups[key] = OrderGroup(key, con_id, owner, kind, is_external=is_external)
            self.contract(con_id).groups[key] = group
        elif group.kind is Group.SINGLE:
            group.kind = kind  # a fill that came first could not tell
        return group

    def _recount(self, group: OrderGroup) -> None:
        buys, sells, open_buys, open_sells = group.buys, group.sells, group.open_buys, group.open_sells
        group.recount()
        contract = self.contract(group.con_id)
        contract.add_work(
            group.strategy,
            group.buys - buys,
            group.sells - sells,
            group.open_buys - open_buys,
            group.open_sells - open_sells,
        )
        self.open_orders += group.open_buys + group.open_sells - open_buys - open_sells
        self.sums.quantities_changed(contract)

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
        was_mismatched = contract.is_mismatched
        contract.report(position, now_ns)
        self._note_difference(contract)
        if was_mismatched:
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

    def rebase(self, now_ns: int) -> None:
        """Give every difference between the broker's positions and ours to `unassigned`."""
        for contract in self.contracts.values():
            if contract.broker is not None and contract.broker != contract.total:
                contract.move(UNASSIGNED, contract.broker - contract.total, now_ns)
                self._note_difference(contract)
                self.sums.quantities_changed(contract)

    def _note_difference(self, contract: ContractExposure) -> None:
        if contract.differs_since_ns:
            self._differing[contract.con_id] = contract
        elif contract.con_id in self._differing:
            del self._differing[contract.con_id]
            self.sums.quantities_changed(contract)

    def _apply_unexplained(self, message: Unexplained, _: int) -> None:
        contract = self.contract(message.con_id)
        if message.account == self.account and contract.broker != contract.total:
            contract.unexplained = message.text or f"expected {message.expected}, the broker shows {message.reported}"

    def _apply_account(self, snapshot: AccountSnapshot, _: int) -> None:
        if snapshot.account != self.account:
            return
        if snapshot.currency and snapshot.currency != self.sums.base_currency:
            self.sums.set_base(snapshot.currency, self.contracts)
        for tag in snapshot.values:
            if tag.tag == "BuyingPower" and tag.currency in ("", "BASE", self.sums.base_currency):
                self.buying_power = _number(tag.value)
                self.filled_since = ZERO
            elif tag.tag == "ExchangeRate" and tag.currency:
                self.sums.set_rate(tag.currency, _number(tag.value), self.contracts)

    def _apply_rate(self, message: ExchangeRate, _: int) -> None:
        if message.account == self.account:
            self.sums.set_rate(message.currency, message.rate, self.contracts)

    def _apply_pnl(self, report: PnlReport, _: int) -> None:
        if report.account == self.account:
            self.breakers.note_pnl(report.daily)

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

    def _apply_control(self, control: Control, _: int) -> None:
        self.breakers.apply(control)

    def _apply_halt(self, status: HaltStatus, _: int) -> None:
        self.breakers.set_stage(str(status.stage), status.reason)

    def _apply_status(self, status: BrokerStatus, _: int) -> None:
        self.readiness.apply_status(status)

    def _apply_reconciled(self, message: Reconciled, now_ns: int) -> None:
        self.readiness.apply_reconciled(message)
        self._try_baseline(now_ns)

    def advance(self, now_ns: int) -> None:
        """Bring values and the comparison of the books up to `now_ns`; called before each decision."""
        self.sums.advance()
        for contract in self._differing.values():
            if contract.settle(now_ns):
                self.sums.quantities_changed(contract)


def _foreign_key(perm_id: int, order_ref: str) -> str:
    """Return the key of an order that is not ours."""
    return f"perm:{perm_id}" if perm_id else order_ref


def _number(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except ArithmeticError:
        return None
    return value if value.is_finite() else None

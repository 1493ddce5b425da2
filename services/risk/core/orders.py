"""Follow every order that may still fill: approvals reserved, order events, executions, what has ended (P2, P4, P7).

The part of risk's book that `exposure.py` builds on; its invariants are stated there.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from services.risk.core.activity import Activity
from services.risk.core.days import TradingDay
from services.risk.core.ended import Ended
from services.risk.core.legs import Leg, OrderGroup
from services.risk.core.margins import Margins
from services.risk.core.messages import MessageCount
from services.risk.core.oddities import ERRORS, Oddities
from services.risk.core.positions import ContractExposure
from services.risk.core.profits import Profits
from services.risk.core.rates import TokenBucket
from services.risk.core.sums import Sums
from shared.ids import UNASSIGNED
from shared.messages.orders import (
    CancelCommand,
    Command,
    Fill,
    Group,
    Intent,
    IntentAction,
    OrderEvent,
    OrderState,
    Side,
)
from shared.money import ZERO

_MODIFY, _BUY = IntentAction.MODIFY, Side.BUY
SETTLED_NS = 60_000_000_000
"""How long an ended order stays at hand: its last executions come within seconds."""
MODIFY_CLAIMED = "GATEWAY_MODIFY"
"""Code of the gateway's claim of a MODIFY intent: such an event is no order."""


class Orders:
    """The orders of an account, and what they do to its contracts."""

    __slots__ = (
        "_closed", "account", "account_bucket", "activity", "contracts", "differing", "due_ns", "ended",
        "filled_since", "groups", "margins", "messages", "modifies", "oddities", "open_orders", "profits",
        "profits_due_ns", "seen_ns", "strategy_buckets", "sums", "unwritten",
    )  # fmt: skip

    def __init__(self, account: str, day: TradingDay) -> None:
        self.account = account
        self.sums = Sums()
        self.contracts: dict[int, ContractExposure] = {}
        self.groups: dict[str, OrderGroup] = {}
        self.modifies: dict[str, tuple[str, int]] = {}
        """Intent id of a modify → (intent id, leg) of the order it changes."""
        self.ended = Ended()
        self.unwritten: dict[str, int] = {}
        """Approvals reserved here (and when) that the stream of commands has not shown yet."""
        self._closed: deque[tuple[int, str]] = deque()
        self.seen_ns = 0
        """Time of the newest message."""
        self.differing: dict[int, ContractExposure] = {}
        self.open_orders = 0
        self.filled_since: Decimal = ZERO
        """Base currency of fills that opened positions since the last buying power: it may not show them yet."""
        self.activity = Activity(day)
        self.profits = Profits(day)
        self.profits_due_ns: dict[str, int] = {}
        """Strategy → when its profit is looked at again."""
        self.due_ns = 0
        """When a trading day ends or the account's profit is looked at again, the earlier; 0 while books differ."""
        self.oddities = Oddities()
        self.margins = Margins()
        self.messages = MessageCount()
        self.account_bucket = TokenBucket()
        self.strategy_buckets: dict[str, TokenBucket] = {}

    def contract(self, con_id: int) -> ContractExposure:
        """Return a contract's exposure, made empty if it is new."""
        found = self.contracts.get(con_id)
        if found is None:
            found = self.contracts[con_id] = ContractExposure(con_id)
        return found

    def reserve(self, intent: Intent, now_ns: int, limits_rates: tuple[float, float, float, float]) -> None:
        """Count an approved intent from now on, its messages too, and take it from the order rates.

        Args:
            intent: the approved intent; reserving it twice changes nothing.
            now_ns: time of the approval.
            limits_rates: strategy's rate and burst, account's rate and burst (orders per second, orders).
        """
        if self._is_known(intent):
            return
        asked = intent.__dict__  # a message answers for an attribute three times slower than its dict does
        strategy = asked["strategy"]
        bucket = self.strategy_buckets.get(strategy)
        if bucket is None:
            bucket = self.strategy_buckets[strategy] = TokenBucket()
        bucket.take(limits_rates[0], limits_rates[1], now_ns)
        self.account_bucket.take(limits_rates[2], limits_rates[3], now_ns)
        self.seen_ns = now_ns
        self.unwritten[asked["intent_id"]] = now_ns
        self.activity.approved(intent, now_ns)
        self.messages.sent(len(asked["legs"]), now_ns)
        if asked["action"] is _MODIFY:
            self._count_modify(intent)
            return
        group = self._group(asked["intent_id"], asked["con_id"], strategy, asked["group"])
        for terms in asked["legs"]:
            row = terms.__dict__
            group.leg(row["leg"], 1 if row["side"] is _BUY else -1).reserve(terms)
        self._recount(group)

    def _is_known(self, intent: Intent) -> bool:
        name = intent.intent_id
        group = self.groups.get(name)
        if group is None:
            return name in self.modifies or name in self.ended
        legs = [group.legs.get(terms.leg) for terms in intent.legs]
        return all(leg is not None and (leg.is_open or leg.is_shown) for leg in legs)

    def _count_modify(self, intent: Intent) -> None:
        group = self.groups.get(intent.modifies)
        terms = intent.legs[0]
        leg = group.legs.get(terms.leg) if group is not None else None
        self.modifies[intent.intent_id] = (intent.modifies, terms.leg)
        if group is not None and leg is not None and leg.is_open:
            leg.pending[intent.intent_id] = (terms.quantity, terms.limit_price, terms.stop_price)
            self._recount(group)

    def release(self, intent: Intent) -> None:
        """Take back a reservation whose approval was never written."""
        self.unwritten.pop(intent.intent_id, None)
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
            self.unwritten.pop(command.intent.intent_id, None)
            if command.margin_change is not None:
                self.margins.took(command.intent, command.margin_change, now_ns)

    def _apply_cancel(self, command: CancelCommand, now_ns: int) -> None:
        """Count what a cancel sends: one message for each of the orders it ends, and one where none is known."""
        cancel = command.cancel
        if cancel.account in ("", self.account):
            group = self.groups.get(cancel.intent_id) if cancel.leg is None else None
            self.messages.sent(1 if group is None else max(1, group.open_buys + group.open_sells), now_ns)

    def _apply_order(self, event: OrderEvent, now_ns: int) -> None:
        if event.account != self.account:
            return
        modified = self.modifies.get(event.intent_id)
        if modified is not None:
            if event.state.is_final:
                self._end_modify(event.intent_id, modified, is_taken=event.state is OrderState.MODIFIED)
                self._closed.append((now_ns, event.intent_id))
            return
        key = _key(event)
        if not key or event.code == MODIFY_CLAIMED or self.ended.is_modify(key):
            return
        kind = Group.SINGLE if event.is_double else event.group
        group = self._group(
            key, event.con_id, event.strategy, kind, is_external=event.is_external, is_double=event.is_double
        )
        leg = group.leg(event.leg, event.side.sign)
        before = leg.filled
        if event.state is OrderState.REJECTED and leg.state is not OrderState.REJECTED and event.intent_id:
            self.activity.rejected(group.strategy)
        elif event.state is OrderState.WORKING or event.state is OrderState.FILLED:
            self.activity.accepted(group.strategy)
        if event.state is OrderState.CANCELLED and leg.state is not event.state and event.intent_id:
            self.activity.cancelled(group.strategy, now_ns)
        if event.state in ERRORS and leg.state is not event.state and event.intent_id:
            self.oddities.erred(now_ns)
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
        key = _key(fill) or f"exec:{fill.exec_stem}"
        is_known = key in self.groups or key in self.ended
        group = self._group(
            key, fill.con_id, fill.strategy, Group.SINGLE, is_external=not fill.intent_id, is_double=fill.is_double
        )
        leg = group.leg(fill.leg, fill.side.sign)
        before, executed, is_new = leg.filled, leg.executed, fill.exec_stem not in leg.executions
        if leg.apply_fill(fill):
            self.oddities.executed(fill, leg, self.contract(fill.con_id).quote, now_ns, is_known=is_known)
            self._note_execution(group, leg, fill, (leg.executed - executed) * leg.sign, now_ns, is_new=is_new)
            self._moved(group, leg, leg.filled - before, now_ns)

    def _note_execution(
        self, group: OrderGroup, leg: Leg, fill: Fill, change: Decimal, now_ns: int, *, is_new: bool
    ) -> None:
        self.profits.executed(group.strategy, fill.con_id, change, fill.price, now_ns)
        if is_new:
            point = self.contract(fill.con_id).point
            value = None if point is None else fill.quantity * fill.price * point
            self.activity.executed(group.strategy, value, now_ns, is_first=len(leg.executions) == 1)

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

    def _group(
        self, key: str, con_id: int, strategy: str, kind: Group, *, is_external: bool = False, is_double: bool = False
    ) -> OrderGroup:
        group = self.groups.get(key)
        if group is None:
            group = self.ended.take(key)
            if group is None:
                owner = UNASSIGNED if is_external and not is_double else strategy
                group = OrderGroup(key, con_id, owner, kind, is_external=is_external or is_double)
                group.since_ns = self.seen_ns
            self.groups[key] = self.contract(group.con_id).groups[key] = group
        elif group.kind is Group.SINGLE:
            group.kind = kind  # a fill that came first could not tell
        return group

    def _recount(self, group: OrderGroup) -> None:
        buys, sells, open_buys, open_sells = group.buys, group.sells, group.open_buys, group.open_sells
        group.recount()
        contract = self.contract(group.con_id)
        contract.note_best(group.key, group.best_buy, group.best_sell)
        contract.add_work(
            group.strategy,
            group.buys - buys,
            group.sells - sells,
            group.open_buys - open_buys,
            group.open_sells - open_sells,
        )
        self.open_orders += group.open_buys + group.open_sells - open_buys - open_sells
        self.sums.quantities_changed(contract)
        if not group.open_buys and not group.open_sells:
            self._closed.append((self.seen_ns, group.key))
            self.margins.ended(group.key, self.seen_ns)

    # -- what has ended, and what a snapshot or another source tells

    def put_away(self, now_ns: int) -> None:
        """Pack the orders and modifies that ended more than a minute ago and did not come to life since."""
        while self._closed and now_ns - self._closed[0][0] > SETTLED_NS:
            ended_ns, key = self._closed.popleft()
            group = self.groups.get(key)
            if group is None:
                if self.modifies.pop(key, None) is not None:
                    self.ended.put_modify(key, ended_ns)
            elif not group.open_buys and not group.open_sells:
                del self.groups[key], self.contract(group.con_id).groups[key]
                self.ended.put(group, ended_ns)

    def adopt(self, group: OrderGroup) -> None:
        """Take an order as it stands, of which this book knows nothing yet; its fills are in the positions already."""
        self.groups[group.key] = self.contract(group.con_id).groups[group.key] = group
        group.buys = group.sells = ZERO  # nothing of it is counted here yet
        group.open_buys = group.open_sells = 0
        self._recount(group)

    def apply_open(self, event: OrderEvent, now_ns: int) -> bool:
        """Take a working order of the `open-orders` hash unless the streams told of it; return whether it was new."""
        key = _key(event)
        group = self.groups.get(key)
        leg = group.legs.get(event.leg) if group is not None else None
        if key in self.ended or (leg is not None and leg.is_shown):
            return False
        self.seen_ns = now_ns
        self._apply_order(event, now_ns)
        return True

    def forget_unseen(self, before_ns: int) -> list[str]:
        """End reservations from before a time of which the broker shows nothing; return their intents.

        For a take-over after `orders` was trimmed up to that time: what was claimed then and works still is among the
        open orders that were read before; what is not has ended, and its outcome was trimmed.
        """
        unseen = []
        for group in list(self.groups.values()):
            legs = [leg for leg in group.legs.values() if leg.is_open and not leg.is_shown]
            if legs and group.since_ns < before_ns:
                for leg in legs:
                    leg.is_open = False
                self._recount(group)
                unseen.append(group.key)
        return unseen

    def take_back(self, contract: ContractExposure) -> None:
        """Count a contract whose position a snapshot has set."""
        self._note_difference(contract)
        self.sums.quantities_changed(contract)
        self.sums.price_moved(contract)

    def _note_difference(self, contract: ContractExposure) -> None:
        if contract.differs_since_ns:
            self.differing[contract.con_id] = contract
            self.due_ns = 0
        elif contract.con_id in self.differing:
            del self.differing[contract.con_id]
            self.sums.quantities_changed(contract)


def _key(message: OrderEvent | Fill) -> str:
    """Return the intent of an order of ours; of one that is not, and of a second that IB made of ours, its permId."""
    return message.own_intent_id or (f"perm:{message.perm_id}" if message.perm_id else message.order_ref)

"""Trade and look from outside the services: what `cq`, scripts and the guide's classes are made of.

A desk talks to the bus only: its orders are intents that risk decides (P1); what it shows comes from the gateway's
snapshots. Every wait has a limit.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.bar_sizes import parse_bar_size
from shared.bus.keys import Keys
from shared.bus.ports import Bus
from shared.bus.redis_client import open_bus
from shared.clock import NS_PER_MS, NS_PER_S, SYSTEM_CLOCK, random_token
from shared.contracts import parse_contract
from shared.errors import BadInput, DecodeError, Refused, TimedOut, UnknownContract
from shared.ids import MANUAL, intent_id
from shared.messages import decode_fields
from shared.messages.account import BookMove, PositionReport
from shared.messages.base import Message
from shared.messages.codec import decode_body
from shared.messages.control import Control, ControlAction
from shared.messages.market import ContractInfo
from shared.messages.orders import (
    CancelRequest,
    Decision,
    Fill,
    Group,
    Intent,
    IntentAction,
    OrderEvent,
    OrderLeg,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from shared.messages.requests import (
    BarsAnswer,
    BarsPieces,
    BarsQuery,
    ContractAnswer,
    ContractQuery,
    HistoryBar,
    Query,
    WhatIfAnswer,
    WhatIfQuery,
)
from shared.settings import BrokerSettings

VALID_MARKET_S = 5.0
VALID_OTHER_S = 30.0
WATCH_S = 60
FRESH_S = 5
PRICE_RETRIES = 2
PRICE_RETRY_S = 1.0
SETTLED = frozenset({OrderState.WORKING, OrderState.UNKNOWN, OrderState.INACTIVE})


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """What a person asks for: one order, or with `take_profit` and `stop_loss` a bracket.

    Prices are in the contract's currency; `quantity` in shares or contracts.
    """

    side: Side
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tif: TimeInForce = TimeInForce.DAY
    outside_rth: bool = False
    strategy: str = MANUAL
    reason: str = ""

    @property
    def order_type(self) -> OrderType:
        """Return the type that the prices given make."""
        if self.limit_price is not None:
            return OrderType.STOP_LIMIT if self.stop_price is not None else OrderType.LIMIT
        return OrderType.STOP if self.stop_price is not None else OrderType.MARKET

    def legs(self) -> tuple[OrderLeg, ...]:
        """Return the order, followed by the bracket's children, which rest GTC at the broker."""
        parent = OrderLeg(
            side=self.side,
            quantity=self.quantity,
            order_type=self.order_type,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            tif=self.tif,
            outside_rth=self.outside_rth,
        )
        children: list[OrderLeg] = []
        for order_type, price in ((OrderType.LIMIT, self.take_profit), (OrderType.STOP, self.stop_loss)):
            if price is not None:
                children.append(
                    OrderLeg(
                        leg=len(children) + 1,
                        side=self.side.opposite,
                        quantity=self.quantity,
                        order_type=order_type,
                        limit_price=price if order_type is OrderType.LIMIT else None,
                        stop_price=price if order_type is OrderType.STOP else None,
                        tif=TimeInForce.GTC,
                        parent_leg=0,
                    )
                )
        return (parent, *children)


@dataclass(frozen=True, slots=True)
class OrderResult:
    """Where an order stood when the wait ended.

    `state` is risk's refusal (`rejected` by risk), a broker-confirmed working state, an outcome, or `unknown`.
    """

    intent_id: str
    state: str
    by: str = ""
    code: str = ""
    text: str = ""
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    events: tuple[Message, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Return whether nothing of it can trade any more and nothing traded."""
        return self.state in {"rejected", "refused", "expired", "not_sent"}


@dataclass(frozen=True, slots=True)
class Names:
    """Names of contracts by conId; the broker's messages name the same contract differently (`IBM`, `IBM@NYSE`)."""

    by_con_id: Mapping[int, str]

    def of(self, message: PositionReport | OrderEvent | Fill) -> str:
        """Return the name of a message's contract: the definition's, else what the message says."""
        known = self.by_con_id.get(message.con_id)
        return known or message.contract or getattr(message, "symbol", "") or f"#{message.con_id}"


@asynccontextmanager
async def open_desk(settings: BrokerSettings, *, client_name: str = "desk") -> AsyncIterator[Desk]:
    """Open a desk on the deployment that the settings name."""
    ticks_url = settings.redis_ticks_url.get_secret_value() if settings.redis_ticks_url else None
    bus = open_bus(settings.redis_url.get_secret_value(), settings.keys, ticks_url=ticks_url, client_name=client_name)
    try:
        yield Desk(bus, settings.account)
    finally:
        await bus.close()


class Desk:
    """One operator's access to a deployment.

    Args:
        bus: a connection with the operator's rights.
        account: the account every order carries.
    """

    def __init__(self, bus: Bus, account: str) -> None:
        self.bus = bus
        self._account = account
        self._client = f"desk-{random_token(8)}"
        self.source = f"desk:{self._client}"

    @property
    def keys(self) -> Keys:
        """Return the names on the bus."""
        return self.bus.keys

    # -- looking

    async def identity(self) -> dict[str, str]:
        """Return mode, account and id of the deployment, empty before its first start."""
        return {name: value.decode() for name, value in (await self.bus.hash_get_all(self.keys.identity)).items()}

    async def heartbeats(self) -> list[dict[str, Any]]:
        """Return the heartbeat of every live process."""
        rows = []
        for key in await self.bus.scan(self.keys.heartbeat_pattern()):
            text = await self.bus.get_text(key)
            if text is not None:
                rows.append(json.loads(text))
        return sorted(rows, key=lambda row: (row["service"], row["instance"]))

    async def positions(self) -> list[PositionReport]:
        """Return the broker's positions as last reported; flat ones only where the books do not add up."""
        return [report for report in await self.position_reports() if report.position != 0 or report.unexplained != 0]

    async def position_reports(self) -> list[PositionReport]:
        """Return the last report of every position, flat ones too: several owners may hold what adds up to nothing."""
        stored = await self.bus.hash_get_all(self.keys.positions)
        reports = [decode_body(PositionReport.TYPE, body) for body in stored.values()]
        return [report for report in reports if isinstance(report, PositionReport)]

    async def open_orders(self) -> list[OrderEvent]:
        """Return the last event of every order that is not final, unknown ones included."""
        stored = await self.bus.hash_get_all(self.keys.open_orders)
        events = [decode_body(OrderEvent.TYPE, body) for body in stored.values()]
        return sorted(
            (event for event in events if isinstance(event, OrderEvent)),
            key=lambda event: (event.order_ref, event.perm_id),
        )

    async def account_values(self) -> dict[str, str]:
        """Return the account's values by `tag` or `tag:currency`."""
        return {name: value.decode() for name, value in (await self.bus.hash_get_all(self.keys.account_values)).items()}

    async def halt_status(self) -> dict[str, str]:
        """Return the halt hash, empty where its state is missing (which means halted)."""
        return {name: value.decode() for name, value in (await self.bus.hash_get_all(self.keys.halt)).items()}

    async def last_price(self, con_id: int) -> dict[str, str]:
        """Return the snapshot of the last prices of a contract."""
        return {name: value.decode() for name, value in (await self.bus.hash_get_all(self.keys.last(con_id))).items()}

    async def fills(self) -> list[Fill]:
        """Return the retained executions, corrections in place of what they correct, oldest first."""
        return _corrected(await self.fills_with_repeats())

    async def fills_with_repeats(self) -> list[Fill]:
        """Return every retained entry of `fills` that is an execution, as written: what a checker counts."""
        return [message for message in await self._in_fills() if isinstance(message, Fill)]

    async def _in_fills(self) -> list[Message]:
        """Return every retained entry of `fills` that can be read."""
        found: list[Message] = []
        for entry in await self.bus.read_range(self.keys.fills):
            try:
                found.append(decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message)
            except BadInput:
                continue  # its reader dead-letters it; here it can only not be shown
        return found

    async def strategy_positions(self, strategy: str) -> dict[int, Decimal]:
        """Return signed shares by conId that a strategy's retained fills, and what people moved, add up to."""
        owned = await self.owned_positions()
        return {con_id: quantity for (owner, con_id), quantity in owned.items() if owner == strategy}

    async def owned_positions(self) -> dict[tuple[str, int], Decimal]:
        """Return signed shares by strategy and conId: retained fills and what people moved; flat ones are left out."""
        entries = await self._in_fills()
        fills = _corrected([entry for entry in entries if isinstance(entry, Fill)])
        moves = {entry.move_id: entry for entry in entries if isinstance(entry, BookMove)}
        changes = [(fill.strategy, fill.con_id, fill.side.sign * fill.quantity) for fill in fills]
        for move in moves.values():
            changes += [(move.strategy, move.con_id, move.quantity), (move.taken_from, move.con_id, -move.quantity)]
        owned: dict[tuple[str, int], Decimal] = {}
        for owner, con_id, change in changes:
            owned[owner, con_id] = owned.get((owner, con_id), Decimal(0)) + change
        return {key: quantity for key, quantity in owned.items() if quantity}

    # -- asking the gateway

    async def resolve(self, name: str, *, limit_s: float = 8.0) -> ContractInfo:
        """Return the one contract that a name means.

        Raises:
            UnknownContract: none, or several; `candidates` says how to write each.
            TimedOut: no gateway answered within `limit_s`.
        """
        canonical = str(parse_contract(name))
        known = (await self.bus.hash_get_all(self.keys.contract_names)).get(canonical)
        if known is not None:
            body = (await self.bus.hash_get_all(self.keys.contracts)).get(known.decode())
            found = decode_body(ContractInfo.TYPE, body) if body is not None else None
            if isinstance(found, ContractInfo):
                return found
        answer = await self._ask(ContractQuery, {"name": canonical}, limit_s)
        if not isinstance(answer, ContractAnswer):
            raise DecodeError(f"the gateway answered a contract query with a {type(answer).__name__}")
        if answer.error or len(answer.contracts) != 1:
            raise UnknownContract(
                answer.error or f"{name!r} is no contract that the broker knows", list(answer.candidates)
            )
        return answer.contracts[0]

    async def known_contracts(self) -> list[ContractInfo]:
        """Return the definitions of every contract that was resolved so far."""
        stored = await self.bus.hash_get_all(self.keys.contracts)
        found = [decode_body(ContractInfo.TYPE, body) for body in stored.values()]
        return [one for one in found if isinstance(one, ContractInfo)]

    async def names(self) -> Names:
        """Return how contracts are shown: what is known of them says it for every message alike."""
        return Names({info.con_id: info.name for info in await self.known_contracts()})

    async def search(self, pattern: str, *, limit_s: float = 8.0) -> ContractAnswer:
        """Return contracts that match a pattern.

        Raises:
            TimedOut: no gateway answered within `limit_s`.
        """
        answer = await self._ask(ContractQuery, {"name": pattern, "search": True}, limit_s)
        if not isinstance(answer, ContractAnswer):
            raise DecodeError(f"the gateway answered a contract search with a {type(answer).__name__}")
        return answer

    async def history(
        self,
        con_id: int,
        *,
        bar_size: str,
        span_s: int = 0,
        count: int = 0,
        end_ns: int = 0,
        what_to_show: str = "TRADES",
        use_rth: bool = True,
        closed_only: bool = False,
        limit_s: float = 120.0,
    ) -> list[HistoryBar]:
        """Return the last `count` bars, or those of the last `span_s` seconds, before `end_ns` (0: now), oldest first.

        Marketdata answers from its cache and asks the broker, in pieces and within IB's pacing, only for what it has
        not got. `closed_only` leaves out the bar that still grows.

        Raises:
            TimedOut: no answer within `limit_s`.
            Refused: there are no such bars, or the broker or IB's pacing said no.
        """
        until_ns = end_ns or SYSTEM_CLOCK.wall_ns()
        content = {
            "con_id": con_id,
            "bar_size": parse_bar_size(bar_size),
            "start_ns": 0 if count else max(0, until_ns - span_s * NS_PER_S),
            "end_ns": end_ns,
            "count": count,
            "closed_only": closed_only,
            "what_to_show": what_to_show,
            "use_rth": use_rth,
        }
        pieces = BarsPieces()
        async for answer in self._answers(BarsQuery, content, limit_s, self.keys.history_queries):
            if not isinstance(answer, BarsAnswer):
                raise DecodeError(f"marketdata answered a history query with a {type(answer).__name__}")
            if answer.error:
                raise Refused(answer.code or "HISTORY_FAILED", answer.error)
            bars = pieces.add(answer)
            if bars is not None:
                return bars
        raise TimedOut(f"no bars within {limit_s:g} s: `cq status` shows whether marketdata runs")

    async def what_if(self, con_id: int, order: OrderLeg, *, limit_s: float = 10.0) -> WhatIfAnswer:
        """Return what one order would cost in margin and commission, as the broker reckons; nothing is placed.

        Raises:
            TimedOut: no answer within `limit_s`.
            Refused: the broker would refuse the order, or cannot be asked now.
        """
        answer = await self._ask(WhatIfQuery, {"con_id": con_id, "order": order}, limit_s)
        if not isinstance(answer, WhatIfAnswer):
            raise DecodeError(f"the gateway answered a what-if with a {type(answer).__name__}")
        if answer.error:
            raise Refused(answer.code or "IB_WHAT_IF", answer.error)
        return answer

    async def _ask(self, query_class: type[Query], content: Mapping[str, object], limit_s: float) -> Message:
        async for answer in self._answers(query_class, content, limit_s, self.keys.queries):
            return answer
        raise TimedOut(f"no gateway answered within {limit_s:g} s: `cq status` shows whether one leads")

    async def _answers(
        self, query_class: type[Query], content: Mapping[str, object], limit_s: float, asked_on: str
    ) -> AsyncIterator[Message]:
        """Send a query and yield what answers it until its deadline."""
        now_ns = SYSTEM_CLOCK.wall_ns()
        deadline_ns = now_ns + int(limit_s * NS_PER_S)
        envelope = {
            "query_id": random_token(12),
            "client": self._client,
            "deadline_ns": deadline_ns,
            "ts_init_ns": now_ns,
        }
        query = query_class.model_validate({**content, **envelope})
        stream = self.keys.answers(self._client)
        cursor = await self.bus.last_id(stream)
        await self.bus.append(asked_on, query, source=self.source)
        while SYSTEM_CLOCK.wall_ns() < deadline_ns:
            found = await self.bus.read({stream: cursor}, block_ms=200)
            for entry in found.get(stream, []):
                cursor = entry.entry_id
                envelope_of = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream)
                if getattr(envelope_of.message, "query_id", "") == query.query_id:
                    yield envelope_of.message

    # -- acting

    async def submit(self, contract: ContractInfo, ticket: OrderTicket) -> Intent:
        """Append an intent and return it; its fate is on `decisions` and `orders` (see `follow`).

        Raises:
            Refused: the deployment has no identity yet, so nothing may be ordered in it.
        """
        identity = await self.identity()
        if "id" not in identity:
            raise Refused("GATEWAY_NO_IDENTITY", "this deployment has not had its first start: no gateway ever led it")
        now_ns = SYSTEM_CLOCK.wall_ns()
        valid_s = VALID_MARKET_S if ticket.order_type is OrderType.MARKET else VALID_OTHER_S
        legs = ticket.legs()
        intent = Intent(
            ts_init_ns=now_ns,
            intent_id=intent_id(identity["id"], self.source, 0, SYSTEM_CLOCK.monotonic_ns()),
            group=Group.BRACKET if len(legs) > 1 else Group.SINGLE,
            legs=legs,
            con_id=contract.con_id,
            contract=contract.name,
            strategy=ticket.strategy,
            account=self._account,
            incarnation=await self.bus.incarnation(),
            valid_until_ns=now_ns + int(valid_s * NS_PER_S),
            reason=ticket.reason,
        )
        await self.bus.append(self.keys.intents, intent, source=self.source)
        return intent

    async def watch(self, con_id: int, *, wait_s: float = 5.0) -> None:
        """Ask for a contract's prices for a minute and wait, at most `wait_s`, until there are any.

        Risk refuses orders in contracts without a fresh price; a strategy's contracts always have one.
        """
        until_ns = SYSTEM_CLOCK.wall_ns() + WATCH_S * NS_PER_S
        await self.bus.hash_set(self.keys.watches, {str(con_id): str(until_ns)})
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(wait_s * NS_PER_S)
        while SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
            last = await self.last_price(con_id)
            if SYSTEM_CLOCK.wall_ns() - int(last.get("fresh_ns", "0")) < FRESH_S * NS_PER_S:
                return
            await SYSTEM_CLOCK.sleep(0.1)

    async def place(self, contract: ContractInfo, ticket: OrderTicket, *, limit_s: float = 15.0) -> OrderResult:
        """Submit an order and wait until risk or the broker has answered it; prices are asked for first.

        A market order is waited for until it ends, any other until the broker confirms that it works.
        """
        result = await self._place(contract, ticket, limit_s)
        for _ in range(PRICE_RETRIES):
            # Risk reads prices for itself, a moment after they can be read elsewhere. It refused: nothing was sent.
            if (result.by, result.code) != ("risk", "RISK_DATA_STALE"):
                break
            await SYSTEM_CLOCK.sleep(PRICE_RETRY_S)
            result = await self._place(contract, ticket, limit_s)
        return result

    async def _place(self, contract: ContractInfo, ticket: OrderTicket, limit_s: float) -> OrderResult:
        await self.watch(contract.con_id)
        starts = {self.keys.decisions: "", self.keys.orders: ""}
        for stream in starts:
            starts[stream] = await self.bus.last_id(stream)
        intent = await self.submit(contract, ticket)
        wants_end = ticket.order_type is OrderType.MARKET
        return await self.follow(intent.intent_id, starts, wants_end=wants_end, limit_s=limit_s)

    async def modify(
        self,
        order: OrderEvent,
        *,
        quantity: Decimal | None = None,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        outside_rth: bool | None = None,
        limit_s: float = 15.0,
    ) -> OrderResult:
        """Change a working order of ours and wait for the broker's word; what is None stays as it is.

        The order is changed for the strategy it belongs to.

        Raises:
            BadInput: the order is not ours, or would become another type of order.
        """
        limit_price = order.limit_price if limit_price is None else limit_price
        stop_price = order.stop_price if stop_price is None else stop_price
        kind = OrderTicket(order.side, order.quantity, limit_price, stop_price).order_type
        if not order.intent_id or kind.value != order.order_type:
            raise BadInput(f"a {order.order_type} order cannot become a {kind} order: cancel it and place another")
        leg = OrderLeg(
            leg=order.leg,
            side=order.side,
            quantity=order.quantity if quantity is None else quantity,
            order_type=kind,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=TimeInForce(order.tif),
            outside_rth=order.outside_rth if outside_rth is None else outside_rth,
        )
        await self.watch(order.con_id)
        starts = {stream: await self.bus.last_id(stream) for stream in (self.keys.decisions, self.keys.orders)}
        identity, now_ns = await self.identity(), SYSTEM_CLOCK.wall_ns()
        intent = Intent(
            ts_init_ns=now_ns,
            intent_id=intent_id(identity.get("id", ""), self.source, 0, SYSTEM_CLOCK.monotonic_ns()),
            action=IntentAction.MODIFY,
            legs=(leg,),
            con_id=order.con_id,
            contract=order.contract,
            strategy=order.strategy,
            account=self._account,
            incarnation=await self.bus.incarnation(),
            valid_until_ns=now_ns + int(VALID_OTHER_S * NS_PER_S),
            modifies=order.intent_id,
            reason="cq order modify",
        )
        await self.bus.append(self.keys.intents, intent, source=self.source)
        return await self.follow(intent.intent_id, starts, wants_end=True, limit_s=limit_s, leg=leg.leg)

    async def follow(
        self, intent: str, cursors: Mapping[str, str], *, wants_end: bool, limit_s: float, leg: int = 0
    ) -> OrderResult:
        """Read decisions and events of one leg of an intent until it is refused, works, or (`wants_end`) has ended."""
        positions = dict(cursors)
        seen: list[Message] = []
        result = OrderResult(
            intent, "unanswered", text=f"no answer within {limit_s:g} s: `cq orders` shows what is known"
        )
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
        while SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
            left_ms = max(1, (deadline_ns - SYSTEM_CLOCK.monotonic_ns()) // NS_PER_MS)
            found = await self.bus.read(positions, block_ms=min(200, left_ms))
            for stream, entries in found.items():
                for entry in entries:
                    positions[stream] = entry.entry_id
                    try:
                        message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
                    except DecodeError:
                        continue  # the services that own the stream dead-letter it; it cannot be ours
                    if getattr(message, "intent_id", "") == intent:
                        seen.append(message)
                        result = _advance(result, message, tuple(seen), leg)
            if result.is_refused or result.state in _ENDED or (not wants_end and result.state in _CONFIRMED):
                return result
        return result

    async def cancel(self, intent: str, *, leg: int | None = None, reason: str = "") -> str:
        """Ask for the cancel of an intent's working legs; return the cancel's id."""
        cancel = CancelRequest(
            ts_init_ns=SYSTEM_CLOCK.wall_ns(),
            cancel_id=random_token(12),
            intent_id=intent,
            leg=leg,
            strategy=MANUAL,
            account=self._account,
            reason=reason,
        )
        await self.bus.append(self.keys.cancels, cancel, source=self.source)
        return cancel.cancel_id

    async def control(
        self,
        action: ControlAction,
        *,
        who: str,
        reason: str,
        scope: str = "account",
        everything: bool = False,
        **more: Any,
    ) -> Control:
        """Append an act of control to the audit stream `control` and return it."""
        act = Control(
            ts_init_ns=SYSTEM_CLOCK.wall_ns(),
            control_id=random_token(12),
            action=action,
            scope=scope,
            who=who,
            reason=reason,
            everything=everything,
            **more,
        )
        await self.bus.append(self.keys.control, act, source=self.source)
        return act

    async def wait_halt_stage(self, stages: frozenset[str], *, limit_s: float = 10.0) -> dict[str, str]:
        """Wait until the halt hash shows one of `stages` and return it.

        Raises:
            TimedOut: it did not within `limit_s`: no leading gateway confirms it.
        """
        deadline_ns = SYSTEM_CLOCK.monotonic_ns() + int(limit_s * NS_PER_S)
        while SYSTEM_CLOCK.monotonic_ns() < deadline_ns:
            status = await self.halt_status()
            if status.get("stage") in stages:
                return status
            await SYSTEM_CLOCK.sleep(0.05)
        raise TimedOut(f"no gateway confirmed within {limit_s:g} s: `cq status` shows whether one leads")


_ENDED = frozenset(state.value for state in OrderState if state.is_final)
_CONFIRMED = frozenset(state.value for state in SETTLED)


def _corrected(fills: Iterable[Fill]) -> list[Fill]:
    """Return executions once each, the latest correction of each, oldest first."""
    latest: dict[str, Fill] = {}
    for fill in fills:
        known = latest.get(fill.exec_stem)
        if known is None or fill.revision > known.revision:
            latest[fill.exec_stem] = fill
    return sorted(latest.values(), key=lambda fill: fill.ts_event_ns)


def _advance(result: OrderResult, message: Message, events: tuple[Message, ...], leg: int) -> OrderResult:
    if isinstance(message, Decision):
        if message.approved:
            return OrderResult(result.intent_id, "approved", events=events)
        return OrderResult(result.intent_id, "rejected", "risk", message.code, message.text, events=events)
    if isinstance(message, OrderEvent) and message.leg == leg and not message.is_double:
        return OrderResult(
            result.intent_id,
            message.state.value,
            message.by,
            message.code,
            message.text,
            message.filled,
            message.average_price,
            events,
        )
    return result

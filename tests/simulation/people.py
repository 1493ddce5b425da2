"""The people of a run: who gives orders, cancels and halts, and repeats what was not answered (P4).

Also keeps what another service would: the last prices and the contracts' definitions on the bus.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.clock import SYSTEM_CLOCK
from shared.errors import CqError, OutcomeUnknown, TransientError
from shared.ids import MANUAL, IntentId, intent_id
from shared.messages.codec import decode_fields, encode_body
from shared.messages.control import Control, ControlAction
from shared.messages.market import TICK_RECORD, TICKS_TYPE, DataQuality, SubscriptionRequest, TickKind
from shared.messages.orders import CancelRequest, Decision, Group, Intent, IntentAction, OrderLeg, OrderType, Side
from tests.simulation.kernel import NS, Process
from tests.simulation.market import WATCHED
from tests.simulation.options import PART_HALT
from tests.simulation.system import ACCOUNT, CON_IDS, DEPLOYMENT_ID, System, info_of

REPEAT_NS = 2 * NS
SOURCE = "people:desk"
HAND = "hand"
"""A second strategy of theirs, beside what is ordered by hand."""


@dataclass
class Asked:
    """An intent, and whether its author was answered."""

    intent: Intent
    at_ns: int
    repeated_ns: int
    is_answered: bool = False
    cancels: int = 0


@dataclass
class People:
    """One process that stands for every author of intents and for the operator."""

    system: System
    asked: dict[str, Asked] = field(default_factory=dict)
    is_trading: bool = True
    wanted_controls: list[Control] = field(default_factory=list)
    controls: int = 0
    quotes: int = 0
    foreign_wanted: int = 0
    """Orders of another account that somebody still wants to ask for."""
    _cursor: str = "0-0"
    _incarnation: str = ""
    _wanted_in: str = ""
    _number: int = 0

    async def run(self, process: Process) -> None:
        """Do all of it until the end."""
        bus = self.system.bus_of(process)
        rng = self.system.world.rng
        rounds = 0
        while True:
            await SYSTEM_CLOCK.sleep(rng.expovariate(self.system.options.orders_per_s) if self.is_trading else 0.5)
            rounds += 1
            try:
                await self._turn(bus, rounds)
            except (TransientError, OutcomeUnknown):
                continue
            except CqError as e:
                self.system.crashes.append(("people", e))

    async def _turn(self, bus: Any, rounds: int) -> None:
        await self._follow(bus)
        if rounds % 3 == 1:
            await self._keep_market(bus)
        if self.is_trading:
            await self._trade(bus)
        await self._repeat(bus)
        while self.foreign_wanted:
            self.foreign_wanted -= 1
            self._number += 1
            made = self._place(intent_id(DEPLOYMENT_ID, "people", self._number, 0))
            await bus.append(bus.keys.intents, made.model_copy(update={"account": "U1234567"}), source=SOURCE)
        while self.wanted_controls:
            await bus.append(bus.keys.control, self.wanted_controls[0], source=SOURCE)
            self.wanted_controls.pop(0)

    def control(self, action: ControlAction, scope: str = "account") -> Control:
        """Want a halt or a resume; it is repeated until the bus has it."""
        self.controls += 1
        made = Control(
            control_id=f"c{self.controls}", action=action, scope=scope, who="operator", reason="simulated"
        )  # fmt: skip
        self.wanted_controls.append(made)
        return made

    async def _keep_market(self, bus: Any) -> None:
        keys, now_ns = bus.keys, SYSTEM_CLOCK.wall_ns()
        names = {info_of(con_id).name: str(con_id) for con_id in CON_IDS}
        await bus.hash_set(keys.contract_names, names)
        await bus.hash_set(keys.contracts, {str(con_id): encode_body(info_of(con_id)) for con_id in CON_IDS})
        if self.system.options.hot and self._wanted_in != self._incarnation:  # as marketdata would say
            await bus.append(keys.subscriptions, SubscriptionRequest(con_ids=WATCHED), source=SOURCE)
            self._wanted_in = self._incarnation
        node = self.system.cluster.node_of("people")
        if node.is_up and self.is_trading:  # as a leader's ticks would come
            self.quotes += 1
            body = b"".join(_tick(con_id, now_ns, self.quotes) for con_id in CON_IDS)
            node.execute("add_ticks", (keys.ticks(0), {"type": TICKS_TYPE.encode(), "body": body}), {})

    async def _follow(self, bus: Any) -> None:
        incarnation = await bus.incarnation()
        if incarnation != self._incarnation:
            self._incarnation, self._cursor = incarnation, "0-0"
        for entry in (await bus.read({bus.keys.decisions: self._cursor})).get(bus.keys.decisions, []):
            self._cursor = entry.entry_id
            message = decode_fields(entry.fields, entry_id=entry.entry_id, stream=entry.stream).message
            if isinstance(message, Decision) and message.intent_id in self.asked:
                self.asked[message.intent_id].is_answered = True

    async def _repeat(self, bus: Any) -> None:
        now = self.system.world.now
        for asked in self.asked.values():
            if not asked.is_answered and now - asked.repeated_ns > REPEAT_NS:
                asked.repeated_ns = now
                await bus.append(bus.keys.intents, asked.intent, source=SOURCE)

    async def _trade(self, bus: Any) -> None:
        rng = self.system.world.rng
        dice = rng.random()
        recent = [each for each in list(self.asked.values())[-8:] if each.intent.action is IntentAction.PLACE]
        if dice < 0.2 and recent:
            await self._cancel(bus, rng.choice(recent))
            return
        self._number += 1
        made_id = intent_id(DEPLOYMENT_ID, "people", self._number, 0)
        intent = self._modify(made_id, recent) if dice < 0.35 and recent else self._place(made_id)
        now = self.system.world.now
        self.asked[made_id] = Asked(intent, now, now)
        await bus.append(bus.keys.intents, intent, source=SOURCE)

    async def _cancel(self, bus: Any, asked: Asked) -> None:
        asked.cancels += 1
        request = CancelRequest(
            cancel_id=f"{asked.intent.intent_id}-{asked.cancels}", intent_id=asked.intent.intent_id, account=ACCOUNT,
            strategy=asked.intent.strategy, reason="people",
        )  # fmt: skip
        await bus.append(bus.keys.cancels, request, source=SOURCE)

    def _intent(self, made_id: IntentId, con_id: int, legs: tuple[OrderLeg, ...], **more: object) -> Intent:
        rng, now_ns = self.system.world.rng, SYSTEM_CLOCK.wall_ns()
        values: dict[str, object] = {
            "intent_id": made_id, "legs": legs, "con_id": con_id, "contract": f"C{con_id}",
            "strategy": self._strategy(), "account": ACCOUNT, "incarnation": self._incarnation, "ts_init_ns": now_ns,
            "valid_until_ns": now_ns + rng.choice((2, 5, 20)) * NS, **more,
        }  # fmt: skip
        return Intent(**values)  # type: ignore[arg-type]

    def _strategy(self) -> str:
        """Return whose the next order is: where parts are halted, of two in turn."""
        return HAND if PART_HALT in self.system.options.rates and self._number % 2 else MANUAL

    def _price(self) -> Decimal:
        return Decimal(9900 + self.system.world.rng.randrange(200)) / 100

    def _place(self, made_id: IntentId) -> Intent:
        rng = self.system.world.rng
        con_id = rng.choice(CON_IDS)
        side = rng.choice((Side.BUY, Side.SELL))
        quantity = Decimal(rng.randrange(1, 21))
        leg = OrderLeg(side=side, quantity=quantity, order_type=OrderType.LIMIT, limit_price=self._price())
        if rng.random() < 0.75:
            return self._intent(made_id, con_id, (leg,))
        other = Side.SELL if side is Side.BUY else Side.BUY
        take = OrderLeg(leg=1, side=other, quantity=quantity, order_type=OrderType.LIMIT, limit_price=self._price(),
                        parent_leg=0)  # fmt: skip
        stop = OrderLeg(leg=2, side=other, quantity=quantity, order_type=OrderType.STOP, stop_price=self._price(),
                        parent_leg=0)  # fmt: skip
        return self._intent(made_id, con_id, (leg, take, stop), group=Group.BRACKET)

    def _modify(self, made_id: IntentId, recent: list[Asked]) -> Intent:
        rng = self.system.world.rng
        target = rng.choice(recent).intent
        leg = target.legs[0].model_copy(
            update={"limit_price": self._price(), "quantity": Decimal(rng.randrange(1, 21))}
        )
        return self._intent(
            made_id, target.con_id, (leg,), action=IntentAction.MODIFY, modifies=target.intent_id,
            strategy=target.strategy,
        )  # fmt: skip


def _tick(con_id: int, now_ns: int, number: int) -> bytes:
    """Return a quote; its number is its bid size."""
    kind, quality = TickKind.QUOTE, DataQuality.LIVE
    return TICK_RECORD.pack(con_id, now_ns, now_ns, kind, quality, 0, 0, 99.99, float(number), 100.01, 1.0)

"""Run one seed: rage, then settle, then judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.bus.keys import Role
from shared.bus.ports import ClaimResult, LeaseToken
from shared.ids import IntentId, order_ref
from shared.messages.orders import OrderState
from shared.tws.hello import TradingClaim
from tests.simulation.broker_records import Sent
from tests.simulation.bus import REPLY_LIMIT_NS
from tests.simulation.checkers import Violation
from tests.simulation.faults import Nemesis
from tests.simulation.guard_model import GuardModel, order_in
from tests.simulation.judge import Judge
from tests.simulation.kernel import NS, World
from tests.simulation.market import Market
from tests.simulation.options import Options
from tests.simulation.people import People
from tests.simulation.redis_model import Node
from tests.simulation.system import ACCOUNT, CON_IDS, DEPLOYMENT_ID, POSITION_MAX, System, inside

LOOK_EVERY_NS = NS // 4
CALM_NS = 5 * NS // 4
"""Everybody has begun and leads by then; trading goes on from here to the end of `AFTERWARDS_NS`."""
AFTERWARDS_NS = 5 * NS // 2
"""How long trading goes on once everything is mended."""
QUIET_NS = 3 * NS // 2
"""How long the last fills and commissions may take to be published."""
LOST_NS = REPLY_LIMIT_NS + NS // 2
"""Who lost an answer just before everything was mended waits for it this long, and only then goes on."""
MAX_STEPS = 3_000_000


@dataclass
class Result:
    """What a run showed."""

    options: Options
    violations: list[Violation] = field(default_factory=list)
    steps: int = 0
    virtual_s: float = 0.0
    orders: int = 0
    fills: int = 0
    faults: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Return whether every promise held."""
        return not self.violations


class Run:
    """One seed."""

    def __init__(self, options: Options, *, trace: bool = False, patch: Any = None) -> None:
        self.options = options
        self.world = World(options.seed)
        self.system = System(self.world, options)
        self.market = Market(self.world, self.system.broker, options.seed)
        self.people = People(self.system)
        self.nemesis = Nemesis(self.system, self.people)
        self.judge = Judge(
            self.system.keys, DEPLOYMENT_ID, ACCOUNT, Decimal(POSITION_MAX), lambda: self.world.now,
            lambda: self.system.cluster.losses,
        )  # fmt: skip
        self.judge.feed.has_steady_clocks = "wall_jump" not in options.rates
        self._trace: list[str] | None = [] if trace else None
        self._patch = patch
        if self._trace is not None:
            self.system.trace = self._trace
        self._wire_up()

    def _wire_up(self) -> None:
        judge, broker, cluster = self.judge, self.system.broker, self.system.cluster
        judge.orders = broker.orders
        cluster.observers.append(lambda node, entry: judge.entry(node.number, entry))
        cluster.watchers.append(self._act_done)
        broker.on_sent = self._sent
        broker.on_change.append(lambda: judge.limits.judge(broker.positions, broker.orders))
        self.system.guard_watchers.append(self._watch_guard)
        self.nemesis.planted, self.nemesis.given_back = judge.bad_input.planted, self._given_back

    def _act_done(self, node: Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any) -> None:
        judge, keys = self.judge, self.system.keys
        if name == "hash_set" and args[0] == keys.halt:
            judge.shown(args[1])
        elif name == "commit_unit" and answer:
            judge.units.committed(node.number, args[1].unit_id, args[1].commit)
        elif name == "lease_acquire" and answer is not None:
            judge.voice.acquired(answer, self._believers(answer))
            if answer.role == Role.GATEWAY:
                judge.deployment.acquired(answer.epoch, is_foreign=self._is_foreign(node))
                judge.feed.acquired(answer.epoch, self.system.processes[answer.owner].wall_ns())
        elif name == "raise_fence" and args[0].role == Role.GATEWAY:
            judge.deployment.fenced(args[0].epoch, is_foreign=self._is_foreign(node))
        elif name == "cancel_first":
            for row in answer:
                if row.result is ClaimResult.REFUSED_CANCELLED_FIRST:
                    judge.outcomes.cancelled_first(order_ref(DEPLOYMENT_ID, kwargs["intent_id"], row.leg))

    def _is_foreign(self, node: Node) -> bool:
        """Return whether a server says that the deployment is another account's."""
        stored = node.server.hashes.get(self.system.keys.identity, {})
        return bool(stored) and stored.get("account") != ACCOUNT.encode()

    def _believers(self, token: LeaseToken) -> list[str]:
        """Return who else believes to hold the same lease in the same incarnation at this moment."""
        found = []
        for process, elector in self.system.electors:
            holder = elector._holder
            if holder is None or not process.is_alive or elector.role != token.role or elector.owner == token.owner:
                continue
            is_sure = not holder._is_void and process.monotonic_ns() < holder.until_ns
            if is_sure and holder.token.incarnation == token.incarnation:
                found.append(elector.owner)
        return found

    def _watch_guard(self, guard: GuardModel) -> None:
        def forwarded(claim: TradingClaim | None, payload: bytes) -> None:
            if claim is not None:
                self.judge.voice.forwarded(claim.epoch)
            order = order_in(payload)
            if order is not None:
                self.judge.left(order)

        guard.on_forward.append(forwarded)

    def _given_back(self) -> None:
        self.judge.deployment.given_back += 1

    def _sent(self, order: Sent) -> None:
        self.judge.login = self.system.broker.accounts
        self.judge.sent(order)
        self.judge.limits.judge(self.system.broker.positions, self.system.broker.orders)

    def go(self) -> Result:
        """Run it and return what it showed."""
        world, options = self.world, self.options
        with inside(world, self.system, options.seed, trace=self._trace):
            undo = self._patch(self) if self._patch is not None else None
            try:
                self._go()
            finally:
                world.close()
                if undo is not None:
                    undo()
        broker = self.system.broker
        return Result(
            options, self.judge.violations, world.steps, world.now / NS - 1000, len(broker.sent),
            len(broker.executions), [f"{at / NS - 1000:.3f} {text}" for at, text in self.nemesis.done],
            self._trace or [],
        )  # fmt: skip

    def _go(self) -> None:
        world, options, system = self.world, self.options, self.system
        if options.hot:
            self.market.begin()
        system.start_all()
        system.declare("people", self.people.run)
        if not self._until(world.now + CALM_NS):
            return
        self.nemesis.begin()
        if "by_hand" in options.rates:
            self.judge.limits.by_others()
        if not self._until(world.now + int(options.rage_s * NS)):
            return
        self.nemesis.heal()
        no_answer_until = world.now + (LOST_NS if {"bus_loss", "bus_late"} & set(options.rates) else 0)
        self._until(world.now + AFTERWARDS_NS)
        self.people.is_trading = False
        self._settle(no_answer_until)
        if not self.judge.violations:
            system.broker.is_quiet = True
            if self._until(world.now + QUIET_NS):
                self._judge_end()

    def _settle(self, no_answer_until: int) -> None:
        """Go on until everything has an end, or too long."""
        world = self.world
        give_up = world.now + int(self.options.settle_s * NS)
        why = "it never began"
        while world.now < give_up and self.judge.violations == []:
            if not self._until(world.now + LOOK_EVERY_NS):
                return
            why = self._why_unsettled() or ("an answer may be lost" if world.now < no_answer_until else "")
            if not why:
                return
        if not self.judge.violations:
            self.judge.violations.append(Violation("liveness", why, world.now))

    def _until(self, when_ns: int) -> bool:
        """Go on until a time; False once something is wrong."""
        world, violations = self.world, self.judge.violations
        alarms = (violations, world.failures, self.system.crashes)
        if world.run_until(when_ns, alarms, MAX_STEPS):
            return True
        if not violations and (world.failures or self.system.crashes):
            self._note_crashes()
        elif not violations:
            violations.append(Violation("liveness", "too many steps: something spins", world.now))
        return False

    def _note_crashes(self) -> None:
        for name, error in [*self.world.failures, *self.system.crashes]:
            text = f"{name}: {type(error).__name__}: {error}"
            self.judge.violations.append(Violation("bug", text, self.world.now))

    def _why_unsettled(self) -> str:
        system = self.system
        leaders = [name for name, gateway in system.gateways.items() if self._says(name, gateway.elector.has_lease)]
        if len(leaders) != 1:
            return f"{len(leaders)} gateways lead"
        trading = system.gateways[leaders[0]].trading
        if trading is None or not self._says(leaders[0], lambda: trading.can_send):
            return (
                f"the leader is {trading.state if trading else 'not trading'}: {trading.link.reason if trading else ''}"
            )
        if not any(r.is_deciding for name, r in system.risks.items() if system.processes[name].is_alive):
            return "no risk decides"
        waiting = [each.intent.intent_id for each in self.people.asked.values() if not each.is_answered]
        if waiting:
            return f"{len(waiting)} intents are not answered, {waiting[0]} among them"
        life = system.cluster.master.number
        open_states = (OrderState.CLAIMED, OrderState.UNKNOWN, OrderState.PENDING)
        for (of_life, ref), event in self.judge.outcomes.last.items():
            if of_life == life and event.state in open_states and not self._may_stay_unknown():
                return f"{ref} is {event.state}"
        return self._what_is_late(life)

    def _says(self, name: str, question: Callable[[], bool]) -> bool:
        """Return what a process answers by its own clock, which is not the world's; a dead one says no."""
        process = self.system.processes[name]
        return process.is_alive and bool(process.enter(question))

    def _what_is_late(self, life: int) -> str:
        """Return what is still on its way: a request that a fault made late may take all of its patience."""
        system, judge = self.system, self.judge
        broker = system.broker
        for text in judge.fills.missing(life, broker.executions, broker.day, system.options.trading_ids):
            return text
        for intent_id in () if system.cluster.losses else judge.commands.get(life, {}):
            if (life, order_ref(DEPLOYMENT_ID, IntentId(intent_id), 0)) not in judge.outcomes.last:
                return f"nothing is said yet of the approved {intent_id}"
        return "" if system.cluster.losses else judge.parts.still_working(broker.orders)

    def _may_stay_unknown(self) -> bool:
        """The broker cannot tell of yesterday, nor of what a restart of TWS swallowed."""
        return any(kind in self.options.rates for kind in ("midnight", "broker_restart"))

    def _judge_end(self) -> None:
        system, judge = self.system, self.judge
        node, broker, keys = system.cluster.master, system.broker, system.keys
        for _, name, error in system.exits:
            judge.bad_input.ended(name, error)
        if not system.cluster.losses:
            judge.bad_input.settled(
                node.number, (keys.intents, keys.cancels, keys.commands, keys.cancel_commands, keys.control)
            )
        ids = system.options.trading_ids
        judge.one_order.settled(broker.orders)
        judge.fills.settled(node.number, broker.executions, broker.day, ids)
        if self._may_stay_unknown():
            return
        asked = {intent_id: asked.intent for intent_id, asked in self.people.asked.items()}
        judge.outcomes.settled(
            node.number, broker.orders, judge.commands.get(node.number, {}), asked if not system.cluster.losses else {},
            set(judge.rejected), DEPLOYMENT_ID, broker.day,
        )  # fmt: skip
        if self.options.workers and not system.cluster.losses:
            judge.units.settled(node.number, [f"C{con_id}" for con_id in CON_IDS])
        if "by_hand" not in self.options.rates:
            judge.books.settled(node.number, broker.positions)


def run(options: Options, *, trace: bool = False, patch: Any = None) -> Result:
    """Run one seed's options."""
    return Run(options, trace=trace, patch=patch).go()

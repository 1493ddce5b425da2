"""Collect who wants which contract, and tell the gateway leader when the set changes.

Sources: the `strategies` hash (what units declare), the fixed list of the settings, the account's positions, which
risk needs prices for, and the `watches` hash: what a person is about to order.
"""

from __future__ import annotations

from collections.abc import Callable

from services.marketdata.core.gaps import StaleWatch, WentSilent
from services.marketdata.core.subscriptions import Wants, wanted_by_units
from services.marketdata.metrics import SILENT
from services.marketdata.settings import MarketdataSettings
from services.marketdata.shell.feed import Feed
from services.marketdata.shell.questions import Questions
from services.marketdata.shell.reference import Reference
from shared.bus.ports import Bus, LeaseToken
from shared.clock import NS_PER_S, Clock
from shared.contracts import parse_contract
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.account import PositionReport
from shared.messages.codec import decode_body
from shared.messages.market import SubscriptionRequest
from shared.messages.requests import ContractAnswer, ContractQuery

_LOOK_EVERY_S = 0.5
_ASK_TIMEOUT_S = 10.0


class Demand:
    """The leader's second loop: wants in, subscriptions out, and silence noticed."""

    def __init__(
        self,
        bus: Bus,
        settings: MarketdataSettings,
        feed: Feed,
        reference: Reference,
        questions: Questions,
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._feed = feed
        self._reference = reference
        self._questions = questions
        self._clock = clock
        self._source = f"marketdata:{settings.instance}"
        self._stale = StaleWatch(int(settings.stale_s * NS_PER_S))
        self._fixed: dict[str, int] = {}
        self._complained: dict[str, str] = {}
        self.wants = Wants()

    @property
    def silent(self) -> list[str]:
        """Return the names of the contracts without ticks in an open market."""
        return [self._reference.name(con_id) for con_id in self._stale.silent]

    async def run(self, token: LeaseToken, may_act: Callable[[], bool]) -> None:
        """Work until the lease is lost.

        Raises:
            Fenced: somebody else leads.
        """
        self.wants = await self._known()
        asked_ns = 0
        while may_act():
            try:
                await self._look()
                await self._say(token, may_act, renew=self._watch())
                now_ns = self._clock.monotonic_ns()
                if len(self._fixed) < len(self._settings.contracts) and now_ns - asked_ns > 5 * NS_PER_S:
                    await self._resolve_fixed()
                    asked_ns = self._clock.monotonic_ns()
            except (TransientError, OutcomeUnknown) as e:
                get_logger().warning("demand.waiting", error=str(e))
                self.wants = Wants()
            await self._clock.sleep(_LOOK_EVERY_S)

    async def _known(self) -> Wants:
        try:
            entries = await self._bus.read_last(self._bus.keys.subscriptions, 1)
            message = decode_fields(entries[0].fields).message if entries else None
        except (BadInput, TransientError):
            message = None
        if isinstance(message, SubscriptionRequest):
            return Wants(message.revision, message.con_ids)
        return Wants()

    async def _look(self) -> None:
        rows = await self._bus.hash_get_all(self._bus.keys.strategies)
        units, unreadable = wanted_by_units(rows)
        for unit in unreadable:
            self._complain(f"unit:{unit}", "its row in the strategies hash is no JSON with contracts")
        self.wants.set_units(units)
        self.wants.set_source("fixed", self._fixed.values())
        held = []
        for body in (await self._bus.hash_get_all(self._bus.keys.positions)).values():
            try:
                report = decode_body(PositionReport.TYPE, body)
            except BadInput:
                continue  # monitoring shows it; a price less is no reason to stop
            if isinstance(report, PositionReport) and report.position != 0:
                held.append(report.con_id)
        self.wants.set_source("positions", held)
        now_ns = self._clock.wall_ns()
        watches = await self._bus.hash_get_all(self._bus.keys.watches)
        over = [name for name, until in watches.items() if not until.isdigit() or int(until) < now_ns]
        self.wants.set_source("watches", [int(name) for name in watches if name not in over and name.isdigit()])

    async def _say(self, token: LeaseToken, may_act: Callable[[], bool], *, renew: tuple[int, ...]) -> None:
        request = self.wants.changed(self._clock.wall_ns(), renew=renew)
        if request is None or not may_act():
            return
        await self._bus.publish(token, [(self._bus.keys.subscriptions, request)], source=self._source)
        get_logger().info(
            "subscriptions.changed", con_ids=list(request.con_ids), renewed=list(renew), revision=request.revision
        )  # fmt: skip

    def _watch(self) -> tuple[int, ...]:
        """Notice what is silent; return what should be subscribed anew."""
        now_ns = self._clock.wall_ns()
        self._stale.want(self.wants.con_ids, now_ns)
        last_ns = {**self._feed.intake.last.last_tick_ns, **self._feed.intake.last.dirty}
        for change in self._stale.check(last_ns, self._reference.calendars, now_ns):
            name = self._reference.name(change.con_id)
            if isinstance(change, WentSilent):
                get_logger().warning("ticks.went_silent", contract=name, since_ns=change.since_ns)
            else:
                get_logger().info("ticks.came_back", contract=name, silent_s=change.silent_ns / NS_PER_S)
        SILENT.set(len(self._stale.silent))
        return self._stale.renewals(now_ns)

    async def _resolve_fixed(self) -> None:
        known = await self._bus.hash_get_all(self._bus.keys.contract_names)
        for name in self._settings.contracts:
            if name in self._fixed:
                continue
            parsed = parse_contract(name)
            stored = known.get(str(parsed))
            if parsed.con_id is not None:
                self._fixed[name] = int(parsed.con_id)
            elif stored is not None and stored.isdigit():
                self._fixed[name] = int(stored)
            else:
                await self._ask(name, str(parsed))

    async def _ask(self, name: str, written: str) -> None:
        query = ContractQuery(**self._questions.head(_ASK_TIMEOUT_S), name=written)  # type: ignore[arg-type]
        answer = await self._questions.ask(query, ContractAnswer)
        if answer.error or len(answer.contracts) != 1:
            candidates = ", ".join(answer.candidates) or ", ".join(info.name for info in answer.contracts)
            self._complain(name, answer.error or f"it could mean {candidates}" if candidates else "no contract found")
            return
        self._fixed[name] = answer.contracts[0].con_id

    def _complain(self, name: str, text: str) -> None:
        if self._complained.get(name) != text:
            self._complained[name] = text
            get_logger().warning("contract.not_subscribed", contract=name, error=text)

"""Stand by, lead, resign: elector, take-over and all loops of a leader together.

A standby keeps its data session warm (a hot one subscribes, silently, to what the leader does) and follows `orders`, so
that a take-over reads only the rest. A leader's loops run in one TaskGroup: the first that finds out that we lead no
more (a Fenced reply, a lost lease) ends them all, the trading session is dropped at once, nothing more is published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from services.gateway import metrics
from services.gateway.core.book import OrderBook
from services.gateway.core.halt_memory import HaltMemory
from services.gateway.core.takeover import Step, Takeover
from services.gateway.core.tws_codes import CodeTable
from services.gateway.settings import GatewaySettings, Standby
from services.gateway.shell.account import AccountDesk
from services.gateway.shell.adoption import Adoption
from services.gateway.shell.apart import Apart
from services.gateway.shell.asking import is_day_known
from services.gateway.shell.books import BooksDesk
from services.gateway.shell.commands import Commands
from services.gateway.shell.contracts import Contracts
from services.gateway.shell.farms import FarmDesk
from services.gateway.shell.feed import FeedDesk
from services.gateway.shell.follower import Follower
from services.gateway.shell.guard import GuardControl
from services.gateway.shell.halt import HaltDesk, hash_memory
from services.gateway.shell.halt_file import HaltFile
from services.gateway.shell.handover import HandedOver, Handover, reason_of, take_control
from services.gateway.shell.identity import Accounts, check_identity
from services.gateway.shell.journal import JournalDesk
from services.gateway.shell.outbox import Outbox, tidy_open_orders
from services.gateway.shell.pace import Pace
from services.gateway.shell.requests import Requests
from services.gateway.shell.standbys import Standbys
from services.gateway.shell.trading import Trading
from services.gateway.shell.visits import Visits
from services.gateway.shell.watch import Others, Watch
from services.gateway.shell.what_if import WhatIf
from services.gateway.shell.windows import WindowDesk
from shared.bus.keys import Role
from shared.bus.ports import LeaseToken
from shared.bus.redis_client import RedisBus
from shared.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from shared.errors import Fenced, OutcomeUnknown, TransientError
from shared.leases.core import LeaseTiming
from shared.leases.elector import Elector
from shared.logs import get_logger
from shared.messages.control import HaltStage, LinkState
from shared.runtime import bind_epoch, side_by_side, until_available

FOLLOW_S = 0.25
"""How often a standby reads what the leader has published; a take-over reads the rest."""
RESIGN_EVERY_S = 30.0
"""Damping: a gateway resigns for its link at most this often, so that two do not throw the lease to and fro."""


class Gateway:
    """One gateway process."""

    def __init__(
        self, settings: GatewaySettings, bus: RedisBus, codes: CodeTable, *,
        halt_file: HaltFile | None = None, clock: Clock = SYSTEM_CLOCK,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._bus = bus
        self._codes = codes
        self._clock = clock
        self._source = f"gateway:{settings.instance}"
        self.accounts = Accounts(settings.account)
        self.watch = Watch(settings, codes, check_accounts=self.accounts.check, clock=clock)
        self.guard = GuardControl(settings.guard_http, settings.guard_token.get_secret_value(), clock=clock)
        self.elector = Elector(
            bus, Role.GATEWAY, settings.instance, LeaseTiming.of_ttl(settings.lease_ttl_s), clock=clock,
            at_least_epoch=lambda: self.guard.epoch, is_prepared=lambda: self._has_read,
        )  # fmt: skip
        self.outbox = Outbox(bus, self._source, clock=clock)
        self.book = OrderBook(settings.deployment_id, settings.account)
        self._follower = Follower(bus, self.book)
        self._has_read = False
        """Whether what is on the bus was read once: one that has only begun leaves the lease to one that has."""
        self._standbys = Standbys(bus, settings.instance, clock=clock)
        self.watch.on_farm = FarmDesk(bus, self.outbox, settings.instance, clock=clock).show
        self._halt_file = halt_file
        self._epoch_before = 0
        self.windows = WindowDesk(settings, bus, self.outbox, self._is_link_ready, clock=clock)
        self.contracts = Contracts(bus, self.outbox, lambda: self.watch.session, limit_s=settings.answer_limit_s)
        self.trading: Trading | None = None
        self.halt: HaltDesk | None = None
        self._hot = self._open_feed() if settings.standby is Standby.HOT else None
        self._resigned_ns = 0
        self._incarnation = ""
        self._is_stopping = False
        self._is_over = asyncio.Event()
        self._was_handed_over = False
        self._handover: Handover | None = None
        metrics.show_state(LinkState.STANDBY)

    def _open_feed(self) -> tuple[FeedDesk, Pace]:
        """Return subscriptions, of a leader or a hot standby, and the budget of the session that they are on."""
        pace = Pace(clock=self._clock)
        feed = FeedDesk(
            self._bus, self.outbox, self.contracts, self._codes, source=self._source,
            session=lambda: self.watch.session, pace=pace, clock=self._clock,
        )  # fmt: skip
        return feed, pace

    # -- what health shows

    def facts(self) -> dict[str, object]:
        """Return what the heartbeat shows."""
        trading = self.trading
        state = trading.state if trading is not None else LinkState.STANDBY
        token = self.elector.token
        return {
            "role": "leader" if token is not None else "standby",
            "epoch": token.epoch if token is not None else 0,
            "link": str(state),
            "link_reason": trading.link.reason if trading is not None else self.watch.link.reason,
            "data_link": str(self.watch.link.state),
            "data_link_reason": self.watch.link.reason,
            "data_link_code": self.watch.link.code,
            "broken_farms": self.watch.link.farms.broken,
            "data_lines": self.watch.desk.lines,
            "client_id": self._settings.client_id,
            "trading_client_id": trading.client_id if trading is not None else 0,
            "step": str(trading.step) if trading is not None else "",
            "caught_up": trading.has_caught_up if trading is not None else self._has_read,
            "orders_open": len(self.book.open_tracks()),
            "halt": str(self.halt.stage) if self.halt is not None else "",
            "window": self.windows.text(),
        }

    def _is_link_ready(self) -> bool:
        return self.trading.state is LinkState.READY if self.trading is not None else self.watch.is_ready

    def not_ready(self) -> str | None:
        """Return why this gateway does not do its work now: a leader trades, a standby is warm."""
        if self.trading is not None:
            return None if self.trading.state is LinkState.READY else f"the link is {self.trading.state}"
        return None if self.watch.is_ready else f"the data session is {self.watch.link.state}"

    # -- loops

    async def run_guard(self) -> None:
        """Follow the guard's epoch."""
        await self.guard.run()

    async def run(self) -> None:
        """Stand by and lead, in turn, until cancelled."""
        await until_available(lambda: check_identity(self._bus, self._settings), what="Redis")
        await until_available(self.contracts.load, what="Redis")
        while True:
            token = await self._stand_by()
            if self._is_leaving():
                await self.elector.resign("stopping")
                return
            began_ns = self._clock.monotonic_ns()
            reason = "cancelled"
            try:
                reason = await self._lead(token, began_ns)
            finally:
                self._step_down()
                await self.elector.resign(reason)
                self._is_over.set()
            get_logger().warning("leadership.ended", reason=reason)
            if self._is_leaving():
                return
            await self._stay_out(token)

    def _is_leaving(self) -> bool:
        return self._is_stopping

    async def _stay_out(self, token: LeaseToken) -> None:
        """Let another gateway lead first: after a hand-over for up to a lease time, else for a moment."""
        until_ns = self._clock.monotonic_ns() + int(self._settings.lease_ttl_s * NS_PER_S)
        while self._was_handed_over and self._clock.monotonic_ns() < until_ns:
            try:
                view = await self._bus.lease_view(Role.GATEWAY)
            except TransientError:
                break
            if view.epoch > token.epoch:
                break
            await self._clock.sleep(self._settings.lease_ttl_s / 20)
        self._was_handed_over = False
        await self._clock.sleep(self._settings.lease_ttl_s / 4)

    async def stop(self) -> None:
        """Hand over in order, so that a standby need not wait for the lease; a standby just goes."""
        self._is_stopping = True
        handover = self._handover
        try:
            if handover is not None and self.elector.has_lease():
                self._is_over.clear()
                handover.stop()
                await self._is_over.wait()
        finally:
            if self.trading is not None:  # it took longer than a stop may
                self._step_down()
            await self.elector.resign("stopping")

    async def _stand_by(self) -> LeaseToken:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._follow())]
            if self._hot is not None:
                feed, _ = self._hot
                feed.hush()
                self.watch.desk.feed = feed
                beside.append(group.create_task(feed.run_wanted()))
            token = await self.elector.win()
            for task in beside:
                task.cancel()
        bind_epoch(token.epoch)
        return token

    async def _follow(self) -> None:
        while True:
            try:
                await self._check_incarnation()
                await self._follower.read_to_end()
                self._has_read = True
                await self._remember_halt()
                await self._standbys.announce()
            except TransientError:
                pass
            await self._clock.sleep(FOLLOW_S)

    async def _remember_halt(self) -> None:
        """Keep on disk what Redis says, so that a successor knows of a halt, and of a leader, that Redis then loses."""
        stored = {name: value.decode() for name, value in (await self._bus.hash_get_all(self._bus.keys.halt)).items()}
        found = hash_memory(stored)
        if found is not None:
            self._keep_on_disk(replace(found, epoch=await self._epoch_on_redis()))

    def _keep_on_disk(self, found: HaltMemory) -> None:
        if self._halt_file is not None:
            self._halt_file.keep(found)

    async def _check_incarnation(self) -> None:
        found = await self._bus.incarnation()
        if found != self._incarnation:
            if self._incarnation:
                self._begin_anew()
            self._incarnation = found

    def _begin_anew(self) -> None:
        """Forget what was read: the server may have lost its end, or we did not publish what we knew."""
        self.book = OrderBook(self._settings.deployment_id, self._settings.account)
        self._follower = Follower(self._bus, self.book)
        self._has_read = False

    async def _lead(self, token: LeaseToken, began_ns: int) -> str:
        try:
            await check_identity(self._bus, self._settings)
            takeover = Takeover()
            self._epoch_before = await self._epoch_on_redis()
            await self._bus.raise_fence(token)
            takeover.fenced()
            takeover.note(Step.FENCE, self._clock.monotonic_ns())
            await self._check_incarnation()
            await self._follower.read_to_end()
            await self.contracts.load()
            takeover.read()
            takeover.note(Step.READ_STREAMS, self._clock.monotonic_ns())
            await self._run_leader(token, takeover, began_ns)
        except (Fenced, TransientError, OutcomeUnknown) as e:
            return str(e)
        except BaseExceptionGroup as group:
            self._was_handed_over = group.subgroup(HandedOver) is not None
            return reason_of(group)
        return self.elector.loss_reason or "the loops ended"

    async def _epoch_on_redis(self) -> int:
        """Return the highest epoch that ever led, as far as Redis knows; less than the disk's means it lost some."""
        return int(await self._bus.get_text(self._bus.keys.fence(Role.GATEWAY)) or 0)

    async def _run_leader(self, token: LeaseToken, takeover: Takeover, began_ns: int) -> None:
        bus, settings, clock, outbox = self._bus, self._settings, self._clock, self.outbox
        has_lease = self.elector.has_lease
        outbox.open()
        trading = Trading(
            settings, bus, self.book, outbox, self._codes, takeover, token, has_lease, self.accounts.check,
            self.windows.windows,
            began_ns=began_ns, is_day_known=await is_day_known(bus, token), clock=clock,
        )  # fmt: skip
        commands = Commands(
            bus, token, self.book, outbox, trading, self.contracts, deployment_id=settings.deployment_id,
            source=self._source, has_lease=has_lease, clock=clock,
        )  # fmt: skip
        halt = HaltDesk(
            bus, outbox, self.book, commands, trading, self.guard, file=self._halt_file,
            mode=settings.mode, source=self._source, has_lease=has_lease, clock=clock,
        )  # fmt: skip
        feed, pace = self._hot or self._open_feed()
        account = AccountDesk(
            bus, outbox, settings.account, session=lambda: self.watch.session, limit_s=settings.answer_limit_s,
            clock=clock,
        )  # fmt: skip
        journal = JournalDesk(
            bus, outbox, account, self.contracts, trading, account_id=settings.account,
            time_zone=settings.tws_time_zone, clock=clock,
        )  # fmt: skip
        books = BooksDesk(
            bus, outbox, account, trading, journal, account_id=settings.account, source=self._source, clock=clock
        )
        requests = Requests(
            bus, outbox, self.contracts, source=self._source, instance=settings.instance, epoch=token.epoch,
            session=lambda: self.watch.session, pace=pace,
            what_if=WhatIf(trading, self.contracts, settings.account, clock=clock), clock=clock,
        )  # fmt: skip
        others = Others(
            self.watch, self.book, outbox, client_id=lambda: trading.client_id, every_s=settings.others_every_s,
            limit_s=settings.answer_limit_s, clock=clock,
        )  # fmt: skip
        apart = Apart(
            settings, trading, check_accounts=self.accounts.check, sending=commands.sending,
            is_holding=lambda: halt.is_holding, clock=clock,
        )  # fmt: skip
        adoption = Adoption(
            settings, trading, apart, has_lease=has_lease, cancels=commands.cancels_elsewhere, clock=clock,
            is_wanted_gone=lambda track: halt.is_wanted_gone(track) or commands.cancels.is_wanted(track),
        )  # fmt: skip
        commands.on_elsewhere = adoption.want
        visits = Visits(settings, trading, self.book, apart, clock=clock)
        halt.on_foreign, halt.ask_list, halt.listed_ns = adoption.want, others.ask, lambda: others.listed_ns
        halt.positions = account.reported
        handover = Handover(self._standbys, began_wall_ns=clock.wall_ns(), clock=clock)
        halt.on_other = lambda control: take_control(control, books, handover, trading)
        await halt.restore(redis_epoch=self._epoch_before, at_guard=await self.guard.halt_memory())
        self._keep_on_disk(HaltMemory(is_halted=halt.stage is not HaltStage.NONE, epoch=token.epoch))
        await tidy_open_orders(self._bus, self.outbox, self.book, clock.wall_ns())
        self.trading, self.halt, self._handover = trading, halt, handover
        self.watch.desk.feed, self.watch.desk.account = feed, account
        feed.speak()
        self.watch.say_farms()
        loops: dict[str, Callable[[], Awaitable[None]]] = {
            "lease": self._until_lost,
            "outbox": lambda: outbox.run(token, has_lease),
            "trading": trading.run,
            "pacing": trading.run_pacing,
            "commands": commands.run_commands,
            "cancels": commands.run_cancels,
            "halt": halt.run,
            "wanted": feed.run_wanted,
            "ticks": lambda: feed.run_ticks(token, has_lease),
            "account": account.run,
            "books": books.run,
            "requests": requests.run,
            "others": others.run,
            "adoption": adoption.run,
            "visits": visits.run,
            "grace": self._resign_without_link,
            "gauges": self._gauges,
            "windows": self.windows.show,
            "standbys": lambda: self._standbys.tell(outbox, token.epoch),
            "handover": lambda: handover.run(commands, outbox, trading, self.book),
        }
        try:
            await side_by_side(loops)
        finally:
            if self._hot is None:
                feed.stop()
            account.stop()

    async def _until_lost(self) -> None:
        raise Fenced(await self.elector.lost())

    async def _resign_without_link(self) -> None:
        """Resign when this link stays down while a standby's is up (architecture §4)."""
        while True:
            await self._clock.sleep(1.0)
            trading = self.trading
            if trading is None or trading.not_ready_s < self._settings.link_grace_s:
                continue
            now_ns = self._clock.monotonic_ns()
            if self._resigned_ns and now_ns - self._resigned_ns < RESIGN_EVERY_S * NS_PER_S:
                continue
            if await self._standbys.is_one_ready():
                self._resigned_ns = now_ns
                raise Fenced(f"resigned: the link was {trading.state} for {trading.not_ready_s:.0f} s, a standby is up")

    async def _gauges(self) -> None:
        while True:
            metrics.show_orders([track.state for track in self.book.open_tracks()])
            await self._clock.sleep(1.0)

    def _step_down(self) -> None:
        """Publish nothing any more; drop the trading session at once."""
        self.outbox.close()
        trading, self.trading, self.halt, self._handover = self.trading, None, None, None
        self.watch.desk.feed, self.watch.desk.account = self._hot[0] if self._hot is not None else None, None
        if trading is not None and trading.session is not None:
            trading.session.abort()
        metrics.show_state(LinkState.STANDBY)
        self._begin_anew()
        bind_epoch(0)

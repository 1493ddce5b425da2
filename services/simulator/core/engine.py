"""Run the exchange: requests and time in, responses and effects out.

Invariants:
1. Time moves only through calls, and everything due happens in the order of its time, whenever the call comes: the
   same seed and the same requests at the same times give the same outputs.
2. Every request is answered, refused with TWS' error, or has no answer at TWS either.

The engine owns no socket and no clock; `shell/sockets.py` drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.simulator.core.account import Account
from services.simulator.core.account_desk import AccountDesk
from services.simulator.core.account_events import AccountEvents
from services.simulator.core.advisor_desk import AdvisorDesk
from services.simulator.core.combos import ComboMarket, resolve_combo
from services.simulator.core.commands import Commands
from services.simulator.core.config import ExchangeConfig
from services.simulator.core.contracts import Instrument, Universe
from services.simulator.core.data_desk import DataDesk
from services.simulator.core.executions import Executions
from services.simulator.core.fault_desk import FaultDesk
from services.simulator.core.floor import CloseSession, Floor, Turn
from services.simulator.core.history import History, Recorder
from services.simulator.core.history_desk import HistoryDesk
from services.simulator.core.history_pacing import HistoryPacing
from services.simulator.core.hours import Hours
from services.simulator.core.keeper import Keeper
from services.simulator.core.market import NS_PER_S, MarketEvent, Quote, SyntheticMarket
from services.simulator.core.market_events import MarketEvents
from services.simulator.core.message_faults import MessageFaults
from services.simulator.core.news_desk import NewsDesk
from services.simulator.core.order_days import OrderDays
from services.simulator.core.order_desk import OrderDesk
from services.simulator.core.order_faults import OrderFaults
from services.simulator.core.pacing import Pacing
from services.simulator.core.query_desk import QueryDesk
from services.simulator.core.reference_desk import ReferenceDesk
from services.simulator.core.replay import Recording, open_replay, recordings_by_id
from services.simulator.core.reports_desk import ReportsDesk
from services.simulator.core.routes import routes
from services.simulator.core.scanner_desk import ScannerDesk
from services.simulator.core.scenario import Scenario, ScenarioPlayer
from services.simulator.core.sessions import IN_USE, Session
from services.simulator.core.times import midnight_ns
from services.simulator.core.truth import truth
from services.simulator.core.universe import default_universe
from shared.tws import requests as rq
from shared.tws import responses as rs
from shared.tws.connection import BadRequest

NOTICES = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)


class Engine:
    """One exchange."""

    def __init__(
        self,
        config: ExchangeConfig,
        now_ns: int,
        *,
        recordings: Mapping[str, Recording] | None = None,
        speed: float = 1.0,
        loop: bool = False,
        hours: Hours | None = None,
        universe: Universe | None = None,
        keeps_state: bool = True,
        writes_ticks: bool = False,
    ) -> None:
        """Open the exchange at `now_ns`; recordings are by symbol and begin to play at once.

        Without `keeps_state` nothing is asked to be stored. With `writes_ticks` usual market data is sent as text.

        Raises:
            BadInput: a recording's symbol is not listed.
        """
        listed = universe or default_universe(datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date())
        self.floor = floor = Floor(config, listed, now_ns, writes_ticks=writes_ticks)
        self.hours = hours or Hours()
        self.hours.day_zone = config.time_zone
        self.accounts = {name: Account(name, config.currency) for name in config.accounts}
        for account in self.accounts.values():
            account.deposit(config.cash, config.currency)
            account.previous_equity = config.cash
        self.executions = Executions()
        self.orders = OrderDesk(floor, self.accounts, self.executions, self.hours)
        self._combos = ComboMarket(floor)
        self.orders.fills.leg_marks = self._combos.marks
        self._conditional = self.orders.life.conditions.by_contract
        self.days = OrderDays(floor, self.hours, self.orders.life)
        self.queries = QueryDesk(floor, self.orders.book, self.executions)
        pacing = HistoryPacing()
        self.data = DataDesk(floor, pacing)
        self._recorder = Recorder()
        history = History(floor.prices, self._recorder, config.seed, self.hours)
        self.history = HistoryDesk(floor, history, pacing, self.hours)
        self.data.past_ticks = self.history.past_ticks
        self.data.is_open = lambda instrument: self.hours.is_open(instrument, floor.now_ns)
        self.data.is_extended = lambda instrument: self.hours.is_open(instrument, floor.now_ns, extended=True)
        self.account_desk = AccountDesk(floor, self.accounts, self.orders.fills)
        self.reference = ReferenceDesk(floor, self.hours)
        self.news = NewsDesk(floor, self.data.news_takers)
        self.scanner = ScannerDesk(floor)
        self.reports = ReportsDesk(floor)
        self.advisor = AdvisorDesk(floor)
        self.events = AccountEvents(self.orders, self.accounts)
        self.commands = self._open_commands()
        busy = self.hours.activity if self.hours.calendars else None
        self._synthetic = SyntheticMarket(floor.prices, config.seed, config.tick_rate, busy)
        played = recordings_by_id(recordings or {}, listed)
        self._replay = open_replay(played, listed, floor.prices, now_ns, speed=speed, loop=loop)
        self._replayed = set(played)
        self._pacing = Pacing(config.pacing, config.messages_per_second)
        self._routes: dict[type, Callable[[Session, Any], None]] = routes(self)
        self._keeper = Keeper(
            floor, self.orders, self.executions, self.accounts, self.events, self._watch, is_on=keeps_state
        )
        listed.combine = resolve_combo
        floor.watch = self._watch
        floor.release = self._release
        floor.unneeded = self.data.release_unused
        self.days.arm()
        self._arm_midnight()

    def _open_commands(self) -> Commands:
        order_faults = OrderFaults(self.orders)
        return Commands(
            self.floor,
            {
                "connections": FaultDesk(self.floor, order_faults, self.data).acts(),
                "messages": MessageFaults(self.floor, self.executions, self.orders).acts(),
                "orders": order_faults.acts(),
                "accounts": self.events.acts(),
                "markets": MarketEvents(self.floor, self.data).acts(),
                "news": self.news.acts(),
            },
        )

    # -------------------------------------------------------------------------------------------- sessions
    def open_session(self, session: int, version: int, now_ns: int, peer: str = "") -> Turn:
        """Take a connection whose handshake is done."""
        self._run(now_ns)
        self.floor.sessions.open(session, version, now_ns, peer)
        self.floor.log("session_opened", session=session, version=version, peer=peer)
        return self._finish()

    def close_session(self, session: int, now_ns: int) -> Turn:
        """Forget a connection that has ended; its orders go on."""
        self._run(now_ns)
        entry = self.floor.sessions.close(session)
        if entry is not None:
            self.data.forget(session)
            self.account_desk.forget(session)
            self.history.forget(session)
            self.scanner.forget(session)
            self.reports.forget(session)
            self.news.forget(session)
            self._pacing.forget(session)
            self.floor.log("session_closed", session=session, client_id=entry.client_id)
        return self._finish()

    def receive(self, session: int, request: rq.Request | BadRequest, now_ns: int) -> Turn:
        """Take a request of a session."""
        self._run(now_ns)
        entry = self.floor.sessions.by_session.get(session)
        if entry is not None:
            self._admit(entry, request)
        return self._finish()

    def refuse(self, session: int, request: rq.Request | BadRequest, now_ns: int) -> Turn:
        """Answer a request that could not be handled, as TWS does."""
        self._run(now_ns)
        number = request.request_id if isinstance(request, BadRequest) else rq.request_id(request)
        self.floor.error(session, number, 322, "Error processing request. Internal error")
        return self._finish()

    def _admit(self, entry: Session, request: rq.Request | BadRequest) -> None:
        verdict = self._pacing.on_message(entry.session, self.floor.now_ns)
        if verdict.delay_ns:
            self.floor.later(verdict.delay_ns, lambda: self._handle_later(entry.session, request))
        elif verdict.is_refused:
            text = "Max rate of messages per second has been exceeded:max=50 rec=51 (1)"
            self.floor.error(entry.session, -1, 100, text)
            if verdict.is_last:
                self._drop(entry.session)
        else:
            self._handle(entry, request)

    def _handle_later(self, session: int, request: rq.Request | BadRequest) -> None:
        entry = self.floor.sessions.by_session.get(session)
        if entry is not None:
            self._handle(entry, request)

    def _handle(self, entry: Session, request: rq.Request | BadRequest) -> None:
        if isinstance(request, BadRequest):
            self.floor.error(entry.session, request.request_id, 320, f"Error reading request. {request.reason}")
        elif isinstance(request, rq.StartApi):
            self._start(entry, request.client_id)
        elif entry.client_id is not None:
            self._routes[type(request)](entry, request)

    def _start(self, entry: Session, client_id: int) -> None:
        floor = self.floor
        is_full = len(floor.sessions.by_client) >= floor.config.max_clients
        if is_full or client_id < 0 or not floor.sessions.start(entry, client_id, floor.now_ns):
            floor.log("session_refused", session=entry.session, client_id=client_id)
            floor.error(entry.session, -1, 326, IN_USE)
            self._drop(entry.session)
            return
        floor.log("session_started", session=entry.session, client_id=client_id, version=entry.version)
        floor.send(entry.session, rs.ManagedAccounts(",".join(floor.config.accounts)))
        floor.send(entry.session, rs.NextValidId(floor.sessions.next_order_id(client_id)))
        for code, text in NOTICES:
            floor.error(entry.session, -1, code, text)
        if floor.config.open_orders_on_connect:
            self.queries.open_orders(entry)

    def _drop(self, session: int) -> None:
        self.floor.effect(CloseSession(session))

    # -------------------------------------------------------------------------------------------- time
    def open(self, now_ns: int) -> None:
        """Let a replay begin now: the port is open."""
        if self._replay is not None:
            self._replay.begin(now_ns)

    def deadline_ns(self) -> int | None:
        """Return when `advance` must be called if nothing else happens."""
        due = [self.floor.next_timer_ns(), self._synthetic.next_ns(), self._replay.next_ns() if self._replay else None]
        return min((each for each in due if each is not None), default=None)

    def advance(self, now_ns: int) -> Turn:
        """Let everything due happen."""
        self._run(now_ns)
        return self._finish()

    def _run(self, now_ns: int) -> None:
        floor = self.floor
        while True:
            timer_ns = floor.next_timer_ns()
            limit_ns = now_ns if timer_ns is None else min(now_ns, timer_ns)
            for event in self._events(limit_ns):
                self._on_market(event)
            act = floor.pop_timer(now_ns)
            if act is None:
                break
            act()
        floor.now_ns = max(floor.now_ns, now_ns)

    def _events(self, limit_ns: int) -> list[MarketEvent]:
        events = self._synthetic.advance(limit_ns)
        if self._replay is not None:
            played = self._replay.advance(limit_ns)
            for event in played:
                self._recorder.add(event)
            events = sorted([*events, *played], key=lambda event: event.ts_ns) if events else played
        return events

    def _on_market(self, event: MarketEvent) -> None:
        floor = self.floor
        con_id, ts_ns = event.con_id, event.ts_ns
        if ts_ns > floor.now_ns:
            floor.now_ns = ts_ns
        if self.hours.calendars and not self._is_open(con_id, ts_ns):
            return
        book = floor.books.get(con_id) or floor.book(con_id)
        if book.is_halted:
            return
        if isinstance(event, Quote):
            book.on_quote(event)
        else:
            book.on_trade(event)
        if not floor.faults.stalled or not floor.faults.is_stalled(con_id, ts_ns):
            self.data.on_market(event)
        if con_id in self.orders.book.by_contract:
            self.orders.life.on_market(event)
        if con_id in self._conditional:
            self.orders.life.conditions.on_market(con_id)
        if self._combos.needs(con_id):
            for quote in self._combos.after(con_id, ts_ns):
                self._on_market(quote)

    def _is_open(self, con_id: int, at_ns: int) -> bool:
        instrument = self.floor.universe.by_id(con_id)
        return instrument is None or self.hours.is_open(instrument, at_ns, extended=True)

    def _arm_midnight(self) -> None:
        zone = self.floor.config.time_zone
        tomorrow_ns = midnight_ns(self.floor.now_ns + 26 * 3600 * NS_PER_S, zone)
        if tomorrow_ns <= self.floor.now_ns:
            tomorrow_ns += 86_400 * NS_PER_S
        self.floor.later(tomorrow_ns - self.floor.now_ns, self._on_midnight)

    def _on_midnight(self) -> None:
        self.events.expire_due()
        for account in self.accounts.values():
            account.new_day()
            account.previous_equity = self.orders.fills.summary(account).net_liquidation
            self.floor.touched_accounts.add(account.name)
        self._arm_midnight()

    # -------------------------------------------------------------------------------------------- market
    def _watch(self, instrument: Instrument) -> None:
        if instrument.legs:
            quote = self._combos.watch(instrument)
            if quote is not None and self.hours.is_open(instrument, self.floor.now_ns):
                self._on_market(quote)
            return
        if instrument.con_id in self._replayed or self._synthetic.is_watched(instrument.con_id):
            return
        book = self.floor.book(instrument.con_id)
        midnight = midnight_ns(self.floor.now_ns, instrument.time_zone)
        yesterday = self.floor.prices.mid(instrument, midnight)
        tick = float(instrument.min_tick)
        book.close = round(round(yesterday / tick) * tick, 6)
        is_open = self.hours.is_open(instrument, self.floor.now_ns)
        for event in self._synthetic.watch(instrument, self.floor.now_ns):
            if is_open:
                self._on_market(event)
            elif isinstance(event, Quote):  # what the market showed last; nobody trades on it
                book.on_quote(event)
            else:
                book.on_trade(event)

    def _release(self, con_id: int) -> None:
        is_held = any(account.quantity(con_id) for account in self.accounts.values())
        is_ordered = con_id in self.orders.book.by_contract or con_id in self._conditional
        if is_held or is_ordered or con_id in self._replayed or self._combos.needs(con_id):
            return
        listed = self.floor.universe.by_id(con_id)
        if listed is not None and listed.legs:
            self._combos.unwatch(listed)
        self._synthetic.unwatch(con_id)
        self.floor.books.pop(con_id, None)

    # -------------------------------------------------------------------------------------------- control
    def inject_fault(self, name: str, parameters: dict[str, Any], now_ns: int) -> Turn:
        """Carry out a fault.

        Raises:
            BadFault: unknown name or parameters.
        """
        self._run(now_ns)
        self.commands.inject(name, parameters)
        return self._finish()

    def play(self, scenario: Scenario) -> None:
        """Carry out a scenario from now on."""
        ScenarioPlayer(self.floor, self.commands.inject).play(scenario)

    def truth(self, now_ns: int, *, with_orders: bool = True) -> dict[str, Any]:
        """Return what the broker's own books say."""
        self._run(now_ns)
        return truth(self, with_orders=with_orders)

    # -------------------------------------------------------------------------------------------- state
    def _finish(self) -> Turn:
        self._keeper.save()
        return self.floor.take_turn()

    def restore(self, kind: str, key: str, value: dict[str, Any]) -> None:
        """Take back a stored piece of state; call for all of them before the first session opens."""
        self._keeper.restore(kind, key, value)

    def cash(self) -> dict[str, dict[str, Decimal]]:
        """Return every account's money by currency."""
        return {name: dict(account.cash) for name, account in self.accounts.items()}

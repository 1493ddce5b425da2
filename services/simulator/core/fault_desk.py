"""Commands that break connections, silence feeds, and cut TWS off from IB.

Source: ib-facts A.9, A.10, D.4, E.2.
"""

from __future__ import annotations

from collections.abc import Callable

from services.simulator.core.data_desk import DataDesk
from services.simulator.core.floor import AbandonSession, CloseSession, Floor, SetListening
from services.simulator.core.market import NS_PER_MS, NS_PER_S
from services.simulator.core.order_faults import OrderFaults

NEVER_NS = 1 << 62
FARMS = ("usfarm", "usfuture", "ushmds")
LOST = "Connectivity between IBKR and Trader Workstation has been lost."
RESTORED_LOST = "Connectivity between IBKR and Trader Workstation has been restored- data lost."
RESTORED = (
    "Connectivity between IBKR and Trader Workstation has been restored - data maintained. "
    "All data farms are connected: usfarm; ushmds; secdefil."
)


class FaultDesk:
    """What can go wrong with connections, with silence, and between TWS and IB."""

    def __init__(self, floor: Floor, order_faults: OrderFaults, data: DataDesk) -> None:
        self._floor = floor
        self._order_faults = order_faults
        self._data = data

    def acts(self) -> list[Callable[..., None]]:
        """Return the commands."""
        return [
            self.cut, self.half_open, self.refuse, self.restart, self.auto_restart, self.login_lockout, self.login,
            self.hang, self.stuck_client, self.stall, self.data_stall, self.slow, self.outage, self.nightly_reset,
            self.farm_flap, self.competing_session, self.clear,
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------------- connections
    def cut(self, *, client_id: int | None = None, abrupt: bool = False) -> None:
        """Close the connection of a client, or of all; abrupt resets it (RST instead of FIN)."""
        for session in list(self._floor.sessions.by_session.values()):
            if client_id is None or session.client_id == client_id:
                self._floor.effect(CloseSession(session.session, abrupt))

    def half_open(self, *, client_id: int | None = None) -> None:
        """Go silent on the connection of a client, or of all, for good: the socket stays, nobody is behind it."""
        for session in list(self._floor.sessions.by_session.values()):
            if client_id is None or session.client_id == client_id:
                self._floor.effect(AbandonSession(session.session))

    def refuse(self, *, seconds: float = 10.0) -> None:
        """Refuse connections at the port for some seconds."""
        floor = self._floor
        floor.effect(SetListening(on=False))
        floor.faults.refuse_until_ns = floor.now_ns + _ns(seconds)
        floor.later(_ns(seconds), self._listen_if_due)

    def _listen_if_due(self) -> None:
        faults = self._floor.faults
        if 0 < faults.refuse_until_ns <= self._floor.now_ns:
            self.login()

    def restart(self, *, seconds: float = 10.0, abrupt: bool = True) -> None:
        """Drop every socket and refuse new ones for some seconds, as TWS' own restart does."""
        self.cut(abrupt=abrupt)
        self.refuse(seconds=seconds)

    def auto_restart(self, *, seconds: float = 35.0, lose_s: float = 0.5) -> None:
        """Play TWS' daily restart: sockets drop, orders of the last moment are lost, and their ids come again."""
        _ns(lose_s)
        self._order_faults.lose_in_flight(lose_s)
        self.restart(seconds=seconds)

    def login_lockout(self) -> None:
        """Play the weekly end of the login: sockets drop and the port refuses until the command `login`."""
        self.cut(abrupt=True)
        self._floor.effect(SetListening(on=False))
        self._floor.faults.refuse_until_ns = NEVER_NS

    def login(self) -> None:
        """Let a person log in again: the port takes connections."""
        self._floor.faults.refuse_until_ns = 0
        self._floor.effect(SetListening(on=True))

    def hang(self, *, seconds: float = 10.0) -> None:
        """Accept connections and never answer them, for some seconds."""
        self._floor.faults.is_hanging = True
        self._floor.later(_ns(seconds), self._unhang)

    def _unhang(self) -> None:
        self._floor.faults.is_hanging = False

    def stuck_client(self, *, client_id: int, seconds: float = 30.0) -> None:
        """Keep a client id occupied for some seconds after its session has gone (error 326)."""
        self._floor.sessions.stuck_clients[client_id] = self._floor.now_ns + _ns(seconds)

    # -------------------------------------------------------------------------------------------- silence
    def stall(self, *, seconds: float = 10.0, client_id: int | None = None) -> None:
        """Send nothing at all for some seconds, to one client or to all; what would have been sent is lost."""
        faults = self._floor.faults
        by_client = self._floor.sessions.by_client
        faults.silent_sessions = None if client_id is None else frozenset({by_client.get(client_id, -1)})
        faults.silent_until_ns = self._floor.now_ns + _ns(seconds)

    def data_stall(self, *, seconds: float = 10.0, symbol: str = "", until_asked: bool = False) -> None:
        """Send no market data for some seconds, of one symbol (until it is subscribed anew, if so) or at all."""
        until_ns = self._floor.now_ns + _ns(seconds)
        if not symbol:
            self._floor.faults.data_silent_until_ns = until_ns
            return
        found = [each for each in self._floor.universe if each.symbol == symbol]
        if not found:
            raise ValueError(f"{symbol!r} is not listed here")
        for instrument in found:
            self._floor.faults.stalled[instrument.con_id] = until_ns
            if until_asked:
                self._floor.faults.stalled_until_asked.add(instrument.con_id)

    def slow(self, *, seconds: float = 10.0, delay_ms: float = 500.0) -> None:
        """Answer everything but market data late."""
        faults = self._floor.faults
        faults.slow_until_ns, faults.slow_ns = self._floor.now_ns + _ns(seconds), int(delay_ms * NS_PER_MS)

    # -------------------------------------------------------------------------------------------- IB's side
    def outage(
        self, *, seconds: float = 10.0, code: int = 1102, repeat_s: float = 5.0, keep_orders: bool = True,
        unnoticed_s: float = 0.0,
    ) -> None:  # fmt: skip
        """Lose the connection to IB's servers (1100, repeated), and restore it with 1102, or 1101: market data is lost.

        Orders that come meanwhile are submitted afterwards, or refused with 10328 where they are not kept. TWS notices
        it, and says so, after `unnoticed_s`.
        """
        if code not in (1101, 1102):
            raise ValueError("code must be 1101 or 1102")
        floor = self._floor
        end_ns = floor.now_ns + _ns(seconds)
        floor.faults.keeps_orders = keep_orders
        floor.faults.is_link_lost = True
        if unnoticed_s:
            floor.later(_ns(unnoticed_s), lambda: self._repeat_lost(end_ns, _ns(repeat_s)))
        else:
            self._repeat_lost(end_ns, _ns(repeat_s))
        floor.later(_ns(seconds), lambda: self._restore(code))

    def _repeat_lost(self, end_ns: int, period_ns: int) -> None:
        if self._floor.now_ns < end_ns and self._floor.faults.is_link_lost:
            self._floor.broadcast(1100, LOST)
            self._floor.later(max(period_ns, NS_PER_MS), lambda: self._repeat_lost(end_ns, period_ns))

    def _restore(self, code: int) -> None:
        if not self._floor.faults.is_link_lost:
            return
        self._floor.faults.is_link_lost = False
        if code == 1101:
            for session in {session: None for session, _ in self._data.requests()}:
                self._data.forget(session)
        self._floor.broadcast(code, RESTORED if code == 1102 else RESTORED_LOST)
        self._floor.release_deferred()

    def nightly_reset(self, *, seconds: float = 3.0, port_seconds: float = 5.0) -> None:
        """Play the nightly reset: farms break, 1100, all sockets drop, the port refuses for a while, and it is over."""
        floor = self._floor
        for farm in FARMS:
            floor.broadcast(2103, f"Market data farm connection is broken:{farm}")
        self.outage(seconds=seconds + port_seconds, code=1102, repeat_s=1.0)
        floor.later(_ns(seconds), lambda: self.restart(seconds=port_seconds))

    def farm_flap(self, *, times: int = 3, interval_s: float = 0.5) -> None:
        """Break and restore the market data farm several times (2103, 2104)."""
        for number in range(times):
            for step, (code, text) in enumerate(((2103, "is broken"), (2104, "is OK"))):
                delay_ns = _ns(interval_s * (2 * number + step))
                self._floor.later(delay_ns, self._farm_notice(code, text))

    def _farm_notice(self, code: int, text: str) -> Callable[[], None]:
        return lambda: self._floor.broadcast(code, f"Market data farm connection {text}:usfarm")

    def competing_session(self, *, seconds: float = 10.0, burst: int = 1) -> None:
        """Stop market data as when another session of the login takes it: 10197 on every request, in bursts."""
        for _ in range(max(1, min(burst, 100))):
            for session, req_id in self._data.requests():
                self._floor.error(session, req_id, 10197, "No market data during competing live session")
        self.data_stall(seconds=seconds)

    def clear(self) -> None:
        """End every fault that lasts."""
        self._restore(1102)
        self._floor.faults.end_all()
        self._floor.sessions.stuck_clients.clear()
        self.login()


def _ns(seconds: float) -> int:
    value = float(seconds)
    if not 0 <= value <= 86_400:
        raise ValueError(f"{seconds} seconds is outside 0 to 86400")
    return int(value * NS_PER_S)

"""Carry out faults: by name, with parameters, each written to the ledger.

Source: ib-facts A.9, A.10, D.4, E.2.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from services.simulator.core.executions import Executions
from services.simulator.core.faults import END_MARKERS, FaultRecord
from services.simulator.core.floor import CloseSession, Floor, SetListening
from services.simulator.core.market import NS_PER_MS, NS_PER_S
from services.simulator.core.order_desk import OrderDesk
from shared.errors import BadInput
from shared.money import decimal_of
from shared.tws.order import TwsOrder
from shared.tws.responses import ErrorMessage

FARMS = ("usfarm", "usfuture", "ushmds")
LOST = "Connectivity between IBKR and Trader Workstation has been lost."
RESTORED_LOST = "Connectivity between IBKR and Trader Workstation has been restored- data lost."
RESTORED = (
    "Connectivity between IBKR and Trader Workstation has been restored - data maintained. "
    "All data farms are connected: usfarm; ushmds; secdefil."
)


class BadFault(BadInput):
    """An unknown fault or a parameter that makes no sense."""


class FaultDesk:
    """The faults that can be asked for."""

    def __init__(self, floor: Floor, executions: Executions, orders: OrderDesk) -> None:
        self._floor = floor
        self._orders = orders
        self._executions = executions
        self._acts: dict[str, Callable[..., None]] = {
            "cut": self.cut,
            "stall": self.stall,
            "data_stall": self.data_stall,
            "outage": self.outage,
            "nightly_reset": self.nightly_reset,
            "refuse": self.refuse,
            "restart": self.restart,
            "farm_flap": self.farm_flap,
            "slow": self.slow,
            "hang": self.hang,
            "stuck_client": self.stuck_client,
            "missing_end": self.missing_end,
            "late_commission": self.late_commission,
            "rollback_order_ids": self.rollback_order_ids,
            "competing_session": self.competing_session,
            "notice": self.notice,
            "correction": self.correction,
            "manual_order": self.manual_order,
            "cancel_order": self.cancel_order,
            "clear": self.clear,
        }

    def names(self) -> dict[str, str]:
        """Return every fault with the sentence that explains it."""
        return {name: (act.__doc__ or "").strip().split("\n")[0] for name, act in self._acts.items()}

    def inject(self, name: str, parameters: dict[str, Any]) -> None:
        """Carry out a fault.

        Raises:
            BadFault: unknown name or parameters.
        """
        act = self._acts.get(name)
        if act is None:
            raise BadFault(f"there is no fault {name!r}: choose from {', '.join(self._acts)}")
        try:
            act(**parameters)
        except (TypeError, ValueError) as e:
            raise BadFault(f"fault {name!r} cannot take {parameters!r}: {e}") from e
        self._floor.faults.history.append(FaultRecord(name, self._floor.now_ns, parameters))
        del self._floor.faults.history[:-100]
        self._floor.log("fault", name=name, parameters=parameters)

    # -------------------------------------------------------------------------------------------- connections
    def cut(self, *, client_id: int | None = None, abrupt: bool = False) -> None:
        """Close the connection of a client, or of all; abrupt resets it (RST instead of FIN)."""
        for session in list(self._floor.sessions.by_session.values()):
            if client_id is None or session.client_id == client_id:
                self._floor.effect(CloseSession(session.session, abrupt))

    def refuse(self, *, seconds: float = 10.0) -> None:
        """Refuse connections at the port for some seconds."""
        self._floor.effect(SetListening(on=False))
        self._floor.later(_ns(seconds), lambda: self._floor.effect(SetListening(on=True)))

    def restart(self, *, seconds: float = 10.0, abrupt: bool = True) -> None:
        """Drop every socket and refuse new ones for some seconds, as TWS' own restart does."""
        self.cut(abrupt=abrupt)
        self.refuse(seconds=seconds)

    def hang(self, *, seconds: float = 10.0) -> None:
        """Accept connections and never answer them, for some seconds."""
        self._floor.faults.is_hanging = True
        self._floor.later(_ns(seconds), self._unhang)

    def _unhang(self) -> None:
        self._floor.faults.is_hanging = False

    def stuck_client(self, *, client_id: int, seconds: float = 30.0) -> None:
        """Keep a client id occupied for some seconds after its session has gone (error 326)."""
        self._floor.sessions.stuck_clients[int(client_id)] = self._floor.now_ns + _ns(seconds)

    # -------------------------------------------------------------------------------------------- silence
    def stall(self, *, seconds: float = 10.0, client_id: int | None = None) -> None:
        """Send nothing at all for some seconds, to one client or to all; what would have been sent is lost."""
        faults = self._floor.faults
        faults.sessions_of_client = dict(self._floor.sessions.by_client)
        faults.silent_client = client_id
        faults.silent_until_ns = self._floor.now_ns + _ns(seconds)

    def data_stall(self, *, seconds: float = 10.0) -> None:
        """Send no market data for some seconds; everything else goes on."""
        self._floor.faults.data_silent_until_ns = self._floor.now_ns + _ns(seconds)

    def slow(self, *, seconds: float = 10.0, delay_ms: float = 500.0) -> None:
        """Answer everything but market data late."""
        faults = self._floor.faults
        faults.slow_until_ns, faults.slow_ns = self._floor.now_ns + _ns(seconds), int(delay_ms * NS_PER_MS)

    def missing_end(self, *, name: str = "execDetailsEnd", count: int = 1) -> None:
        """Swallow the next end markers of a kind."""
        if name not in END_MARKERS:
            raise ValueError(f"the end markers are {', '.join(END_MARKERS)}")
        self._floor.faults.missing_ends[name] = int(count)

    def late_commission(self, *, delay_ms: float = 1000.0) -> None:
        """Send commission reports late; 0 ends it."""
        self._floor.faults.commission_delay_ns = int(delay_ms * NS_PER_MS)

    # -------------------------------------------------------------------------------------------- IB's side
    def outage(self, *, seconds: float = 10.0, code: int = 1102, repeat_s: float = 5.0) -> None:
        """Lose the connection to IB's servers (1100, repeated), then restore it with 1101 or 1102."""
        if code not in (1101, 1102):
            raise ValueError("code must be 1101 or 1102")
        floor = self._floor
        floor.faults.is_link_lost = True
        end_ns = floor.now_ns + _ns(seconds)
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
        for number in range(int(times)):
            for step, (code, text) in enumerate(((2103, "is broken"), (2104, "is OK"))):
                delay_ns = _ns(interval_s * (2 * number + step))
                self._floor.later(delay_ns, self._farm_notice(code, text))

    def _farm_notice(self, code: int, text: str) -> Callable[[], None]:
        return lambda: self._floor.broadcast(code, f"Market data farm connection {text}:usfarm")

    def competing_session(self, *, seconds: float = 10.0) -> None:
        """Stop market data as when another session of the login takes it (10197)."""
        self._floor.broadcast(10197, "No market data during competing live session")
        self.data_stall(seconds=seconds)

    def rollback_order_ids(self, *, client_id: int, by: int = 5) -> None:
        """Let nextValidId of a client go back, as seen after restarts."""
        sessions = self._floor.sessions
        sessions.next_order_ids[int(client_id)] = max(1, sessions.next_order_id(int(client_id)) - int(by))

    def notice(self, *, code: int, text: str = "", client_id: int | None = None, request_id: int = -1) -> None:
        """Send any error or notice, such as the false alarms 10349, 399 and 2109 on an order's id."""
        for session in self._floor.sessions.started():
            if client_id is None or session.client_id == client_id:
                message = ErrorMessage(int(request_id), int(code), text or f"notice {code}")
                self._floor.send(session.session, message)

    def correction(self, *, exec_id: str = "", price: str = "", shares: str = "") -> None:
        """Correct an execution (the last one without an id): the same execId with a higher last number is sent."""
        found = [each for each in self._executions.current() if not exec_id or each.exec_id == exec_id]
        if not found:
            raise ValueError(f"there is no execution {exec_id!r} that was not corrected already")
        old = found[-1]
        new = self._orders.fills.correct(
            old, _decimal(price) if price else old.price, _decimal(shares) if shares else old.shares
        )
        order = self._orders.book.by_perm.get(old.perm_id)
        if order is not None:
            order.filled += new.shares - old.shares
            order.paid += new.shares * new.price - old.shares * old.price
            self._orders.book.dirty[order.perm_id] = order

    def manual_order(
        self,
        *,
        symbol: str,
        action: str = "BUY",
        quantity: str = "100",
        order_type: str = "MKT",
        limit: str | None = None,
        stop: str | None = None,
        tif: str = "DAY",
        account: str = "",
    ) -> None:
        """Enter an order by hand in TWS, as a person would; no API client owns it."""
        order = TwsOrder(
            action=action,
            total_quantity=_decimal(quantity),
            order_type=order_type,
            lmt_price=None if limit is None else _decimal(limit),
            aux_price=None if stop is None else _decimal(stop),
            tif=tif,
            account=account or self._floor.config.accounts[0],
        )
        self._orders.place_by_hand(symbol, order)

    def cancel_order(self, *, perm_id: int, reason: str = "Cancelled by the broker.") -> None:
        """Cancel a working order at the broker, without anybody's request (202)."""
        order = self._orders.book.by_perm.get(int(perm_id))
        if order is None or order.is_done:
            raise ValueError(f"no order with permId {perm_id} works")
        self._orders.life.cancel_by_broker(order, reason)

    def clear(self) -> None:
        """End every fault that lasts."""
        faults = self._floor.faults
        self._restore(1102)
        faults.is_hanging = False
        faults.silent_until_ns = faults.data_silent_until_ns = faults.slow_until_ns = 0
        faults.commission_delay_ns = 0
        faults.missing_ends.clear()
        self._floor.sessions.stuck_clients.clear()
        self._floor.effect(SetListening(on=True))


def _decimal(value: object) -> Decimal:
    try:
        return decimal_of(str(value))
    except ValueError as e:
        raise ValueError(f"{value!r} is not a number") from e


def _ns(seconds: float) -> int:
    value = float(seconds)
    if not 0 <= value <= 86_400:
        raise ValueError(f"{seconds} seconds is outside 0 to 86400")
    return int(value * NS_PER_S)

"""Plan what goes wrong, and decide for each message whether it is dropped or late.

Every fault has a name, parameters and, where it lasts, an end. The engine's fault desk (`fault_desk.py`) carries them
out; this module holds those that touch single messages.

Source: ib-facts A.9, A.10, D.4, E.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.tws.responses import (
    AccountDownloadEnd,
    AccountUpdateMultiEnd,
    CompletedOrdersEnd,
    ContractDetailsEnd,
    ExecDetailsEnd,
    OpenOrderEnd,
    PositionEnd,
    RealTimeBar,
    Response,
    TickByTick,
    TickGeneric,
    TickPrice,
    TickSize,
    TickString,
)

END_MARKERS: dict[str, type[Response]] = {
    "openOrderEnd": OpenOrderEnd,
    "execDetailsEnd": ExecDetailsEnd,
    "positionEnd": PositionEnd,
    "completedOrdersEnd": CompletedOrdersEnd,
    "accountDownloadEnd": AccountDownloadEnd,
    "accountUpdateMultiEnd": AccountUpdateMultiEnd,
    "contractDetailsEnd": ContractDetailsEnd,
}
MARKET_DATA = (TickPrice, TickSize, TickString, TickGeneric, TickByTick, RealTimeBar)


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault that was asked for: what, when, and with which parameters."""

    name: str
    at_ns: int
    parameters: dict[str, Any]


@dataclass
class Faults:
    """What is wrong now. Times are ends, in nanoseconds; 0 is off."""

    is_link_lost: bool = False
    keeps_orders: bool = True
    """TWS' "maintain and resubmit orders": what comes while the link is lost is submitted afterwards, else 10328."""
    is_hanging: bool = False
    """Connections are accepted and never answered."""
    silent_until_ns: int = 0
    silent_client: int | None = None
    data_silent_until_ns: int = 0
    slow_until_ns: int = 0
    slow_ns: int = 0
    missing_ends: dict[str, int] = field(default_factory=dict)
    """End markers to swallow, by name, with how many more."""
    commission_delay_ns: int = 0
    history: list[FaultRecord] = field(default_factory=list)
    sessions_of_client: dict[int, int] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Return whether any message may be touched; keeps the usual path short."""
        return bool(
            self.silent_until_ns or self.data_silent_until_ns or self.slow_until_ns or self.missing_ends
            or self.is_link_lost
        )  # fmt: skip

    def on_send(self, session: int, response: Response, now_ns: int) -> int | None:
        """Return 0 to send now, a delay in nanoseconds, or None to drop the response."""
        is_data = isinstance(response, MARKET_DATA)
        if self._is_silent(session, now_ns) or (is_data and self._is_data_silent(now_ns)):
            return None
        if self.missing_ends and self._swallows(response):
            return None
        if self.slow_until_ns and now_ns >= self.slow_until_ns:
            self.slow_until_ns = 0
        return self.slow_ns if self.slow_until_ns and not is_data else 0

    def _is_silent(self, session: int, now_ns: int) -> bool:
        if not self.silent_until_ns:
            return False
        if now_ns >= self.silent_until_ns:
            self.silent_until_ns = 0
            return False
        return self.silent_client is None or self.sessions_of_client.get(self.silent_client) == session

    def _is_data_silent(self, now_ns: int) -> bool:
        if self.data_silent_until_ns and now_ns >= self.data_silent_until_ns:
            self.data_silent_until_ns = 0
        return bool(self.data_silent_until_ns) or self.is_link_lost

    def _swallows(self, response: Response) -> bool:
        for name, left in list(self.missing_ends.items()):
            if isinstance(response, END_MARKERS[name]):
                if left <= 1:
                    del self.missing_ends[name]
                else:
                    self.missing_ends[name] = left - 1
                return True
        return False

    def now(self) -> dict[str, Any]:
        """Return what is wrong now, for people."""
        return {
            "link_lost": self.is_link_lost,
            "hanging": self.is_hanging,
            "silent_until_ns": self.silent_until_ns,
            "data_silent_until_ns": self.data_silent_until_ns,
            "slow_until_ns": self.slow_until_ns,
            "missing_ends": dict(self.missing_ends),
            "commission_delay_ns": self.commission_delay_ns,
        }

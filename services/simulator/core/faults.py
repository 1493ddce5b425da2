"""Hold what is wrong now, and decide for each message whether it is dropped, late, or sent twice.

The commands that switch faults on are in `fault_desk.py`, `message_faults.py` and `order_faults.py`.

Source: ib-facts A.9, A.10, D.4, E.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.tws import responses
from shared.tws.responses import (
    MarketDepth,
    MarketDepthL2,
    RealTimeBar,
    Response,
    TickByTick,
    TickGeneric,
    TickOptionComputation,
    TickPrice,
    TickSize,
    TickString,
)


def _kinds() -> dict[str, type[Response]]:
    found = {}
    for name, cls in vars(responses).items():
        if isinstance(cls, type) and issubclass(cls, Response) and cls is not Response:
            found[name[0].lower() + name[1:]] = cls
    return found


KINDS = _kinds()
"""Every message by the name that people use: orderStatus, execDetails, tickPrice."""
END_MARKERS = {name: cls for name, cls in KINDS.items() if name.endswith("End")}
MARKET_DATA = (
    TickPrice, TickSize, TickString, TickGeneric, TickByTick, RealTimeBar, MarketDepth, MarketDepthL2,
    TickOptionComputation,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault that was asked for: what, when, and with which parameters."""

    name: str
    at_ns: int
    parameters: dict[str, Any]


@dataclass(slots=True)
class MessageRule:
    """What happens to the next `left` messages of a kind, of one session or of all.

    `act` is "drop", "late" (by `delay_ns`) or "twice" (the second one `delay_ns` later).
    """

    name: str
    act: str
    left: int
    delay_ns: int = 0
    client_id: int | None = None

    def applies_to(self, response: Response, client_id: int | None) -> bool:
        """Return whether this message is meant."""
        is_client = self.client_id is None or self.client_id == client_id
        return self.left > 0 and is_client and isinstance(response, KINDS[self.name])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a message: send it after so long (None: never), and once more after so long (None: not)."""

    delay_ns: int | None = 0
    again_ns: int | None = None


SEND, DROP = Verdict(), Verdict(None)


@dataclass
class Faults:
    """What is wrong now. Times are ends, in nanoseconds; 0 is off."""

    is_link_lost: bool = False
    keeps_orders: bool = True
    """TWS' "maintain and resubmit orders": what comes while the link is lost is submitted afterwards, else 10328."""
    is_hanging: bool = False
    """Connections are accepted and never answered."""
    refuse_until_ns: int = 0
    silent_until_ns: int = 0
    silent_sessions: frozenset[int] | None = None
    """The sessions that get nothing; None for all, those that connect later too."""
    data_silent_until_ns: int = 0
    stalled: dict[int, int] = field(default_factory=dict)
    """Contracts whose feed is silent, by conId, with the end."""
    stalled_until_asked: set[int] = field(default_factory=set)
    """Those of them that a new subscription wakes."""
    slow_until_ns: int = 0
    slow_ns: int = 0
    rules: list[MessageRule] = field(default_factory=list)
    commission_delay_ns: int = 0
    commissions_first: int = 0
    """Commission reports that are still to come before their execution."""
    alarms: tuple[int, ...] = ()
    alarms_left: int = 0
    lose_orders: int = 0
    """New orders that are still to vanish on their way, as if TWS had died with them."""
    double_changes: int = 0
    """Modifies that are still to become a second order instead of changing the first."""
    history: list[FaultRecord] = field(default_factory=list)

    @property
    def is_active(self) -> bool:
        """Return whether any message may be touched; keeps the usual path short."""
        return bool(
            self.silent_until_ns or self.data_silent_until_ns or self.slow_until_ns or self.rules or self.is_link_lost
        )

    def on_send(self, session: int, client_id: int | None, response: Response, now_ns: int) -> Verdict:
        """Return what happens to a message."""
        is_data = isinstance(response, MARKET_DATA)
        if self._is_silent(session, now_ns) or (is_data and self._is_data_silent(now_ns)):
            return DROP
        rule = next((each for each in self.rules if each.applies_to(response, client_id)), None)
        if rule is not None:
            return self._apply(rule)
        if self.slow_until_ns and now_ns >= self.slow_until_ns:
            self.slow_until_ns = 0
        return Verdict(self.slow_ns) if self.slow_until_ns and not is_data else SEND

    def _apply(self, rule: MessageRule) -> Verdict:
        rule.left -= 1
        if rule.left <= 0:
            self.rules.remove(rule)
        if rule.act == "drop":
            return DROP
        return Verdict(rule.delay_ns) if rule.act == "late" else Verdict(0, rule.delay_ns)

    def _is_silent(self, session: int, now_ns: int) -> bool:
        if not self.silent_until_ns:
            return False
        if now_ns >= self.silent_until_ns:
            self.silent_until_ns = 0
            return False
        return self.silent_sessions is None or session in self.silent_sessions

    def _is_data_silent(self, now_ns: int) -> bool:
        if self.data_silent_until_ns and now_ns >= self.data_silent_until_ns:
            self.data_silent_until_ns = 0
        return bool(self.data_silent_until_ns) or self.is_link_lost

    def is_stalled(self, con_id: int, now_ns: int) -> bool:
        """Return whether the feed of one contract is silent."""
        until_ns = self.stalled.get(con_id, 0)
        if until_ns and now_ns >= until_ns:
            del self.stalled[con_id]
            return False
        return bool(until_ns)

    def asked_anew(self, con_id: int) -> None:
        """Let a new subscription wake the feed of a contract that slept until then."""
        if con_id in self.stalled_until_asked:
            self.stalled_until_asked.discard(con_id)
            self.stalled.pop(con_id, None)

    def take_alarms(self) -> tuple[int, ...]:
        """Return the false alarms for one more order."""
        if self.alarms_left <= 0:
            return ()
        self.alarms_left -= 1
        return self.alarms

    def end_all(self) -> None:
        """Forget everything that lasts."""
        fresh = Faults(history=self.history, is_link_lost=self.is_link_lost)
        self.__dict__.update(fresh.__dict__)

    def now(self) -> dict[str, Any]:
        """Return what is wrong now, for people."""
        return {
            "link_lost": self.is_link_lost,
            "hanging": self.is_hanging,
            "refuse_until_ns": self.refuse_until_ns,
            "silent_until_ns": self.silent_until_ns,
            "data_silent_until_ns": self.data_silent_until_ns,
            "stalled_con_ids": list(self.stalled),
            "slow_until_ns": self.slow_until_ns,
            "messages": [{"name": each.name, "act": each.act, "left": each.left} for each in self.rules],
            "commission_delay_ns": self.commission_delay_ns,
            "commissions_first": self.commissions_first,
            "false_alarms_left": self.alarms_left,
            "lose_orders": self.lose_orders,
            "double_changes": self.double_changes,
        }

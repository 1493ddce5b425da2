"""Tell the one visible state of a session with the broker, and what to do about it.

| state | means |
|---|---|
| DOWN | no session: reconnecting with back-off |
| RECONCILING | connected, and not yet known what the broker shows: no order is sent |
| READY | synchronised and alive |
| DEGRADED | the socket lives, but TWS has lost IB's servers (1100, 2110), or does not answer |

What happened is told apart: a closed socket, a half-open one (no answer to a heartbeat), lost connectivity behind TWS
(1100/2110, back with 1101 data lost or 1102 data kept), and data farms (`farms.py`), which do not touch orders. Times
are nanoseconds on the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.gateway.core.farms import Farm, Farms
from shared.messages.control import FarmKind, LinkState

SECOND_NS = 1_000_000_000


class LinkAct(StrEnum):
    """What the shell should do."""

    PROBE = "probe"
    """Ask the time: an answer shows that the session lives."""
    CLOSE = "close"
    """Give the session up and connect anew."""
    RECONCILE = "reconcile"
    """Ask for orders and executions again: something may have happened meanwhile."""
    RESUBSCRIBE = "resubscribe"
    """Ask for all market data again, with new request ids."""
    LISTEN = "listen"
    """See that market data which TWS says it kept goes on, and ask anew for what does not."""
    SHOW_FARM = "show_farm"
    """Say how the farm that was told of last does."""


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """When silence is asked about, and when it is given up, in seconds; back-off from `first_s` to `longest_s`."""

    probe_every_s: float = 3.0
    give_up_s: float = 9.0
    first_s: float = 0.1
    longest_s: float = 5.0


class Link:
    """The link of one session after another."""

    def __init__(self, timing: LinkTiming | None = None) -> None:
        self._timing = timing or LinkTiming()
        self._is_connected = False
        self._is_synced = False
        self._is_cut = False
        self._is_silent = False
        self._failures = 0
        self._heard_ns = 0
        self._probed_ns = 0
        self.farms = Farms()
        self.farm: Farm | None = None
        """The farm whose condition changed last."""
        self._cut_reason: tuple[str, int] = ("", 0)
        self.reason = "not connected yet"
        self.code = 0

    @property
    def state(self) -> LinkState:
        """Return the visible state."""
        if not self._is_connected:
            return LinkState.DOWN
        if self._is_cut or self._is_silent:
            return LinkState.DEGRADED
        return LinkState.READY if self._is_synced else LinkState.RECONCILING

    @property
    def is_undisturbed(self) -> bool:
        """Return whether no lost connectivity is outstanding: only then an answer may prove an absence."""
        return self._is_connected and not self._is_cut and not self._is_silent

    def dialing(self) -> None:
        """Note that a session is being opened: what is told from here on is of the new one, not of the last."""
        self._is_cut = self._is_silent = False
        self.farms.clear()

    def connected(self, now_ns: int) -> None:
        """Note a session that the broker accepted.

        During an outage TWS says so in the same breath as it accepts, before this is called: what it told stays.
        """
        self._is_connected, self._is_synced, self._is_silent = True, False, False
        self._heard_ns = self._probed_ns = now_ns
        if not self._is_cut:
            self.reason, self.code = "connected, asking what happened meanwhile", 0

    def synced(self) -> None:
        """Note that everything is known and published."""
        if not self._is_synced:
            self._is_synced = True
            self._failures = 0
            if not self._is_cut:
                self.reason, self.code = "", 0

    def asking(self) -> None:
        """Note that the state is being asked for again."""
        self._is_synced = False

    def closed(self, reason: str, code: int = 0) -> None:
        """Note that the session is gone, or that connecting failed."""
        self._is_connected = self._is_synced = False
        self._failures += 1
        self.reason, self.code = reason, code

    def heard(self, now_ns: int) -> None:
        """Note that anything came from the broker."""
        self._heard_ns = now_ns
        if self._is_silent:
            self._is_silent = False
            self.reason, self.code = self._cut_reason if self._is_cut else ("", 0)

    def told(self, code: int, text: str) -> list[LinkAct]:
        """Take a code of the link; return what to do."""
        if code in (1100, 2110):
            self._is_cut = True
            self._cut_reason = (text or "TWS has lost the connection to IB's servers", code)
            self.reason, self.code = self._cut_reason
            return []
        if code in (1101, 1102):
            self._is_cut = False
            self.reason, self.code = text, code
            return [LinkAct.RECONCILE, LinkAct.RESUBSCRIBE if code == 1101 else LinkAct.LISTEN]
        if code == 1300:
            return [LinkAct.CLOSE]
        return self._farm(code, text)

    def _farm(self, code: int, text: str) -> list[LinkAct]:
        acts: list[LinkAct] = []
        farm = self.farms.told(code, text)
        if farm is not None:
            self.farm = farm
            acts.append(LinkAct.SHOW_FARM)
        if code in (2104, 2106, 2158) and self._is_cut and self._cut_reason[1] == 2110:
            self._is_cut = False  # 2110 heals by itself and has no code of its own for that
            acts += [LinkAct.RECONCILE, LinkAct.LISTEN]
        elif farm is not None and farm.was_lost and farm.kind is FarmKind.MARKET:
            acts.append(LinkAct.RESUBSCRIBE)
        return acts

    def tick(self, now_ns: int) -> list[LinkAct]:
        """Return what silence asks for now."""
        if not self._is_connected:
            return []
        silent_ns = now_ns - self._heard_ns
        if silent_ns >= self._timing.give_up_s * SECOND_NS:
            return [LinkAct.CLOSE]
        acts = []
        if silent_ns >= 2 * self._timing.probe_every_s * SECOND_NS and not self._is_silent:
            self._is_silent = True
            self.reason, self.code = "the broker does not answer on an open socket", 0
        if now_ns - self._probed_ns >= self._timing.probe_every_s * SECOND_NS:
            self._probed_ns = now_ns
            acts.append(LinkAct.PROBE)
        return acts

    def retry_in_s(self, fraction: float) -> float:
        """Return how long to wait before connecting again; `fraction` in [0, 1) is the jitter's dice."""
        ceiling = min(self._timing.longest_s, self._timing.first_s * 2.0 ** min(16, max(0, self._failures - 1)))
        return float(ceiling * (0.5 + fraction / 2))

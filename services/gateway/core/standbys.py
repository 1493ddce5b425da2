"""Say on `broker-status` how the other gateways do, which may not write there: only the leader has an epoch (P5).

Invariants:
1. What is said is what their heartbeats say: STANDBY with what is wrong with the data session, DOWN once there is none.
2. The same is said once; one that leads, or believes so, is left to itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.messages.control import BrokerStatus, LinkState

Heartbeats = Mapping[str, Mapping[str, Any] | None]
"""Name of a gateway → what its heartbeat says, None if it has stopped."""
GONE = "its heartbeat has stopped"


class StandbyNews:
    """What one leader has said of the others."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._said: dict[str, BrokerStatus] = {}
        self.followed: dict[str, bool] = {}
        """Whose heartbeats were found so far, and whether the last look found one."""

    def changes(self, found: Heartbeats, now_ns: int) -> list[BrokerStatus]:
        """Return what is to be said of the gateways beside the leader."""
        changed = []
        for name, heartbeat in found.items():
            self.followed[name] = heartbeat is not None
            said = self._of(name, heartbeat, now_ns)
            if said is not None and not _is_same(said, self._said.get(name)):
                self._said[name] = said
                changed.append(said)
        return changed

    def _of(self, name: str, heartbeat: Mapping[str, Any] | None, now_ns: int) -> BrokerStatus | None:
        said = BrokerStatus(instance=name, state=LinkState.DOWN, reason=GONE, epoch=self._epoch, ts_init_ns=now_ns)
        if heartbeat is None:
            return said
        if heartbeat.get("role") != "standby":
            return None
        link = str(heartbeat.get("data_link", ""))
        why = heartbeat.get("data_link_reason") or "no reason given"
        reason = "" if link == LinkState.READY else f"its data session is {link}: {why}"
        code = int(heartbeat.get("data_link_code", 0)) if reason else 0
        more = {"state": LinkState.STANDBY, "reason": reason, "code": code}
        return said.model_copy(update={**more, "client_id": int(heartbeat.get("client_id", 0))})


def _is_same(one: BrokerStatus, other: BrokerStatus | None) -> bool:
    return other is not None and one.model_copy(update={"ts_init_ns": other.ts_init_ns}) == other

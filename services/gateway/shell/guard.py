"""Talk to the guard's control: its highest epoch, halt and resume. Without a guard all of it is nothing."""

from __future__ import annotations

import aiohttp

from services.gateway.core.halt_memory import HaltMemory
from shared.clock import SYSTEM_CLOCK, Clock
from shared.logs import get_logger

LIMIT_S = 2.0
EVERY_S = 2.0


class GuardControl:
    """The guard's HTTP side; `url` empty means there is no guard.

    `epoch` is the highest epoch the guard ever admitted, as last seen: a new leader takes a higher one. `is_holding` is
    its latch, as last seen: it may be older than what we have told it since.
    """

    def __init__(self, url: str, token: str = "", *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._clock = clock
        self.epoch = 0
        self.is_holding = False
        self._session: aiohttp.ClientSession | None = None

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, object] | None:
        if not self._url:
            return None
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S))
        try:
            async with self._session.request(method, self._url + path, json=body, headers=self._headers) as reply:
                content = await reply.json()
                if reply.status >= 400:
                    get_logger().error("guard.refused", path=path, status=reply.status, answer=content)
                    return None
                return dict(content)
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            get_logger().warning("guard.not_reached", path=path, error=str(e) or type(e).__name__)
            return None

    async def halt(self, who: str, reason: str) -> bool:
        """Ask the guard to hold; True once nothing that adds exposure passes it any more (or there is no guard)."""
        return not self._url or await self._call("POST", "/halt", {"who": who, "reason": reason}) is not None

    async def resume(self, who: str, reason: str) -> bool:
        """Ask the guard to open; True if it did (or there is no guard)."""
        return not self._url or await self._call("POST", "/resume", {"who": who, "reason": reason}) is not None

    async def halt_contract(self, con_id: int, who: str, reason: str) -> bool:
        """Ask the guard to hold one contract; True once nothing that adds exposure in it passes any more."""
        body = {"con_id": str(con_id), "who": who, "reason": reason}
        return not self._url or await self._call("POST", "/halt/contract", body) is not None

    async def resume_contract(self, con_id: int, who: str, reason: str) -> bool:
        """Ask the guard to open one contract; True if it did."""
        body = {"con_id": str(con_id), "who": who, "reason": reason}
        return not self._url or await self._call("POST", "/resume/contract", body) is not None

    async def halt_memory(self) -> HaltMemory | None:
        """Return what the guard holds, None where there is no guard or it does not answer."""
        found = await self._call("GET", "/epoch")
        at_ns = found.get("at_ns") if found else None
        if found is None or not isinstance(at_ns, int):
            return None
        who, reason = str(found.get("who", "")), str(found.get("reason", ""))
        return HaltMemory(is_halted=found.get("holding") is True, who=who, reason=reason, at_ns=at_ns)

    async def run(self) -> None:
        """Follow the guard's epoch until cancelled."""
        while True:
            found = await self._call("GET", "/epoch")
            epoch = found.get("epoch") if found else None
            if isinstance(epoch, int):
                self.epoch = max(self.epoch, epoch)
            if found is not None:
                self.is_holding = found.get("holding") is True
            await self._clock.sleep(EVERY_S if self._url else 60.0)

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

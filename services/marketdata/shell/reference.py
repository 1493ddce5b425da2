"""Know the contracts: names and trading days from the `contracts` hash that the gateway keeps."""

from __future__ import annotations

from shared.bus.ports import Bus
from shared.errors import BadInput
from shared.logs import get_logger
from shared.messages.codec import decode_body
from shared.messages.market import ContractInfo
from shared.sessions import SessionCalendar


class Reference:
    """What is known of contracts. `load` reads the hash again.

    Args:
        bus: where to read.
        day_hours: `liquid` or `trading`: what a trading day is made of.
    """

    def __init__(self, bus: Bus, day_hours: str) -> None:
        self._bus = bus
        self._day_hours = day_hours
        self._raw: dict[str, bytes] = {}
        self.infos: dict[int, ContractInfo] = {}
        self.calendars: dict[int, SessionCalendar] = {}

    async def load(self) -> list[int]:
        """Read the hash and return the contracts that are new or changed."""
        rows = await self._bus.hash_get_all(self._bus.keys.contracts)
        changed = []
        for name, body in rows.items():
            if self._raw.get(name) == body:
                continue
            self._raw[name] = body
            try:
                info = decode_body(ContractInfo.TYPE, body)
            except BadInput as e:
                get_logger().warning("contract.unreadable", con_id=name, error=str(e))
                continue
            if isinstance(info, ContractInfo):
                hours = info.liquid_hours if self._day_hours == "liquid" else info.trading_hours
                self.infos[info.con_id] = info
                self.calendars[info.con_id] = SessionCalendar(info.time_zone, hours or info.trading_hours)
                changed.append(info.con_id)
        return changed

    def calendar(self, con_id: int) -> SessionCalendar:
        """Return the trading days of a contract; calendar days UTC while it is unknown."""
        return self.calendars.get(con_id) or SessionCalendar()

    def name(self, con_id: int) -> str:
        """Return the name of a contract in the grammar, `#<conId>` while it is unknown."""
        info = self.infos.get(con_id)
        return info.name if info is not None else f"#{con_id}"

    def symbol(self, con_id: int) -> str:
        """Return the symbol of a contract, "" while it is unknown."""
        info = self.infos.get(con_id)
        return info.symbol if info is not None else ""

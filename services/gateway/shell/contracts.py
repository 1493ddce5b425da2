"""Know contracts by conId: memory, then the bus, then the broker; what the broker says goes onto the bus."""

from __future__ import annotations

from collections.abc import Callable

from services.gateway.ports import QueryFailed
from services.gateway.shell.ib_session import IbSession
from services.gateway.shell.outbox import Outbox
from shared.bus.ports import Bus
from shared.contracts import ContractName
from shared.errors import BrokerUnavailable, CqError, DecodeError, UnknownContract
from shared.ids import ConId
from shared.messages.codec import decode_body, encode_body
from shared.messages.market import ContractInfo


class Contracts:
    """The gateway's memory of contracts.

    Args:
        bus: holds the `contracts` hash.
        outbox: writes to it while leading.
        session: returns the data session, None while there is none.
    """

    def __init__(self, bus: Bus, outbox: Outbox, session: Callable[[], IbSession | None], *, limit_s: float) -> None:
        self._bus = bus
        self._outbox = outbox
        self._session = session
        self._limit_s = limit_s
        self._known: dict[int, ContractInfo] = {}

    def known(self, con_id: int) -> ContractInfo | None:
        """Return a contract from memory."""
        return self._known.get(con_id)

    async def load(self) -> None:
        """Read what the bus has and is not known yet; entries of another release that do not decode are asked again.

        A standby that started before a contract was first asked for learns of it here, when it takes over: asking the
        broker would cost its first orders a second.
        """
        for con_id, body in (await self._bus.hash_get_all(self._bus.keys.contracts)).items():
            if con_id.isdigit() and int(con_id) in self._known:
                continue
            try:
                info = decode_body("contract", body)
            except CqError:
                continue
            if isinstance(info, ContractInfo):
                self._known[info.con_id] = info

    async def get(self, con_id: int) -> ContractInfo:
        """Return a contract.

        Raises:
            UnknownContract: the broker knows no such conId.
            BrokerUnavailable: it could not be asked.
        """
        known = self._known.get(con_id)
        if known is not None:
            return known
        found = await self.resolve(ContractName("", currency="", con_id=ConId(con_id)), text=f"#{con_id}")
        return found[0]

    async def resolve(self, name: ContractName, *, text: str) -> list[ContractInfo]:
        """Return every contract a name could mean, and note them on the bus; `text` is the name as written.

        Raises:
            UnknownContract: there is none.
            BrokerUnavailable: the broker could not be asked.
        """
        session = self._session()
        if session is None or not session.is_open:
            raise BrokerUnavailable("no session with the broker to ask for contracts")
        try:
            found = await session.contracts(name, limit_s=self._limit_s)
        except QueryFailed as e:
            if e.code in (200, 203):
                raise UnknownContract(f"the broker knows no contract {text}: {e.text}") from e
            raise
        if not found:
            raise UnknownContract(f"the broker knows no contract {text}")
        keys = self._bus.keys
        for info in found:
            if info.con_id <= 0:
                raise DecodeError(f"the broker answered {text} with a contract without conId")
            self._known[info.con_id] = info
            self._outbox.put_hash(keys.contracts, {str(info.con_id): encode_body(info)})
        if len(found) == 1:
            names = {text: str(found[0].con_id), found[0].name: str(found[0].con_id)}
            self._outbox.put_hash(keys.contract_names, names)
        return found

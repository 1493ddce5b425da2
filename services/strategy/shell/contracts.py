"""Find the contracts that units name: from the hashes of the gateway, else by asking it.

A name nobody can resolve stops only the units that use it; it is asked again now and then, so that a gateway that
comes later, or a listing that comes to be, needs no restart.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.strategy.shell.answers import Answers
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, Clock, random_token
from shared.contracts import parse_contract
from shared.errors import BadInput, OutcomeUnknown, TransientError
from shared.logs import get_logger
from shared.messages.codec import decode_body
from shared.messages.market import ContractInfo
from shared.messages.requests import ContractAnswer, ContractQuery

ASK_AGAIN_S = 5.0
POLL_S = 0.2


class ContractBook:
    """Contracts by the name in the strategies file; `errors` says why a name has none yet."""

    def __init__(self, bus: Bus, *, client: str, source: str, clock: Clock) -> None:
        self._bus = bus
        self._client = client
        self._source = source
        self._clock = clock
        self._wanted: dict[str, int] = {}
        self._asked: dict[str, str] = {}
        self._answers = Answers(bus, client=client, source=source)
        self.found: dict[str, ContractInfo] = {}
        self.errors: dict[str, str] = {}

    def want(self, names: Iterable[str]) -> None:
        """Resolve these names from now on."""
        for name in names:
            if name not in self.found:
                self._wanted.setdefault(name, 0)

    def all_of(self, names: Iterable[str]) -> list[ContractInfo] | None:
        """Return the contracts of names in their order, None while one is missing."""
        found = [self.found.get(name) for name in names]
        return [info for info in found if info is not None] if all(found) else None

    def why_missing(self, names: Iterable[str]) -> str:
        """Return a sentence about the first name without a contract."""
        for name in names:
            if name not in self.found:
                return self.errors.get(name, f"waits for the gateway to resolve {name}")
        return ""

    async def run(self) -> None:
        """Resolve what is wanted, for ever."""
        while True:
            if self._wanted:
                try:
                    await self._step()
                except (TransientError, OutcomeUnknown) as e:
                    get_logger().debug("contracts.delayed", error=str(e))
            await self._clock.sleep(POLL_S)

    async def _step(self) -> None:
        await self._look_up()
        await self._take_answers()
        now_ns = self._clock.monotonic_ns()
        for name, due_ns in list(self._wanted.items()):
            if due_ns <= now_ns:
                self._wanted[name] = now_ns + int(ASK_AGAIN_S * NS_PER_S)
                await self._ask(name)

    async def _look_up(self) -> None:
        names = await self._bus.hash_get_all(self._bus.keys.contract_names)
        wanted = {name: self._con_id(name, names) for name in self._wanted}
        if not any(wanted.values()):
            return
        stored = await self._bus.hash_get_all(self._bus.keys.contracts)
        for name, con_id in wanted.items():
            body = stored.get(con_id) if con_id else None
            if body is not None:
                self._take(name, body)

    @staticmethod
    def _con_id(name: str, names: dict[str, bytes]) -> str:
        if name in names:
            return names[name].decode()
        con_id = parse_contract(name).con_id
        return str(con_id) if con_id is not None else ""

    def _take(self, name: str, body: bytes) -> None:
        try:
            info = decode_body(ContractInfo.TYPE, body)
        except BadInput as e:
            self.errors[name] = f"the stored definition of {name} is unreadable: {e}"
            return
        if isinstance(info, ContractInfo):
            self._resolved(name, info)

    def _resolved(self, name: str, info: ContractInfo) -> None:
        self.found[name] = info
        self.errors.pop(name, None)
        self._wanted.pop(name, None)

    async def _ask(self, name: str) -> None:
        query = ContractQuery(
            ts_init_ns=self._clock.wall_ns(),
            query_id=random_token(),
            client=self._client,
            deadline_ns=self._clock.wall_ns() + int(ASK_AGAIN_S * NS_PER_S),
            name=name,
        )
        self._asked[query.query_id] = name
        while len(self._asked) > 1000:
            del self._asked[next(iter(self._asked))]
        await self._bus.append(self._bus.keys.queries, query, source=self._source)

    async def _take_answers(self) -> None:
        for answer in await self._answers.take():
            if isinstance(answer, ContractAnswer) and answer.query_id in self._asked:
                self._answered(self._asked.pop(answer.query_id), answer)

    def _answered(self, name: str, answer: ContractAnswer) -> None:
        if not answer.error and len(answer.contracts) == 1:
            self._resolved(name, answer.contracts[0])
            return
        candidates = f" (candidates: {', '.join(answer.candidates)})" if answer.candidates else ""
        self.errors[name] = f"{name}: {answer.error or 'is no single contract'}{candidates}"
        get_logger().warning("contract.unresolved", contract=name, error=self.errors[name])

"""Ask the gateway what margin orders would need, and keep what it answers for `core/rules_margin.py`.

A question goes through `queries` like anybody's; the reader of intents looks for answers when it comes round, so
nothing waits for one but the strategy whose order it is. What was not answered in time, or failed, counts as failed.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.core.case import Case
from services.risk.core.exposure import Book
from services.risk.core.limits import Limits
from services.risk.core.margins import Margin, order_to_ask
from services.risk.core.rule import plain
from services.risk.core.rules_margin import MarginUnknown
from shared.bus.ports import Bus
from shared.clock import NS_PER_S, Clock
from shared.errors import BadInput
from shared.logs import get_logger
from shared.messages import decode_fields
from shared.messages.orders import Decision, Intent
from shared.messages.requests import WhatIfAnswer, WhatIfQuery
from shared.money import ZERO

WAIT_S = Decimal(10)
"""The longest wait, also where the limits say "unlimited"."""


class MarginDesk:
    """The questions under way, by intent. An answer that came is in `book.margins.answers`.

    Args:
        client: names the stream of answers.
    """

    def __init__(self, bus: Bus, clock: Clock, *, client: str) -> None:
        self._bus = bus
        self._clock = clock
        self._client = client
        self._open: dict[str, tuple[str, int, int]] = {}
        """Query → intent, when it was asked, until when an answer counts; wall ns."""
        self._number = 0
        self._cursor = ""

    async def ask(self, intent: Intent, book: Book, limits: Limits) -> None:
        """Send the question about an intent; calling again, after a lost reply, asks again."""
        now_ns = self._clock.wall_ns()
        case = Case(intent, book, limits, now_ns)
        limit_s = case.limits.what_if_wait_s
        wait_s = WAIT_S if limit_s is None or limit_s > WAIT_S else limit_s
        stream = self._bus.keys.answers(self._client)
        if not self._cursor:
            self._cursor = await self._bus.last_id(stream)
        self._number += 1
        query = WhatIfQuery(
            query_id=f"{intent.intent_id}:{self._number}:{now_ns}", client=self._client, con_id=intent.con_id,
            deadline_ns=min(now_ns + int(wait_s * NS_PER_S), intent.valid_until_ns), ts_init_ns=now_ns,
            order=order_to_ask(intent, max(case.buys, case.sells)),
        )  # fmt: skip
        await self._bus.append(self._bus.keys.queries, query, source=f"risk:{self._client}")
        self._open[query.query_id] = (intent.intent_id, now_ns, query.deadline_ns)
        get_logger().info("margin.asked", intent_id=intent.intent_id, con_id=intent.con_id, wait_s=plain(wait_s))

    def is_asked(self, intent_id: str) -> bool:
        """Return whether a question about an intent is under way."""
        return any(asked[0] == intent_id for asked in self._open.values())

    async def look(self, book: Book) -> None:
        """Take the answers that came, and end the questions whose time is up."""
        stream = self._bus.keys.answers(self._client)
        found = await self._bus.read({stream: self._cursor}, count=100) if self._open else {}
        for entry in found.get(stream, []):
            self._cursor = entry.entry_id
            try:
                answer = decode_fields(entry.fields, entry_id=entry.entry_id, stream=stream).message
            except BadInput as e:
                get_logger().error("entry.unreadable", stream=stream, entry_id=entry.entry_id, error=str(e))
                continue  # the question ends without an answer
            asked = self._open.pop(answer.query_id, None) if isinstance(answer, WhatIfAnswer) else None
            if asked is not None and isinstance(answer, WhatIfAnswer):
                self._put(book, asked[0], margin_of(answer, asked[1]))
        now_ns = self._clock.wall_ns()
        for query_id, (intent_id, asked_ns, until_ns) in list(self._open.items()):
            if now_ns >= until_ns:
                del self._open[query_id]
                late_s = (now_ns - asked_ns) / NS_PER_S
                self._put(book, intent_id, Margin(asked_ns, f"no answer came within {late_s:.1f} s"))

    @staticmethod
    def _put(book: Book, intent_id: str, margin: Margin) -> None:
        book.margins.answers[intent_id] = margin
        get_logger().info("margin.answered", intent_id=intent_id, error=margin.error, after=str(margin.after))


def margin_of(answer: WhatIfAnswer, asked_ns: int) -> Margin:
    """Return what an answer says; one that failed, or that names no margin, is an error."""
    if answer.error:
        return Margin(asked_ns, f"{answer.error} ({answer.code})" if answer.code else answer.error)
    after, equity = answer.init_margin_after, answer.equity_with_loan_after
    if after is None or equity is None:
        return Margin(asked_ns, "its answer names no margin or no equity")
    before = answer.init_margin_before
    return Margin(asked_ns, after=after, change=after - (ZERO if before is None else before), equity=equity)


def must_ask(decision: Decision, book: Book) -> bool:
    """Return whether nothing stands against an intent but that the broker has not been asked."""
    if decision.intent_id in book.margins.answers:
        return False
    code = MarginUnknown.code
    results = (*decision.failed, *decision.warned)
    return any(one.code == code for one in results) and all(one.code == code for one in decision.failed)

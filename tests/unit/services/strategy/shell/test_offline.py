from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from services.strategy.api import FillEvent, Quote, Strategy, Timer
from services.strategy.shell.loader import Declared, DeclaredUnit
from services.strategy.shell.offline import Begin, OfflineUnit, Result, essence, run_offline, sentence
from shared.bus.keys import Keys
from shared.bus.ports import Entry
from shared.errors import BadInput
from shared.ids import UnitId
from shared.messages.base import Message
from shared.messages.codec import encode_fields
from shared.messages.market import pack_ticks, quote_tick
from shared.messages.orders import Decision, Fill, Intent
from tests.unit.services.strategy.parts import IBM

KEYS = Keys("rec", 4)
TICKS = KEYS.ticks(KEYS.partition(IBM.con_id))
START_MS = 1_700_000_000_000


class Steps(Strategy):
    """Buys one at every quote above 100 while it holds less than two, and sells all at a timer."""

    class State(BaseModel):
        fills: int = 0

    def on_start(self) -> None:
        self.set_timer("out", 5.0)

    def on_quote(self, quote: Quote) -> None:
        if quote.bid > 100 and self.expected_position(quote.contract) < 2:
            self.buy(quote.contract, 1, reason=f"bid {quote.bid}")

    def on_fill(self, fill: FillEvent) -> None:
        self.state.fills += 1

    def on_timer(self, timer: Timer) -> None:
        self.close("IBM", reason=f"after {self.state.fills} fills")


UNIT = DeclaredUnit(UnitId("steps/IBM"), Declared("steps", Steps, Steps.Params(), (), "x.py"), ("IBM",))


def quote(at_s: float, bid: float) -> Entry:
    at_ms = START_MS + int(at_s * 1000)
    body = pack_ticks([quote_tick(IBM.con_id, at_ms * 10**6, 1, 1, bid, 1.0, bid + 1, 1.0)])
    return Entry(TICKS, f"{at_ms}-0", {b"type": b"ticks", b"body": body})


def message(at_s: float, stream: str, content: Message) -> Entry:
    fields = {name.encode(): value for name, value in encode_fields(content, source="t").items()}
    return Entry(stream, f"{START_MS + int(at_s * 1000)}-1", fields)


def answers(intent: Intent, at_s: float) -> list[Entry]:
    """What risk and the broker said to an intent."""
    decision = Decision(intent_id=intent.intent_id, approved=True, con_id=IBM.con_id, strategy="steps")
    fill = Fill(
        exec_id=f"e{at_s}.01", exec_stem=f"e{at_s}", intent_id=intent.intent_id, strategy="steps", account="DU1",
        con_id=IBM.con_id, side=intent.legs[0].side, quantity=intent.legs[0].quantity, price=Decimal(100),
    )  # fmt: skip
    return [message(at_s, KEYS.decisions, decision), message(at_s + 0.01, KEYS.fills, fill)]


def run(entries: list[Entry], recorded: list[Intent] | None = None, **begin: Any) -> Result:
    unit = OfflineUnit(
        KEYS, UNIT, [IBM], {"id": "d", "account": "DU1"}, begin=Begin(at_ns=START_MS * 10**6, **begin),
        recorded=recorded or [],
    )  # fmt: skip
    (result,) = run_offline([unit], entries)
    return result


QUOTES = [quote(1, 101.0), quote(2, 102.0), quote(3, 103.0), quote(6, 99.0), quote(7, 98.0)]


def test_the_same_entries_give_the_same_intents_and_timers_fire_at_their_time() -> None:
    first, second = run(QUOTES), run(QUOTES)
    assert [one.model_dump() for one in first.intents] == [one.model_dump() for one in second.intents]
    assert [one.reason for one in first.intents] == ["bid 101.0", "bid 102.0"], "nothing has filled, nothing to close"
    assert first.events == 5


def test_recorded_answers_find_the_replayed_intents() -> None:
    live = run(QUOTES).intents
    renamed = [one.model_copy(update={"intent_id": f"{number:020d}"}) for number, one in enumerate(live)]
    entries = sorted(
        [*QUOTES, *answers(renamed[0], 1.5), *answers(renamed[1], 2.5)], key=lambda one: one.entry_id
    )  # fmt: skip
    result = run(entries, renamed)
    assert [one.intent_id for one in result.intents[:2]] == [one.intent_id for one in renamed]
    assert [(one.reason, one.legs[0].quantity) for one in result.intents[2:]] == [("after 2 fills", 2)]


def test_the_first_difference_is_named() -> None:
    made = run(QUOTES).intents
    assert run(QUOTES, made).difference == ""
    other = [made[0], made[1].model_copy(update={"reason": "bid 105.0"})]
    difference = run(QUOTES, other).difference
    assert difference.startswith("intent 2 was place BUY 1 MKT IBM (bid 105.0") and "(bid 102.0" in difference
    until = {TICKS: QUOTES[-1].entry_id}
    assert run(QUOTES, [*made, made[0].model_copy(update={"intent_id": "x" * 20})], until=until).difference == (
        "3 intents were recorded and 2 made"
    )
    assert run(QUOTES, made[:1], until=until).difference == "1 intents were recorded and 2 made"


def test_a_unit_takes_what_lies_between_its_begin_and_its_end() -> None:
    result = run(QUOTES, cursors={TICKS: QUOTES[0].entry_id}, until={TICKS: QUOTES[1].entry_id})
    assert [one.reason for one in result.intents] == ["bid 102.0"] and result.events == 1


def test_an_intent_that_came_after_the_unit_was_last_seen_is_no_difference() -> None:
    made = run(QUOTES).intents
    assert run(QUOTES, made, until={TICKS: QUOTES[0].entry_id}).difference == ""


def test_errors_are_shown_with_their_line() -> None:
    class Broken(Steps):
        def on_quote(self, quote: Quote) -> None:
            raise RuntimeError("by design")

    declared = DeclaredUnit(UNIT.unit_id, Declared("steps", Broken, Broken.Params(), (), "x.py"), ("IBM",))
    unit = OfflineUnit(KEYS, declared, [IBM], {}, begin=Begin())
    (result,) = run_offline([unit], QUOTES)
    assert result.errors == 5 and "test_offline.py:" in result.error and "5 errors" in result.paused


def test_history_that_was_not_recorded_refuses_the_replay() -> None:
    spec = Declared("steps", Steps, Steps.Params(), (), "x.py", history=(("1 day", 5),))
    unit = OfflineUnit(KEYS, DeclaredUnit(UNIT.unit_id, spec, ("IBM",)), [IBM], {}, begin=Begin())
    with pytest.raises(BadInput, match="none were recorded"):
        unit.load_history([])


def test_what_an_intent_decides_is_not_when_it_was_made() -> None:
    one = run(QUOTES).intents[0]
    later = one.model_copy(update={"ts_init_ns": 5, "incarnation": "other", "valid_until_ns": 9})
    assert essence(one) == essence(later) and sentence(one).startswith("place BUY 1 MKT IBM")

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.strategy.core.ordering import Identity
from services.strategy.core.sessions import Session, SessionPlan, SessionRules
from services.strategy.core.unit import Unit
from services.strategy.shell.caretaker import Caretaker, in_care, needs_care
from services.strategy.shell.loader import changed_units, load_strategies
from shared.messages.orders import OrderState, Side
from tests.unit.services.strategy.core.test_sessions import NS, STOCK, Day, at
from tests.unit.services.strategy.parts import event

TABLE = '[strategy.mine]\nfile = "mine.py"\nclass = "Mine"\ncontracts = ["IBM"]\nsession = "rth"\n'
FLAT = 'flat_by = "15:45"\n'
CODE = "from services.strategy.api import Strategy\nclass Mine(Strategy):\n    pass\n"


def written(folder: Path, toml: str, code: str) -> Path:
    (folder / "mine.py").write_text(code)
    (folder / "strategies.toml").write_text(toml)
    return folder / "strategies.toml"


@pytest.mark.parametrize("code", ["import nothing_such\n", "x = (\n", "class Other: pass\n"])
def test_a_strategy_that_does_not_load_is_in_care_where_the_platform_owes_it_something(
    tmp_path: Path, code: str
) -> None:
    broken = load_strategies(written(tmp_path, TABLE + FLAT, code), fresh=True)
    (unit,) = broken.units.values()
    assert unit.strategy.cls is Caretaker and unit.why_in_care == broken.mistakes["mine"]
    assert load_strategies(written(tmp_path, TABLE, code), fresh=True).units == {}
    mended = load_strategies(written(tmp_path, TABLE + FLAT, CODE), fresh=True)
    assert changed_units(broken, mended) == ["mine/IBM"] and mended.mistakes == {}
    (whole,) = mended.units.values()
    assert needs_care(whole) and in_care(whole, "x").strategy.cls is Caretaker
    assert not needs_care(replace(whole, strategy=replace(whole.strategy, rules=None)))


class Kept(BaseModel):
    """A state of a strategy that is not there any more."""

    ladder: list[int] = [1, 2]


def test_what_works_is_cancelled_what_is_held_is_closed_and_the_state_stays() -> None:
    day = Day()
    day.eager.state = Kept()
    (bought,) = day.quote("2026-11-23 10:00")
    day.filled(bought, 10, "e1")
    day.eager.script = lambda quote: day.eager.sell(quote.contract, 10, stop=90)
    (stop,) = day.quote("2026-11-23 10:01")
    day.tell(stop, OrderState.WORKING)
    now_ns = at("2026-11-23 10:02")
    saved = day.unit.commit(now_ns, force=True)
    assert saved is not None
    day.unit.committed(now_ns)

    caretaker = Caretaker(Caretaker.Params())
    rules = SessionRules(Session.RTH, "15:30", "15:45")
    identity = Identity("d", "DUSIM0001", "s", "s/IBM")
    unit = Unit(identity, caretaker, {STOCK.con_id: STOCK}, sessions={STOCK.con_id: SessionPlan(rules, STOCK)})
    unit.why_stopped = "stopped: on_quote did not return"
    caretaker.bind(unit)
    unit.restore(
        commit=saved.number, state=saved.state, timers=saved.timers, cursors=saved.cursors, past=saved.past or b""
    )
    unit.start(now_ns, now_ns)
    unit.tick(at("2026-11-23 15:44"))
    begun = unit.commit(at("2026-11-23 15:44"), force=True)
    assert begun is not None and begun.cancels == ()
    unit.committed(at("2026-11-23 15:44"))
    unit.tick(at("2026-11-23 15:45"))
    cancelling = unit.commit(at("2026-11-23 15:45"))
    assert cancelling is not None and [one.intent_id for one in cancelling.cancels] == [stop.intent_id]
    unit.committed(at("2026-11-23 15:45"))
    unit.order_event(event(stop, OrderState.CANCELLED), 1, 1, "1-1")
    later = at("2026-11-23 15:45") + 4 * NS
    unit.tick(later)
    closing = unit.commit(later)
    assert closing is not None
    leg = closing.intents[-1].legs[0]
    assert (leg.side, leg.quantity, closing.intents[-1].reason) == (Side.SELL, Decimal(10), "flat_by")
    again = Unit(identity, day.eager, {STOCK.con_id: STOCK})
    again.restore(
        commit=closing.number,
        state=closing.state,
        timers=closing.timers,
        cursors=closing.cursors,
        past=closing.past or b"",
    )
    assert day.eager.state == Kept() and unit.why_not_trading.startswith("stopped:")

from __future__ import annotations

from services.guard.core.latch import Halt, halted, restored, resumed

OPEN = Halt(is_holding=False)


def test_a_missing_or_broken_halt_holds_except_in_a_fresh_simulation():
    assert restored(None, is_sim=False).is_holding
    assert not restored(None, is_sim=True).is_holding
    for text in ("", "{}", "[1]", '{"is_holding": false}'):
        assert restored(text, is_sim=True).is_holding
    halt = halted(OPEN, reason="r", who="w", at_ns=5)
    assert restored(halt.to_json(), is_sim=False) == halt
    assert halted(halt, reason="other", who="x", at_ns=6) == halt
    assert resumed(halt, reason="fine", who="x", at_ns=7) == Halt(False, "fine", "x", 7)

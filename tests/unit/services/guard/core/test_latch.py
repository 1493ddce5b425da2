from __future__ import annotations

from services.guard.core.latch import Halt, contract_halted, contract_resumed, halted, restored, resumed

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


def test_a_contract_is_held_by_itself_and_outlives_a_restart_and_a_resume_of_everything():
    halt = contract_halted(OPEN, 7, reason="news", who="anna")
    assert halt.contracts == {7: "anna: news"} and not halt.is_holding
    assert contract_halted(halt, 7, reason="other", who="bert") == halt
    both = halted(contract_halted(halt, 8, reason="x", who="y"), reason="r", who="w", at_ns=5)
    assert restored(both.to_json(), is_sim=False) == both
    open_again = resumed(both, reason="fine", who="x", at_ns=7)
    assert not open_again.is_holding and list(open_again.contracts) == [7, 8]
    assert contract_resumed(open_again, 7).contracts == {8: "y: x"}
    assert contract_resumed(OPEN, 7) == OPEN


def test_a_file_of_an_older_release_holds_no_contract():
    text = '{"is_holding": false, "reason": "r", "who": "w", "at_ns": 1}'
    assert restored(text, is_sim=False) == Halt(False, "r", "w", 1)
    assert restored(text.replace("}", ', "contracts": 5}'), is_sim=True).is_holding

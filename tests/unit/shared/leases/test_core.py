from __future__ import annotations

from shared.bus.ports import LeaseView
from shared.leases.core import Candidate, LeaseTiming

MS = 10**6
TIMING = LeaseTiming.of_ttl(1.0)
HELD = LeaseView("a", 1, "inc", 7)


def test_a_candidate_knows_when_what_it_saw_can_be_taken() -> None:
    candidate = Candidate(TIMING)
    assert candidate.due_ns(0) == 0, "nothing was seen yet"
    assert candidate.observed(HELD, 90 * MS, 100 * MS) is None
    assert candidate.due_ns(100 * MS) == 1000 * MS
    assert candidate.due_ns(1050 * MS) == 50 * MS
    assert candidate.due_ns(1200 * MS) == 0
    assert candidate.observed(HELD, 1099 * MS, 1100 * MS) is None, "the question was sent before a whole lease time"
    assert candidate.observed(HELD, 1100 * MS, 1101 * MS) == HELD


def test_a_renewal_begins_the_wait_anew() -> None:
    candidate = Candidate(TIMING)
    candidate.observed(HELD, 0, 0)
    candidate.observed(LeaseView("a", 1, "inc", 8), 490 * MS, 500 * MS)
    assert candidate.due_ns(600 * MS) == 900 * MS

"""What decisions ask first agrees with the full answer, after each thing that a gateway can say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.risk.core.readiness import Readiness
from shared.messages.control import BrokerStatus, LinkState, Reconciled

statuses = st.builds(
    BrokerStatus,
    instance=st.sampled_from(["g1", "g2"]),
    state=st.sampled_from(list(LinkState)),
    is_leader=st.booleans(),
    epoch=st.integers(1, 3),
)
announcements = st.builds(
    Reconciled, instance=st.just("g1"), epoch=st.integers(1, 3), incarnation=st.sampled_from(["a", "b"])
)


@given(said=st.lists(st.one_of(statuses, announcements, st.integers(1, 4), st.just("unreadable")), max_size=12))
def test_the_short_answer_agrees_with_the_long_one(said: list[object]) -> None:
    readiness = Readiness()
    for one in said:
        if isinstance(one, BrokerStatus):
            readiness.apply_status(one)
        elif isinstance(one, Reconciled):
            readiness.apply_reconciled(one)
        elif isinstance(one, int):
            readiness.saw_epoch(one)
        else:
            readiness.unsafe = "an entry"
        for incarnation in ("a", "b"):
            assert (readiness.settled_in == incarnation) == (readiness.complaint(incarnation) is None)
        again = Readiness()
        again.restore(readiness.stored())
        assert again.stored() == readiness.stored() and again.settled_in == readiness.settled_in

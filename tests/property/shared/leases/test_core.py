"""Two holders never believe at once, however slow the replies and however the candidates' polls fall."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bus.ports import LeaseToken, LeaseView
from shared.clock import NS_PER_S, seeded_random
from shared.errors import ConfigError
from shared.leases.core import Candidate, Holder, LeaseTiming

TIMING = LeaseTiming.of_ttl(1.0)


@dataclass
class Store:
    """The lease key, as the scripts treat it."""

    view: LeaseView = field(default_factory=LeaseView)

    def acquire(self, owner: str, seen: LeaseView) -> LeaseToken | None:
        if seen != self.view:
            return None
        self.view = LeaseView(owner, self.view.epoch + 1, "i", 1)
        return LeaseToken("r", owner, self.view.epoch, "i")

    def renew(self, token: LeaseToken) -> bool:
        if (self.view.owner, self.view.epoch) != (token.owner, token.epoch):
            return False
        self.view = LeaseView(token.owner, token.epoch, "i", self.view.counter + 1)
        return True


class Process:
    """One process: polls as a candidate, renews as a holder; every message takes its own time, pauses included."""

    def __init__(self, name: str, store: Store, seed: int, *, dates_from_reply: bool) -> None:
        self.name = name
        self.store = store
        self.chance = seeded_random(f"{seed}-{name}")
        self.candidate = Candidate(TIMING)
        self.holder: Holder | None = None
        self.dates_from_reply = dates_from_reply
        self.events: list[tuple[int, str, int, object]] = [(self.delay_ns(), "ask", 0, None)]

    def delay_ns(self) -> int:
        worst = 1.8 if self.chance.random() < 0.2 else 0.05
        return int(self.chance.random() * worst * NS_PER_S)

    def believes(self, now_ns: int) -> bool:
        return self.holder is not None and self.holder.has_lease(now_ns)

    def step(self) -> int:  # noqa: C901 - one branch per kind of event reads better than a table here
        """Carry out the earliest event; each act goes out, arrives at the store, and its reply comes back later."""
        self.events.sort(key=lambda event: event[0])
        now_ns, kind, sent_ns, data = self.events.pop(0)
        if kind == "ask":
            if self.believes(now_ns):
                self.events.append((now_ns + self.delay_ns(), "renew-arrives", now_ns, None))
            else:
                self.holder = None
                self.events.append((now_ns + self.delay_ns(), "look-arrives", now_ns, None))
        elif kind == "look-arrives":
            self.events.append((now_ns + self.delay_ns(), "look-replied", sent_ns, self.store.view))
        elif kind == "look-replied":
            assert isinstance(data, LeaseView)
            target = self.candidate.observed(data, sent_ns, now_ns)
            if target is None:
                self.events.append((now_ns + int(TIMING.renew_s * NS_PER_S), "ask", 0, None))
            else:
                self.candidate.forget()
                self.events.append((now_ns + self.delay_ns(), "take-arrives", now_ns, target))
        elif kind == "take-arrives":
            assert isinstance(data, LeaseView)
            self.events.append((now_ns + self.delay_ns(), "take-replied", sent_ns, self.store.acquire(self.name, data)))
        elif kind == "take-replied":
            if isinstance(data, LeaseToken):
                self.holder = Holder(data, now_ns if self.dates_from_reply else sent_ns, TIMING)
            self.events.append((now_ns + int(TIMING.renew_s * NS_PER_S), "ask", 0, None))
        elif kind == "renew-arrives":
            done = self.holder is not None and self.store.renew(self.holder.token)
            self.events.append((now_ns + self.delay_ns(), "renew-replied", sent_ns, done))
        else:
            if self.holder is not None:
                if data:
                    self.holder.has_lease(now_ns)
                    self.holder.renewed(now_ns if self.dates_from_reply else sent_ns)
                else:
                    self.holder.void()
            self.events.append((now_ns + int(TIMING.renew_s * NS_PER_S), "ask", 0, None))
        return now_ns

    @property
    def next_ns(self) -> int:
        return min(event[0] for event in self.events)


def two_believed_at_once(seed: int, *, dates_from_reply: bool) -> bool:
    store = Store()
    processes = [Process(name, store, seed, dates_from_reply=dates_from_reply) for name in "abc"]
    for _ in range(400):
        process = min(processes, key=lambda one: one.next_ns)
        now_ns = process.step()
        if sum(one.believes(now_ns) for one in processes) > 1:
            return True
    return False


@given(seed=st.integers(0, 2**32))
@settings(max_examples=200)
def test_two_never_believe_at_once(seed: int) -> None:
    assert not two_believed_at_once(seed, dates_from_reply=False)


def test_dating_the_lease_from_the_reply_would_be_caught() -> None:
    assert any(two_believed_at_once(seed, dates_from_reply=True) for seed in range(300))


def test_a_lease_that_ran_out_never_comes_back() -> None:
    holder = Holder(LeaseToken("r", "a", 1, "i"), 0, TIMING)
    assert holder.has_lease(TIMING.usable_ns - 1)
    assert not holder.has_lease(TIMING.usable_ns)
    holder.renewed(TIMING.usable_ns)
    assert not holder.has_lease(TIMING.usable_ns + 1)


def test_a_candidate_waits_a_whole_lease_after_the_last_change() -> None:
    candidate = Candidate(TIMING)
    view = LeaseView("a", 1, "i", 7)
    assert candidate.observed(view, 0, 10) is None
    assert candidate.observed(view, TIMING.ttl_ns + 9, TIMING.ttl_ns + 20) is None
    assert candidate.observed(view, TIMING.ttl_ns + 10, TIMING.ttl_ns + 20) == view
    assert candidate.observed(LeaseView("a", 1, "i", 8), 3 * TIMING.ttl_ns, 3 * TIMING.ttl_ns) is None
    assert candidate.observed(LeaseView(), 0, 0) == LeaseView()


def test_times_that_lose_the_lease_by_themselves_are_refused() -> None:
    with pytest.raises(ConfigError, match="renew at least twice"):
        LeaseTiming(1.0, 0.6, 0.1).check()

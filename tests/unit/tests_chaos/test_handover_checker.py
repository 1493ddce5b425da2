"""The judge of hand-overs sees skipped, doubled and swapped events, doubled and missing orders."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.chain import fill_link, quote_link
from tests.chaos.handover_checker import Account, HandoverChecker

QUOTES = [(1000 + number, 10.0 + number, 1.0, 10.1 + number, 2.0) for number in range(12)]


class Worker:
    """A unit as the witness strategy would be, fed by hand."""

    def __init__(self, checker: HandoverChecker, every: int = 2) -> None:
        self.checker, self.every = checker, every
        self.said = Account(0, 0, 0, 0)
        self.orders = 0

    def sees(self, quotes: Sequence[tuple[int, float, float, float, float]], worker: str = "a", epoch: int = 5) -> None:
        for quote in quotes:
            self.said.quotes += 1
            self.said.quote_sum = quote_link(self.said.quote_sum, *quote)
            if self.said.quotes % self.every == 0:
                self.orders += 1
                self.order(f"i{self.orders}", worker, epoch)

    def order(self, intent_id: str, worker: str = "a", epoch: int = 5) -> None:
        said = self.said
        reason = f"{said.quotes}:{said.quote_sum}:{said.fills}:{said.fill_sum}"
        self.checker.intent("w/IBM", intent_id, reason, worker, epoch)


def checker_of() -> tuple[HandoverChecker, Worker]:
    checker = HandoverChecker({"w/IBM": 7}, 2, "w")
    return checker, Worker(checker)


def publish(checker: HandoverChecker, quotes: Sequence[tuple[int, float, float, float, float]] = QUOTES) -> None:
    for number, quote in enumerate(quotes, start=1):
        checker.quote("ticks", f"{number}-0", 7, quote)


def test_a_whole_account_over_two_workers_is_clean_whatever_is_read_first() -> None:
    checker, worker = checker_of()
    worker.sees(QUOTES[:5])
    publish(checker)
    checker.fill("fills", "9-0", 7, "w", "e1", "e1.01")
    checker.began("w/IBM", {"ticks": "0-0"})
    worker.said.fills, worker.said.fill_sum = 1, fill_link(0, "e1.01")
    worker.sees(QUOTES[5:], worker="b", epoch=3)
    checker.end("w/IBM", worker.said)
    assert checker.wrong == []
    assert (checker.quotes, checker.fills, checker.intents, checker.moves) == (12, 1, 6, 1)


def test_what_was_published_before_a_unit_began_does_not_count() -> None:
    checker, worker = checker_of()
    checker.began("w/IBM", {"ticks": "4-0"})
    publish(checker)
    worker.sees(QUOTES[4:])
    checker.end("w/IBM", worker.said)
    assert checker.wrong == [] and checker.quotes == 8


def test_a_skipped_a_doubled_and_a_swapped_event_are_seen() -> None:
    for told in (
        QUOTES[:3] + QUOTES[4:],
        [*QUOTES[:3], QUOTES[2], *QUOTES[3:]],
        [*QUOTES[:2], QUOTES[3], QUOTES[2], *QUOTES[4:]],
    ):
        checker, worker = checker_of()
        checker.began("w/IBM", {})
        publish(checker)
        worker.sees(told)
        assert any("seen others than the stream holds" in sentence for sentence in checker.wrong)


def test_an_order_twice_with_another_id_is_seen_and_one_with_the_same_id_is_a_repetition() -> None:
    checker, worker = checker_of()
    checker.began("w/IBM", {})
    publish(checker)
    worker.sees(QUOTES[:2])
    worker.order("i1")
    assert checker.wrong == [] and checker.repeated == 1
    worker.order("other", worker="b", epoch=9)
    assert any("order at quote 2 after the one at 2" in sentence for sentence in checker.wrong)


def test_a_missing_order_an_older_life_and_an_execution_that_was_not_told_are_seen() -> None:
    checker, worker = checker_of()
    checker.began("w/IBM", {})
    publish(checker)
    worker.sees(QUOTES[:2], epoch=5)
    worker.sees(QUOTES[2:4], epoch=4)
    assert ["under epoch 4 after 5" in sentence for sentence in checker.wrong] == [True]
    worker.every = 100
    worker.sees(QUOTES[4:])
    checker.fill("fills", "9-0", 7, "w", "e1", "e1.01")
    checker.end("w/IBM", worker.said)
    assert any("saw 0 executions, 1 were published" in sentence for sentence in checker.wrong)
    assert any("its last order is at quote 4, due was 12" in sentence for sentence in checker.wrong)

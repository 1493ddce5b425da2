"""Two memories of the halt, and which one counts (P6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.gateway.core.halt_memory import DAMAGED, HaltMemory, memory_of, newer, recalled, stored_memory

HALTED = HaltMemory(is_halted=True, control_id="c", who="anna", reason="news", at_ns=100, epoch=7)
OPEN = HaltMemory(is_halted=False, at_ns=50, epoch=7)


@pytest.mark.parametrize("is_sim", [True, False])
@pytest.mark.parametrize(
    "stored, disk, is_halted",
    [
        (HALTED, None, True),
        (HALTED, OPEN, True),
        (OPEN, HALTED, True),  # Redis lost the halt
        (replace(OPEN, at_ns=150), HALTED, False),  # resumed on another machine
        (OPEN, OPEN, False),
        (OPEN, None, False),
        (None, HALTED, True),
        (None, DAMAGED, True),
        (OPEN, DAMAGED, False),
    ],
)
def test_a_halt_newer_than_the_last_resume_holds(
    stored: HaltMemory | None, disk: HaltMemory | None, is_halted: bool, is_sim: bool
) -> None:
    assert recalled(stored, disk, is_sim=is_sim, redis_epoch=7).is_halted is is_halted


@pytest.mark.parametrize("disk", [None, OPEN])
def test_an_empty_redis_means_halted_where_real_things_are_traded(disk: HaltMemory | None) -> None:
    assert recalled(None, disk, is_sim=False, redis_epoch=0).is_halted
    assert not recalled(None, disk, is_sim=True, redis_epoch=0).is_halted


def test_an_older_redis_means_halted_where_real_things_are_traded() -> None:
    assert recalled(OPEN, OPEN, is_sim=False, redis_epoch=6).is_halted
    assert not recalled(OPEN, OPEN, is_sim=True, redis_epoch=6).is_halted
    assert not recalled(OPEN, OPEN, is_sim=False, redis_epoch=8).is_halted


def test_what_is_kept_is_the_later_word_and_the_highest_epoch() -> None:
    assert newer(None, OPEN) == OPEN
    assert newer(HALTED, replace(OPEN, epoch=9)) == replace(HALTED, epoch=9)
    assert newer(OPEN, replace(HALTED, epoch=1)) == HALTED


def test_the_disk_keeps_everything_and_damage_is_a_halt() -> None:
    assert memory_of(HALTED.to_json()) == HALTED
    for text in ("", "[]", "{}", '{"is_halted": false}', HALTED.to_json()[:-3]):
        assert memory_of(text).is_halted


def test_the_hash_says_nothing_without_a_stage_that_is_known() -> None:
    assert stored_memory({}, 5) is None and stored_memory({"stage": "maybe"}, 5) is None
    said = stored_memory({"stage": "clean", "who": "anna", "everything": "1"}, 5)
    assert said is not None and said.is_halted and said.everything and (said.who, said.at_ns) == ("anna", 5)
    said = stored_memory({"stage": "none"}, 5)
    assert said is not None and not said.is_halted

from __future__ import annotations

import statistics

from services.simulator.core.chance import Chance, hash_unit, mix


def test_numbers_follow_from_the_seed_alone() -> None:
    one, two = Chance(7), Chance(7)
    assert [one.unit() for _ in range(5)] == [two.unit() for _ in range(5)]
    assert Chance(8).unit() != Chance(7).unit()
    assert hash_unit(7, 3) == hash_unit(7, 3) != hash_unit(7, 4)


def test_known_values_of_splitmix64() -> None:
    assert mix(0) == 0xE220A8397B1DCDAF, "the published first output for seed 0"


def test_numbers_are_spread_evenly() -> None:
    chance = Chance(1)
    plain = [chance.unit() for _ in range(4000)]
    fours = [each for _ in range(2000) for each in chance.four()]
    for numbers in (plain, fours, [hash_unit(1, key) for key in range(4000)]):
        assert all(0 <= each < 1 for each in numbers)
        assert abs(statistics.mean(numbers) - 0.5) < 0.02
        assert abs(statistics.pstdev(numbers) - 12**-0.5) < 0.02
    assert {chance.below(3) for _ in range(100)} == {0, 1, 2}


def test_waits_are_exponential() -> None:
    chance = Chance(2)
    waits = [chance.wait(10.0) for _ in range(4000)]
    assert abs(statistics.mean(waits) - 10.0) < 0.7 and abs(statistics.pstdev(waits) - 10.0) < 0.9

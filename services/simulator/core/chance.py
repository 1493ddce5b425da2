"""Make numbers that look random and follow from a seed alone, the same on every Python and machine.

`hash_unit(seed, key)` is a function, so that a price at a time can be computed without computing all times before it;
`Chance` is a stream of numbers for what happens in sequence (arrivals, sizes).

Source: splitmix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

import math

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_SCALE = 1.0 / (1 << 53)
_SMALL = 1.0 / (1 << 16)
_TINY = 1.0 / (1 << 8)


def mix(value: int) -> int:
    """Return 64 well-mixed bits of `value`."""
    z = (value + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def hash_unit(seed: int, key: int) -> float:
    """Return a number in [0, 1) that follows from seed and key."""
    return (mix(mix(seed) ^ (key & _MASK)) >> 11) * _SCALE


class Chance:
    """A seeded stream of numbers."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = mix(seed & _MASK)

    def unit(self) -> float:
        """Return the next number in [0, 1)."""
        self._state = (self._state + _GOLDEN) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * _SCALE

    def four(self) -> tuple[float, float, float, float]:
        """Return four numbers in [0, 1) of 16 bits each, at the price of one."""
        self._state = (self._state + _GOLDEN) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        z ^= z >> 31
        return (
            (z >> 48) * _SMALL, ((z >> 32) & 0xFFFF) * _SMALL, ((z >> 16) & 0xFFFF) * _SMALL, (z & 0xFFFF) * _SMALL
        )  # fmt: skip

    def five(self) -> tuple[float, float, float, float, float]:
        """Return five numbers in [0, 1) at the price of one: two of 8 bits, then three of 16."""
        self._state = (self._state + _GOLDEN) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        z ^= z >> 31
        return (
            (z >> 56) * _TINY, ((z >> 48) & 0xFF) * _TINY, ((z >> 32) & 0xFFFF) * _SMALL, ((z >> 16) & 0xFFFF) * _SMALL,
            (z & 0xFFFF) * _SMALL,
        )  # fmt: skip

    def wait(self, mean: float) -> float:
        """Return an exponentially distributed time with this mean."""
        return -mean * math.log(1.0 - self.unit())

    def below(self, limit: int) -> int:
        """Return an integer in [0, limit)."""
        return int(self.unit() * limit)

"""Incremental indicators: each value costs the same however long the window is.

Each is a pydantic model, so that it can be a field of a strategy's `State` and is saved with it.
`value` is None until enough was seen. Values that are not finite are ignored.
"""

from __future__ import annotations

import math

from pydantic import BaseModel, Field


class Sma(BaseModel):
    """The mean of the last `period` values."""

    period: int = Field(ge=1)
    window: list[float] = []
    total: float = 0.0
    at: int = 0

    def add(self, value: float) -> float | None:
        """Take a value and return the mean, None before `period` values."""
        if math.isfinite(value):
            if len(self.window) < self.period:
                self.window.append(value)
                self.total += value
            else:
                self.total += value - self.window[self.at]
                self.window[self.at] = value
                self.at = (self.at + 1) % self.period
                if self.at == 0:
                    self.total = math.fsum(self.window)  # once a round: rounding errors do not add up
        return self.value

    @property
    def value(self) -> float | None:
        """Return the mean, None before `period` values."""
        return self.total / self.period if len(self.window) == self.period else None


class Ema(BaseModel):
    """The exponentially weighted mean with weight 2 / (period + 1); the first value starts it."""

    period: int = Field(ge=1)
    count: int = 0
    mean: float = 0.0

    def add(self, value: float) -> float | None:
        """Take a value and return the mean, None before `period` values."""
        if math.isfinite(value):
            self.mean = value if self.count == 0 else self.mean + (value - self.mean) * 2 / (self.period + 1)
            self.count += 1
        return self.value

    @property
    def value(self) -> float | None:
        """Return the mean, None before `period` values."""
        return self.mean if self.count >= self.period else None


class EmaDeviation(BaseModel):
    """An exponentially weighted mean and standard deviation, one weight for both."""

    period: int = Field(ge=2)
    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def add(self, value: float) -> float | None:
        """Take a value and return how many standard deviations it is from the mean so far, None before `period`."""
        if not math.isfinite(value):
            return None
        if self.count == 0:
            self.mean = value
            self.count = 1
            return None
        distance = value - self.mean
        score = distance / self.deviation if self.count >= self.period and self.variance > 0 else None
        alpha = 2 / (self.period + 1)
        self.mean += alpha * distance
        self.variance = (1 - alpha) * (self.variance + alpha * distance * distance)
        self.count += 1
        return score

    @property
    def deviation(self) -> float:
        """Return the standard deviation."""
        return math.sqrt(self.variance)


class StDev(BaseModel):
    """The sample standard deviation of the last `period` values."""

    period: int = Field(ge=2)
    window: list[float] = []
    at: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> float | None:
        """Take a value and return the deviation, None before `period` values."""
        if math.isfinite(value):
            if len(self.window) < self.period:
                self.window.append(value)
                distance = value - self.mean
                self.mean += distance / len(self.window)
                self.squares += distance * (value - self.mean)
            else:
                self._replace(value)
        return self.value

    def _replace(self, value: float) -> None:
        old, old_mean = self.window[self.at], self.mean
        self.window[self.at] = value
        self.mean += (value - old) / self.period
        self.squares += (value - old) * (value - self.mean + old - old_mean)
        self.at = (self.at + 1) % self.period
        if self.at == 0:  # once a round: rounding errors do not add up
            self.mean = math.fsum(self.window) / self.period
            self.squares = math.fsum((one - self.mean) ** 2 for one in self.window)

    @property
    def value(self) -> float | None:
        """Return the deviation, None before `period` values."""
        if len(self.window) < self.period:
            return None
        return math.sqrt(max(0.0, self.squares) / (self.period - 1))

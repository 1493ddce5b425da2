from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.strategy.core.indicators import Ema, EmaDeviation, Sma, StDev

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=60)


@given(VALUES, st.integers(2, 10))
def test_moving_mean_and_deviation_equal_those_of_the_window(values: list[float], period: int) -> None:
    sma, deviation = Sma(period=period), StDev(period=period)
    for number, value in enumerate(values, start=1):
        mean, spread = sma.add(value), deviation.add(value)
        window = values[max(0, number - period) : number]
        if len(window) < period:
            assert mean is None and spread is None
        else:
            assert mean == pytest.approx(statistics.fmean(window), abs=1e-4)
            assert spread == pytest.approx(statistics.stdev(window), abs=0.5, rel=1e-6)


def test_exponential_mean_starts_with_the_first_value_and_follows() -> None:
    ema = Ema(period=3)
    assert [ema.add(value) for value in (10.0, 20.0, 20.0)] == [None, None, 17.5]


def test_values_that_are_not_finite_are_ignored_and_the_state_survives_saving() -> None:
    mean = EmaDeviation(period=3)
    for value in (1.0, float("nan"), 2.0, 3.0, 1.0):
        mean.add(value)
    again = EmaDeviation.model_validate(mean.model_dump(mode="json"))
    assert again == mean and again.count == 4

"""Pulls."""

import numpy as np
import pytest
from pureparallel.core.pulls import BINS, pulls


def test_honest_errors_have_unit_pulls_and_biased_ones_do_not():
    rng = np.random.default_rng(1)
    truth = rng.uniform(1, 100, (300, 300))
    error = np.sqrt(truth)
    value = truth + rng.normal(0, error)
    found = pulls(value, error, truth, np.ones(truth.shape, bool))
    assert found["pixels"] == 90000
    assert found["median"] == pytest.approx(0, abs=0.02)
    assert found["mad"] == pytest.approx(1, abs=0.02)
    assert sum(found["histogram"]) == 90000
    assert len(found["histogram"]) == len(BINS) - 1
    assert pulls(value + 0.5 * error, error / 2, truth, np.ones(truth.shape, bool))["median"] == pytest.approx(
        1, abs=0.03
    )


def test_pixels_that_do_not_count():
    value, error, truth = np.array([1.0, 9.0, np.nan, 2.0]), np.array([1.0, 1.0, 1.0, 0.0]), np.ones(4)
    found = pulls(value, error, truth, np.array([True, False, True, True]))
    assert found["pixels"] == 1
    assert found["median"] == 0
    nothing = pulls(value, error, truth, np.zeros(4, bool))
    assert nothing["pixels"] == 0
    assert np.isnan(nothing["mad"])


def test_outliers_count_and_stay_in_the_histogram():
    value = np.zeros(1000)
    value[:10] = 50
    found = pulls(value, np.ones(1000), np.zeros(1000), np.ones(1000, bool))
    assert found["outliers"] == 0.01
    assert found["histogram"][-1] == 10

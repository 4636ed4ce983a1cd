"""Stated errors of slopes are those that the weighted estimator has."""

import numpy as np
import pytest
from pureparallel.core import slope_errors
from pureparallel.core.ramps import JUMP, SATURATED

GAIN, READ_NOISE, FRAME = 1.61, 7.0, 10.737


def fitted(rate, ngroups, nframes, number=40000):
    """Slopes of simulated ramps in DN/s, weighted as the pipeline does at this signal to noise, read by read."""
    rng = np.random.default_rng(4)
    reads = rng.poisson(rate * GAIN * FRAME, (number, ngroups * nframes)).cumsum(axis=1)
    reads = reads / GAIN + rng.normal(0, READ_NOISE, reads.shape)
    groups = reads.reshape(number, ngroups, nframes).mean(axis=2)
    signal = rate * GAIN * FRAME * nframes * (ngroups - 1)
    height = signal / np.sqrt((READ_NOISE * GAIN) ** 2 / nframes + signal)
    power = next(p for limit, p in slope_errors.POWERS if height < limit)
    time = FRAME * nframes * (np.arange(ngroups) - (ngroups - 1) / 2)
    return np.polyfit(time, groups.T, 1, w=np.sqrt(np.abs(time) ** power + 1e-12))[0]


@pytest.mark.parametrize(("ngroups", "nframes"), [(6, 4), (10, 4), (25, 1)])
@pytest.mark.parametrize("rate", [0.4, 3.0, 60.0])
def test_the_ratio_is_that_of_simulated_ramps(rate, ngroups, nframes):
    step = FRAME * nframes
    stated = rate / (GAIN * step * (ngroups - 1)) + 12 * READ_NOISE**2 / nframes / step**2 / (ngroups**3 - ngroups)
    ratio = slope_errors.variance_ratio(rate, ngroups, nframes, FRAME, GAIN, READ_NOISE)
    assert np.var(fitted(rate, ngroups, nframes)) / stated == pytest.approx(ratio, rel=0.025)


def test_segments_begin_at_jumps_and_end_at_saturation():
    flags = np.zeros((7, 1, 3), np.uint8)
    flags[2, 0, 1] = JUMP
    flags[5:, 0, 1] = SATURATED
    flags[:, 0, 2] = SATURATED
    longest, differences = slope_errors.segments(flags)
    assert longest.tolist() == [[7, 3, 0]]
    assert differences.tolist() == [[6, 3, 0]]


def test_shot_noise_of_dark_current_is_added_where_it_is():
    flags, ones = np.zeros((6, 1, 2), np.uint8), np.full((1, 2), 1.0)
    options = {"nframes": 4, "frame_time": FRAME, "gain": GAIN, "read_noise": READ_NOISE}
    dark = np.array([[0.0, 5.0]])
    photons, reads = slope_errors.honest(ones, 1e-3 * ones, 1e-3 * ones, flags, dark=dark, **options)
    ratio = [slope_errors.variance_ratio(r, 6, 4, FRAME, GAIN, READ_NOISE) for r in (1.0, 6.0)]
    np.testing.assert_allclose(reads[0], 1e-3 * np.array(ratio), rtol=1e-3)
    extra = 5 / (GAIN * 4 * FRAME * 5)
    np.testing.assert_allclose(photons[0], [1e-3 * ratio[0], (1e-3 + extra) * ratio[1]], rtol=1e-3)


def test_pixels_without_a_slope_keep_what_they_had():
    flags = np.full((6, 1, 1), SATURATED, np.uint8)
    photons, reads = slope_errors.honest(
        np.full((1, 1), np.nan), np.zeros((1, 1)), np.full((1, 1), 2.0), flags, nframes=4, frame_time=FRAME, gain=GAIN,
        read_noise=READ_NOISE,
    )  # fmt: skip
    assert (photons[0, 0], reads[0, 0]) == (0, 2)

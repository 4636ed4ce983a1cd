"""Rows whose level jumps are found, measured and mended, whatever else is in the ramp."""

import numpy as np
import pytest
from pureparallel.core import columnjump

READ_NOISE, NY, NX = 7.0, 128, 400


def ramp(rng, ngroups, nframes, rate=1.0):
    """Linear ramps in DN with read noise and cosmic rays."""
    time = 10.7 * nframes * np.arange(ngroups)
    slope = rate * rng.lognormal(0, 0.5, (NY, NX))
    data = time[:, None, None] * slope + rng.normal(0, READ_NOISE / np.sqrt(nframes), (ngroups, NY, NX))
    for _ in range(NY * NX // 30):
        y, x = rng.integers(NY), rng.integers(NX)
        data[rng.integers(1, ngroups) :, y, x] += rng.exponential(500)
    return data.astype(np.float32)


def inject(data, nframes, row, frame, size):
    group, part = divmod(frame, nframes)
    data[group, row] += size * (nframes - part) / nframes
    data[group + 1 :, row] += size


NONE = np.zeros((NY, NX), bool)


@pytest.mark.parametrize(("ngroups", "nframes"), [(6, 4), (10, 4), (8, 1), (25, 1)])
def test_nine_of_ten_jumps_of_five_dn_are_found_in_their_group_with_their_size(ngroups, nframes):
    rng = np.random.default_rng(ngroups)
    data = ramp(rng, ngroups, nframes)
    truth = {}
    for row in range(4, NY, 8):
        # the last frames of a ramp show too little of a jump
        truth[row] = int(rng.integers(1, (ngroups - 1) * nframes)), float(rng.choice([-5, 5, 15, 25]))
        inject(data, nframes, row, *truth[row])
    found = columnjump.find(data, NONE, nframes)
    assert {jump.row for jump in found} <= set(truth)
    near = [j for j in found if abs(j.group - truth[j.row][0] // nframes) <= 1]
    assert len({jump.row for jump in near}) >= 0.9 * len(truth)
    assert np.median([abs(jump.size - truth[jump.row][1]) for jump in near]) < 0.7


def test_a_clean_ramp_and_a_snowball_have_none():
    data = ramp(np.random.default_rng(3), 8, 4)
    assert columnjump.find(data, NONE, 4) == []
    y, x = np.mgrid[:NY, :NX]
    distance = np.hypot(y - 60, x - 200) / 8
    data[3:] += np.where(distance < 1, 3e4, 2500 * np.exp(1 - distance)).astype(np.float32)
    assert columnjump.find(data, NONE, 4) == []


def test_repair_leaves_less_than_a_tenth_of_the_jump():
    rng = np.random.default_rng(5)
    clean = ramp(rng, 8, 4)
    data = clean.copy()
    inject(data, 4, 50, 18, 20.0)
    columnjump.repair(data, columnjump.find(data, NONE, 4))
    assert np.abs(data - clean).max() < 2
    np.testing.assert_array_equal(np.delete(data, 50, axis=1), np.delete(clean, 50, axis=1))


def test_two_jumps_of_one_row_are_told_apart():
    data = ramp(np.random.default_rng(6), 12, 4)
    inject(data, 4, 70, 13, 18.0)
    inject(data, 4, 70, 33, -14.0)
    found = columnjump.find(data, NONE, 4)
    assert sorted(jump.group for jump in found) == [3, 8]
    assert sorted(round(jump.size) for jump in found) == pytest.approx([-14, 18], abs=1)


def test_short_ramps_are_left_alone():
    data = ramp(np.random.default_rng(7), 3, 4)
    inject(data, 4, 70, 6, 50.0)
    assert columnjump.find(data, NONE, 4) == []

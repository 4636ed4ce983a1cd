"""Cosmic rays in ramps: found where they are, and nowhere else."""

import numpy as np
import pytest
from pureparallel.core import jumps
from pureparallel.core.ramps import DO_NOT_USE, JUMP, SATURATED

GAIN, READ_NOISE = 1.6, 7.0


def ramp(ngroups, nframes=1, shape=(96, 100), rate=2.0, seed=1):
    """DN, with photon and read noise; gain and read noise of a difference as the references have them."""
    rng = np.random.default_rng(seed)
    light = rng.poisson(rate * 10.7 * nframes * GAIN, (ngroups, *shape)).cumsum(axis=0) / GAIN
    data = (light + rng.normal(0, READ_NOISE / np.sqrt(nframes), light.shape)).astype(np.float32)
    gain = np.full(shape, GAIN, np.float32)
    noise = np.full(shape, READ_NOISE * np.sqrt(2), np.float32)
    return data, np.zeros(data.shape, np.uint8), gain, noise


@pytest.mark.parametrize("ngroups", [5, 8, 15])
def test_large_steps_are_flagged_in_their_group_and_beside_their_pixel(ngroups):
    data, flags, gain, noise = ramp(ngroups)
    data[3:, 20, 30] += 600  # 30 sigma
    data[2:, 60, 70] += 150
    jumps.flag_jumps(data, flags, gain, noise, 1, jumps.Thresholds(neighbours=(10.0, 200.0)))
    assert flags[:, 20, 30].tolist() == [JUMP if g == 3 else 0 for g in range(ngroups)]
    assert flags[2, 60, 70] == JUMP
    for y, x in ((19, 30), (21, 30), (20, 29), (20, 31)):
        assert flags[3, y, x] & JUMP
    assert not flags[3, 19, 29] & JUMP
    assert np.mean(flags & JUMP != 0) < 3e-3  # short ramps have a few false alarms


def test_two_hits_of_one_pixel_are_both_found():
    data, flags, gain, noise = ramp(9)
    data[2:, 5, 5] += 400
    data[6:, 5, 5] += 300
    jumps.flag_jumps(data, flags, gain, noise, 1, jumps.Thresholds(neighbours=None))
    assert np.flatnonzero(flags[:, 5, 5]).tolist() == [2, 6]


def test_what_is_saturated_or_not_to_be_used_is_not_looked_at():
    data, flags, gain, noise = ramp(8)
    data[4:, 10] += 1e4
    flags[4:, 10] |= SATURATED
    flags[2, 50] |= DO_NOT_USE
    data[2, 50] += 1e4
    before = flags.copy()
    jumps.flag_jumps(data, flags, gain, noise, 1, jumps.Thresholds())
    spoilt = before != 0
    np.testing.assert_array_equal(flags[spoilt], before[spoilt])
    assert np.mean(flags[:, 50] & JUMP != 0) < 0.01


def test_two_groups_are_too_few():
    data, flags, gain, noise = ramp(2)
    data[1:, 10, 10] += 1e4
    assert jumps.flag_jumps(data, flags, gain, noise, 1, jumps.Thresholds()) == -99
    assert not flags.any()


def test_strips_do_not_show(monkeypatch):
    data, flags, gain, noise = ramp(7)
    data[3:, ::7, ::5] += 300
    whole = flags.copy()
    jumps.flag_jumps(data, whole, gain, noise, 1, jumps.Thresholds())
    monkeypatch.setattr(jumps, "STRIP", 500)
    jumps.flag_jumps(data, flags, gain, noise, 1, jumps.Thresholds())
    np.testing.assert_array_equal(flags, whole)

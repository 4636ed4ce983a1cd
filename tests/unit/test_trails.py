"""Trails are found where they are, as wide as they are, and nowhere else."""

import numpy as np
import pytest
from pureparallel.core import trails

SHAPE = (256, 256)
SIGMA = 2.5


def distance(angle, offset, shape=SHAPE):
    """Of each pixel from a line whose normal has this angle and this distance from the middle."""
    y, x = np.indices(shape)
    a = np.deg2rad(angle)
    return (x - (shape[1] - 1) / 2) * np.cos(a) + (y - (shape[0] - 1) / 2) * np.sin(a) - offset


def exposure(seed, light=None, group=3, detected=8.0, cosmic_rays=0.01):
    """Jumps of six groups and the residual of the rate: jumps where light (in sigma) is detected, light elsewhere."""
    rng = np.random.default_rng(seed)
    jumps = rng.random((6, *SHAPE)) < cosmic_rays
    jumps[0] = False
    residual = rng.standard_normal(SHAPE)
    if light is not None:
        jumps[group] |= light > detected
        residual += np.where(light > detected, 0, light)
    return jumps, residual, np.zeros(SHAPE, bool)


def covered(found):
    return np.any([one.mask(SHAPE) for one in found], axis=0) if found else np.zeros(SHAPE, bool)


@pytest.mark.parametrize("angle", [0.0, 0.3, 17.0, 45.0, 89.6, 90.0, 123.4, 179.7])
def test_bright_trail_is_covered_and_little_else(angle):
    light = 400 * np.exp(-0.5 * (distance(angle, 21.3) / SIGMA) ** 2)
    found = trails.find(*exposure(1, light))
    assert [one.group for one in found] == [3]
    truth = light > 0.5
    mask = covered(found)
    assert (mask & truth).sum() >= 0.97 * truth.sum()
    assert mask.sum() < 1.4 * truth.sum()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faint_trail_without_jumps_is_found_in_the_residual(seed):
    light = 1.5 * np.exp(-0.5 * (distance(30.0 + 40 * seed, -30.0) / SIGMA) ** 2)
    (found,) = trails.find(*exposure(seed, light))
    assert found.group == -1
    truth = light > 0.5
    assert (found.mask(SHAPE) & truth).sum() >= 0.9 * truth.sum()


def test_two_trails_are_two():
    light = [400 * np.exp(-0.5 * (distance(a, d) / SIGMA) ** 2) for a, d in ((20, 10), (110, -40))]
    jumps, residual, ignore = exposure(5, light[0], group=2)
    jumps[4] |= light[1] > 8
    found = trails.find(jumps, residual, ignore)
    assert sorted(one.group for one in found) == [2, 4]


def test_trail_that_two_groups_share_is_one():
    light = 400 * np.exp(-0.5 * (distance(70, 5) / SIGMA) ** 2)
    jumps, residual, ignore = exposure(6, light, group=2)
    jumps[3] |= light > 100
    assert len(trails.find(jumps, residual, ignore)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_where_nothing_is(seed):
    assert trails.find(*exposure(seed)) == []


def test_a_row_that_jumps_is_no_trail():
    jumps, residual, ignore = exposure(2)
    jumps[2, 100] = jumps[4, 31] = True
    residual[60] += 3
    residual[:, 90] += 1
    assert trails.find(jumps, residual, ignore) == []


def test_sources_and_spikes_are_no_trail():
    jumps, residual, ignore = exposure(3)
    rng = np.random.default_rng(8)
    y, x = np.indices(SHAPE)
    for cx, cy, far in zip(rng.uniform(0, 256, 60), rng.uniform(0, 256, 60), rng.uniform(2, 9, 60), strict=True):
        residual += 50 * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / far)
    for angle in (0, 60, 120):  # a star's spikes: half of the array long at most
        close = np.hypot(x - 127.5, y - 127.5) < 60
        residual += np.where(close, 20 * np.exp(-0.5 * (distance(angle, 0) / 1.5) ** 2), 0)
    assert trails.find(jumps, residual, ignore) == []


def test_a_large_hit_is_no_trail_and_a_trail_beside_it_is():
    light = 400 * np.exp(-0.5 * (distance(45, 20) / SIGMA) ** 2)
    jumps, residual, ignore = exposure(4, light)
    y, x = np.indices(SHAPE)
    ball = np.hypot(x - 60, y - 190) < 30
    jumps[3] |= ball
    assert len(trails.find(jumps, residual, ball)) == 1
    jumps, residual, ignore = exposure(4)
    jumps[3] |= ball
    assert trails.find(jumps, residual, ignore) == []

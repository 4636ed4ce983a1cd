"""Flags of groups: snowballs whole and no stars, pixels that no light can make, stripes."""

import numpy as np
import pytest
from pureparallel.core import ramps
from pureparallel.core.ramps import JUMP, SATURATED

SHAPE = (200, 210)


def away_from(y, x):
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - y, columns - x)


def with_event(flags, group, y, x, core, halo):
    """Add a saturated core from a group on, and the jump around it."""
    distance = away_from(y, x)
    flags[group:, distance < core] = SATURATED
    flags[group, (distance >= core) & (distance < halo)] |= JUMP
    return distance


def empty(ngroups=8):
    return np.zeros((ngroups, *SHAPE), np.uint8)


@pytest.mark.parametrize("nframes", [1, 4])
@pytest.mark.parametrize(("y", "x"), [(100, 90), (4, 60), (196, 205), (50, -3)])
def test_a_snowball_is_found_once_with_its_halo(nframes, y, x):
    flags = empty()
    distance = with_event(flags, 3, y, x, 6, 25)
    (ball,), mask = ramps.find_snowballs(flags, nframes=nframes, expand=1.4)
    assert ball.group == 3
    assert np.hypot(ball.y - y, ball.x - max(x, 0)) < 14
    assert mask[3][distance < 24].all()
    assert mask[3].sum() < 2 * (distance < 25).sum()
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == ([3] if nframes == 1 else [3, 4])


def test_a_hit_between_two_frames_is_one_event():
    flags = empty()
    distance = with_event(flags, 4, 90, 100, 5, 18)
    flags[3, distance < 20] |= JUMP
    found, mask = ramps.find_snowballs(flags, nframes=4)
    assert [ball.group for ball in found] == [3]
    assert mask[3:5].any(axis=(1, 2)).all()


def test_in_the_last_group_the_core_need_not_be_full():
    flags = empty()
    flags[-1, away_from(90, 100) < 20] = JUMP
    assert len(ramps.find_snowballs(flags, nframes=4)[0]) == 1
    assert ramps.find_snowballs(flags, nframes=1)[0] == []


def test_stars_cosmic_rays_and_trails_are_no_snowballs():
    flags = empty()
    distance = away_from(100, 100)
    for group in range(len(flags)):
        flags[group, distance < 4 + group] = SATURATED  # a star's core grows
    rng = np.random.default_rng(1)
    for _ in range(400):
        y, x, g = rng.integers(196), rng.integers(206), rng.integers(1, 8)
        flags[g, y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] |= JUMP
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    flags[2, np.abs(y - 0.7 * x - 20) < 4] |= JUMP
    found, mask = ramps.find_snowballs(flags, nframes=1)
    assert found == []
    assert not mask.any()


def test_slope_leaves_out_what_is_flagged():
    time = np.arange(6.0)[:, None, None]
    data = (3 * time * np.ones((1, 2, 2))).astype(np.float32)
    flags = np.zeros(data.shape, np.uint8)
    data[3:, 0, 0] += 100
    flags[3, 0, 0] = JUMP
    data[4:, 0, 1] = 0
    flags[4:, 0, 1] = SATURATED
    flags[:, 1, 1] = SATURATED
    np.testing.assert_allclose(ramps.slope(data, flags, 2.0), [[1.5, 1.5], [1.5, np.nan]])


def test_stripes_are_measured_without_what_is_broad():
    rng = np.random.default_rng(2)
    columns = rng.normal(0, 0.01, 300)
    x = np.arange(300)
    image = rng.normal(0, 0.02, (256, 300)) + columns + 0.05 * np.sin(x / 100)
    good = np.ones(image.shape, bool)
    assert ramps.stripe_rms(image, good, 0) == pytest.approx(0.01, rel=0.2)
    assert ramps.stripe_rms(image, good, 1) < 0.003
    assert np.isnan(ramps.stripe_rms(image, ~good, 0))


def test_sky_pixels_leave_sources_out():
    rng = np.random.default_rng(3)
    image = rng.normal(1, 0.05, (200, 200))
    image[90:110, 90:110] += 0.12  # two sigma per pixel
    usable = np.ones(image.shape, bool)
    usable[:, 0] = False
    sky = ramps.sky_pixels(image, usable)
    assert not sky[:, 0].any()
    assert sky[95:105, 95:105].mean() < 0.1
    assert sky[:80, 1:80].mean() > 0.95


@pytest.fixture(scope="module")
def field():
    """Stars of the sharpest filter at all places of a pixel, sky and noise."""
    from pureparallel.simulate.psf import psf

    rng = np.random.default_rng(4)
    sharp, image = psf("F090W", 5, 10), np.full((240, 240), 0.5)
    for i, (dy, dx) in enumerate(np.ndindex(5, 5)):
        grid = np.zeros((105, 105))
        grid[dy : dy + 101, dx : dx + 101] = sharp
        star = grid.reshape(21, 5, 21, 5).sum(axis=(1, 3))
        y, x = 40 * (i // 5) + 20, 40 * (i % 5) + 20
        image[y : y + 21, x : x + 21] += 10 ** (i % 4) * star
    error = np.sqrt(0.03**2 + image / 300)
    return rng.normal(image, error), error


def test_no_star_is_a_bad_pixel(field):
    image, error = field
    hot, dead = ramps.unlike_optics(image, error, np.ones(image.shape, bool))
    assert not hot.any()
    assert not dead.any()


def test_hot_and_dead_pixels_are_found_and_only_they(field):
    image, error = field[0].copy(), field[1].copy()
    rng = np.random.default_rng(5)
    y, x = rng.integers(2, 238, 60), np.arange(2, 238, 4)[:60]
    away = np.array([image[b - 2 : b + 3, a - 2 : a + 3].max() < 0.7 for b, a in zip(y, x, strict=False)])
    y, x = y[: x.size][away], x[away]
    image[y[::2], x[::2]] += 2.0
    error[y[::2], x[::2]] = 0.05
    image[y[1::2], x[1::2]] = 0
    hot, dead = ramps.unlike_optics(image, error, np.ones(image.shape, bool))
    assert hot[y[::2], x[::2]].all()
    assert dead[y[1::2], x[1::2]].all()
    assert hot.sum() + dead.sum() == len(y)


def test_pixels_that_step_down_twice_are_unsteady_and_cosmic_rays_are_not():
    rng = np.random.default_rng(6)
    data = (20 * np.arange(8.0)[:, None, None] + rng.normal(0, 3, (8, 30, 30))).astype(np.float32)
    flags = np.zeros(data.shape, np.uint8)
    for g, sign in ((2, 1), (3, -1), (5, 1), (6, -1)):
        data[g:, 7, 7] += sign * 200
        flags[g, 7, 7] = JUMP
    for g in (2, 5):
        data[g:, 20, 20] += 200
        flags[g, 20, 20] = JUMP
    flags[4:6, 25] = JUMP  # flagged for their neighbours' sake
    found = ramps.unsteady(data, flags, gain=1.6, read_noise=3.0)
    assert np.argwhere(found).tolist() == [[7, 7]]


def test_long_ramps_have_no_more_false_alarms():
    from scipy.stats import norm

    assert ramps.same_false_alarms(4.0, 5) == 4.0
    long = ramps.same_false_alarms(4.0, 29)
    assert 29 * norm.sf(long) == pytest.approx(9 * norm.sf(4.0))


def test_packing_and_unpacking():
    mask = np.random.default_rng(7).random((3, 5, 21)) > 0.5
    np.testing.assert_array_equal(ramps.unpacked(ramps.packed(mask), 21), mask)

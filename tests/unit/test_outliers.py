"""Cosmic rays are found among two to four exposures; stars whose light falls differently on pixels are not."""

import numpy as np
import pytest
from pureparallel.core import outliers

SHAPE = (40, 40)


def star(x, y, flux, width=0.45):
    """A star that is about as narrow as a pixel, integrated over pixels."""
    from scipy.special import erf

    def along(centre):
        edges = np.arange(41) - 0.5 - centre
        return np.diff(erf(edges / (np.sqrt(2) * width))) / 2

    return flux * np.outer(along(y), along(x))


def judged(images, error):
    """Outliers of each image among all, which share their pixels."""
    good = np.ones(SHAPE, bool)
    middle, count = outliers.lower_median(np.array(images))
    level = np.where(count > 1, middle, np.nan)
    steep = outliers.contrast(level)
    return [outliers.find(image, error, good, level, steep) for image in images]


def test_lower_median_takes_the_fainter_middle_and_ignores_what_is_missing():
    nan = np.nan
    stack = np.array([[3.0, 4.0, nan, nan], [1.0, 1.0, nan, 7.0], [2.0, nan, nan, nan], [9.0, nan, nan, nan]])
    median, count = outliers.lower_median(stack)
    np.testing.assert_array_equal(median, [2.0, 1.0, nan, 7.0])
    np.testing.assert_array_equal(count, [4, 2, 0, 1])


def test_contrast_is_the_range_among_neighbours():
    image = np.zeros((5, 5))
    image[2, 2], image[0, 0], image[3, 3] = 4.0, np.nan, np.nan
    found = outliers.contrast(image)
    assert (found[1:4, 1:4] == 4).all()
    assert found[0, 0] == 0
    assert np.isnan(outliers.contrast(np.full((4, 4), np.nan))).all()
    assert found[0, 4] == found[4, 0] == 0


def test_blot_interpolates_and_knows_where_nothing_is():
    y, x = np.mgrid[:6, :7]
    image = 2.0 * x + 3.0 * y
    at = np.array([[[1.25, 2.5], [5.9, 4.9]], [[-1.0, 2.0], [6.6, 1.0]]])
    found, complete = outliers.blot(image, at)
    np.testing.assert_allclose(found[0], [2 * 1.25 + 3 * 2.5, 2 * 5.9 + 3 * 4.9], rtol=1e-6)
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(complete, [[True, True], [False, False]])
    # a hole leaves what is beside it to the others, but not what it is nearest to
    image[2, 1] = np.nan
    beside = np.array([[[1.9, 2.1], [1.4, 2.4]]])
    weights = np.array([0.9 * 0.9, 0.1 * 0.1, 0.9 * 0.1])
    expected = weights @ [2 * 2 + 3 * 2, 2 * 1 + 3 * 3, 2 * 2 + 3 * 3] / weights.sum()
    found, complete = outliers.blot(image, beside)
    assert found[0, 0] == pytest.approx(expected)
    assert np.isnan(found[0, 1]) and not complete.any()
    np.testing.assert_array_equal(outliers.nearest(image, at), [[image[2, 1], 2 * 6 + 3 * 5], [np.nan, np.nan]])


@pytest.mark.parametrize("exposures", [2, 3, 4])
def test_hits_are_found_and_little_else(exposures):
    rng = np.random.default_rng(exposures)
    error = np.ones(SHAPE)
    images = [rng.normal(size=SHAPE) for _ in range(exposures)]
    truth = [rng.uniform(size=SHAPE) < 0.01 for _ in images]
    for image, hit in zip(images, truth, strict=True):
        image[hit] += 12.0
    found = judged(images, error)
    caught = sum(int((f & t).sum()) for f, t in zip(found, truth, strict=True))
    wrong = sum(int((f & ~t).sum()) for f, t in zip(found, truth, strict=True))
    assert caught >= 0.95 * sum(int(t.sum()) for t in truth)
    assert wrong <= 0.002 * exposures * error.size


def test_two_hits_of_four_are_found():
    images = [np.zeros(SHAPE) for _ in range(4)]
    images[0][5, 5] = images[2][5, 5] = 50.0
    found = judged(images, np.ones(SHAPE))
    assert [bool(f[5, 5]) for f in found] == [True, False, True, False]


def test_a_hit_takes_its_fainter_neighbours_along():
    images = [np.zeros(SHAPE) for _ in range(3)]
    images[1][5, 5:8] = 40.0, 4.0, 4.0
    found = judged(images, np.ones(SHAPE))
    assert found[1][5, 5] and found[1][5, 6]
    assert not found[1][5, 7]  # not beside it, and not bright enough by itself
    assert found[1].sum() == 2


@pytest.mark.parametrize("flux", [30.0, 300.0, 3000.0])
def test_stars_at_other_phases_are_spared(flux):
    for phases in ([(0, 0), (0.5, 0.5)], [(0, 0), (0.5, 0.5), (0.5, 0)], [(0.1, 0.2), (0.4, 0.5), (0.5, 0.1), (0, 0)]):
        images = [star(20 + dx, 20 + dy, flux) for dx, dy in phases]
        error = np.sqrt(1 + 0.01 * np.max(images, axis=0))
        # the exposures are shifted back by what moved the star, to a pixel: what is left is its phase
        assert not any(found.any() for found in judged(images, error))


@pytest.mark.parametrize("flux", [15.0, 60.0, 2000.0])
def test_a_star_whose_core_the_other_exposures_miss_is_spared(flux):
    image = star(20.2, 19.9, flux)
    level = image.copy()
    level[20, 20] = np.nan  # a bad pixel
    level[5, 5] = np.nan  # another, on empty sky
    at = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0)), axis=-1) + np.array([0.3, -0.2])
    error = np.ones(SHAPE)
    expected, steep = outliers.expect(level, outliers.contrast(level), at, error)
    data = star(20.2 - 0.3, 19.9 + 0.2, flux)
    data[6, 5] += 9.0
    found = outliers.find(data, error, np.ones(SHAPE, bool), expected, steep)
    assert found[6, 5] and found.sum() == 1


def test_a_hit_beside_a_faint_star_is_found():
    images = [star(20, 20, 50.0) for _ in range(3)]
    images[0][20, 24] += 30.0
    found = judged(images, np.ones(SHAPE))
    assert found[0][20, 24] and not found[1].any()


def test_dips_are_below_the_sky_and_good():
    data, error = np.array([-7.0, -7.0, -5.0, 7.0]), np.ones(4)
    good = np.array([True, False, True, True])
    np.testing.assert_array_equal(outliers.dips(data, error, good, 6.0), [True, False, False, False])


def test_nothing_is_found_where_nothing_is_compared():
    data = np.full(SHAPE, 1e3)
    nothing = np.full(SHAPE, np.nan)
    assert not outliers.find(data, np.ones(SHAPE), np.ones(SHAPE, bool), nothing, nothing).any()

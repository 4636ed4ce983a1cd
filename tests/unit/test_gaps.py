"""Sources that a mosaic shows in part have the rest of their light from another filter."""

import numpy as np
import pytest
from pureparallel.core.gaps import fill


@pytest.fixture
def scene():
    """Three sources in two filters, redder by factors 2, 3 and 4, with segments around them; and noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:40, :90]
    labels, blue = np.zeros((40, 90), int), np.zeros((40, 90))
    red = np.zeros((40, 90))
    for number, (middle, colour) in enumerate(((20, 2.0), (50, 3.0), (75, 4.0)), start=1):
        away = np.hypot(x - middle, y - 20)
        labels[away < 8] = number
        light = np.exp(-((away / 3) ** 2) / 2)
        blue, red = blue + light, red + colour * light
    noise = rng.normal(0, 1e-3, (2, 40, 90))
    error = np.full((40, 90), 1e-3, np.float32)
    return (blue + noise[0]).astype(np.float32), (red + noise[1]).astype(np.float32), error, labels


def test_half_a_source_has_its_other_half_in_its_own_colour(scene):
    blue, red, error, labels = scene
    cut = blue.copy()
    cut[:, 50:] = np.nan
    image, sigma = fill(cut, error, labels, [(red, error)])
    second = labels == 2
    np.testing.assert_allclose(image[second], blue[second], atol=0.01)
    np.testing.assert_allclose(sigma[second & np.isnan(cut)], 1e-3 / 3, rtol=0.02)
    assert np.array_equal(image[np.isfinite(cut)], cut[np.isfinite(cut)])


def test_nothing_is_made_up_where_hardly_anything_is_shared_nor_outside_of_segments(scene):
    blue, red, error, labels = scene
    cut = blue.copy()
    cut[:, 46:] = np.nan  # a tenth of the second source's light is left, none of the third's
    image, _ = fill(cut, error, labels, [(red, error)])
    assert np.isnan(image[(labels == 2) & np.isnan(cut)]).all()
    assert np.isnan(image[labels == 3]).all()
    assert np.isnan(image[(labels == 0) & np.isnan(cut)]).all()


def test_the_most_alike_filter_that_has_it_lends(scene):
    blue, red, error, labels = scene
    cut, green = blue.copy(), 1.5 * blue
    cut[:, 50:] = np.nan
    green[:, 70:] = np.nan
    cut[labels == 3] = np.where(np.arange(90) < 76, blue, np.nan)[labels == 3]
    image, sigma = fill(cut, error, labels, [(green.astype(np.float32), error), (red, error)])
    lent = np.isnan(cut)
    np.testing.assert_allclose(sigma[(labels == 2) & lent], 1e-3 / 1.5, rtol=0.02)
    np.testing.assert_allclose(sigma[(labels == 3) & lent], 1e-3 / 4, rtol=0.03)
    np.testing.assert_allclose(image[labels == 3], blue[labels == 3], atol=0.02)

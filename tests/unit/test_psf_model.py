"""The image of a star behind JWST's aperture."""

import numpy as np
import pytest
from pureparallel.core import psf_match, psf_model
from pureparallel.simulate import psf as simulated
from scipy.ndimage import gaussian_filter

PIXEL = 0.0656


def image(filter="F150W", half=2.5, **options):
    """Samples of a star, with their radii and angles."""
    count = int(half / psf_model.STEP)
    axis = np.arange(-count, count + 1) * psf_model.STEP
    star = psf_model.star(filter, PIXEL, **options).on(axis, axis[:, None]) * (psf_model.STEP / PIXEL) ** 2
    return star, np.hypot(axis, axis[:, None]), np.rad2deg(np.arctan2(axis[:, None], axis)) % 360


def within(radius, filter="F150W", **options):
    star, distance, _ = image(filter, **options)
    return float(star[distance <= radius].sum())


def test_bands_are_those_of_the_names():
    low, high = psf_model.band("F150W")
    assert (low, high) == (pytest.approx(1.33, rel=0.01), pytest.approx(1.67, rel=0.01))
    low, high = psf_model.band("F158M")
    assert high - low == pytest.approx(0.17, abs=0.03)
    with pytest.raises(ValueError, match="CLEAR"):
        psf_model.band("CLEAR")


def test_all_light_is_there_and_the_sides_are_alike():
    whole = psf_model.star("F150W", PIXEL)
    axis = np.arange(-8.4, 8.4, psf_model.STEP)
    light = whole.on(axis, axis[:, None]) * (psf_model.STEP / PIXEL) ** 2
    assert light.sum() == pytest.approx(1, abs=2e-3)
    star, *_ = image()
    np.testing.assert_allclose(star, star[::-1, ::-1], atol=1e-6 * star.max())
    assert np.unravel_index(star.argmax(), star.shape) == (star.shape[0] // 2,) * 2


def test_spikes_are_where_hexagons_make_them():
    star, distance, angle = image()
    ring = (distance > 1.0) & (distance < 2.0)

    def light(direction):
        return star[ring & (np.abs((angle - direction + 180) % 360 - 180) < 6)].mean()

    # the edges of hexagons with flat tops are at 30, 90, ... degrees, and spikes are across them
    spikes = np.mean([light(direction) for direction in range(30, 360, 60)])
    assert spikes > 3 * np.mean([light(direction) for direction in (15, 45, 75, 105, 135, 165)])
    assert light(0) > 1.2 * light(60)  # of the strut that stands upright, the weaker pair lies flat


def test_light_widens_with_wavelength_blur_and_wavefront():
    assert within(0.15, "F115W") > within(0.15, "F150W") > within(0.15, "F200W")
    assert within(0.1, blur=0.04) < within(0.1, blur=0.02)
    assert within(1.0, blur=0.04) == pytest.approx(within(1.0, blur=0.02), abs=2e-3)
    # light that does not add up goes to where a segment alone would send it
    assert within(0.1, wavefront=120) < 0.95 * within(0.1, wavefront=0)
    assert within(2.0, wavefront=120) == pytest.approx(within(2.0, wavefront=0), abs=0.01)


def test_blur_is_that_of_a_gaussian():
    sharp, *_ = image(blur=0.01, half=1.0)
    soft, *_ = image(blur=0.03, half=1.0)
    expected = gaussian_filter(sharp, np.sqrt(0.03**2 - 0.01**2) / psf_model.STEP)
    inner = slice(30, -30)
    np.testing.assert_allclose(soft[inner, inner], expected[inner, inner], atol=2e-3 * soft.max())


def test_the_strehl_ratio_is_marechals():
    assert psf_model.strehl(0, 1.5) == 1
    assert psf_model.strehl(1500 / 14, 1.5) == pytest.approx(0.82, abs=0.01)


@pytest.mark.parametrize("filter", ["F115W", "F200W"])
def test_the_simulated_telescope_with_its_own_wavefront_agrees_to_a_percent(filter):
    radius, fraction = simulated.encircled_energy(filter)
    for goal in (0.25, 0.5, 1.0):
        assert within(goal, filter) == pytest.approx(np.interp(goal / PIXEL, radius, fraction), rel=0.01)


def test_kernels_match_stars_and_keep_their_light():
    offset = np.hypot(*np.mgrid[-40:41, -40:41])

    def gaussian(sigma):
        return np.exp(-0.5 * (offset / sigma) ** 2) / (2 * np.pi * sigma**2)

    kernel = psf_match.kernel(gaussian(2.0), 0.9 * gaussian(2.5))
    assert kernel.sum() == pytest.approx(0.9, abs=1e-3)
    np.testing.assert_allclose(kernel, 0.9 * gaussian(1.5), atol=0.07 * gaussian(1.5).max())
    matched = psf_match.convolve(gaussian(2.0), kernel)
    np.testing.assert_allclose(matched, 0.9 * gaussian(2.5), atol=3e-3 * gaussian(2.5).max())
    assert psf_match.kernel(gaussian(2.0), gaussian(2.0))[40, 40] > 0.15  # of itself, a peak


def test_strips_do_not_change_what_is_convolved():
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=(75, 40)), rng.normal(size=(7, 7))
    whole = psf_match.convolve(image, kernel)
    np.testing.assert_allclose(psf_match.convolve(image, kernel, rows=10), whole, atol=1e-5)
    impulse = np.zeros((20, 20))
    impulse[10, 5] = 1.0
    np.testing.assert_allclose(psf_match.convolve(impulse, kernel)[7:14, 2:9], kernel, atol=1e-6)

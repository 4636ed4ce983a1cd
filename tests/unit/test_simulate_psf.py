"""Point-spread functions: energy, width, spikes, centre and encircled energy."""

import numpy as np
import pytest
from pureparallel.simulate import instrument, psf

FILTERS = tuple(instrument.FILTERS)


def fwhm(image, samples):
    """Pixels, from the profile along x."""
    row = image[len(image) // 2, len(image) // 2 :]
    i = int(np.argmax(row < row[0] / 2))
    return 2 * (i - 1 + (row[i - 1] - row[0] / 2) / (row[i - 1] - row[i])) / samples


def radius_and_angle(image, samples):
    """Pixels and degrees of every sample."""
    offset = (np.arange(len(image)) - len(image) // 2) / samples
    return np.hypot(offset[:, None], offset), np.rad2deg(np.arctan2(offset[:, None], offset)) % 360


@pytest.mark.parametrize("name", FILTERS)
def test_light_is_normalised_and_centred(name):
    image = psf.psf(name)
    assert image.shape == (601, 601)
    assert image.min() >= 0
    assert np.unravel_index(image.argmax(), image.shape) == (300, 300)
    assert 0.99 < image.sum() < 1  # the rest falls beyond 60 pixels
    assert psf.psf(name, half_width_pix=psf.RADIUS).sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(image, image[::-1, ::-1], rtol=1e-9, atol=1e-15)


def test_width_grows_with_wavelength_as_diffraction_and_smoothing_say():
    widths = {name: fwhm(psf.psf(name), psf.SAMPLES) for name in FILTERS}
    by_wave = sorted(FILTERS, key=lambda name: instrument.FILTERS[name].pivot)
    assert sorted(widths.values()) == [widths[name] for name in by_wave]
    for name in FILTERS:
        diffraction = instrument.FILTERS[name].pivot * 1e-6 / 6.6 * instrument.ARCSEC_PER_RADIAN
        expected = np.hypot(diffraction, 2.355 * psf.SMOOTHING) / instrument.PIXEL_SCALE
        assert widths[name] == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("name", ["F090W", "F200W"])
def test_six_spikes_and_the_horizontal_pair(name):
    image = psf.psf(name, half_width_pix=100)
    radius, angle = radius_and_angle(image, psf.SAMPLES)
    level = {}
    for direction in range(0, 360, 15):
        apart = np.deg2rad(angle - direction)
        ray = (radius > 30) & (radius < 95) & (radius * np.abs(np.sin(apart)) < 4) & (np.cos(apart) > 0)
        level[direction] = image[ray].mean()
    by_light = sorted(level, key=level.__getitem__, reverse=True)
    assert set(by_light[:6]) == {30, 90, 150, 210, 270, 330}  # edges of the segments, and two of the struts
    assert set(by_light[6:8]) == {0, 180}  # the upright strut
    assert level[by_light[7]] > 5 * level[by_light[8]]


@pytest.mark.parametrize("name", FILTERS)
def test_encircled_energy_rises_from_0_to_1_and_is_that_of_the_image(name):
    radius, fraction = psf.encircled_energy(name)
    assert (radius[0], fraction[0]) == (0, 0)
    assert fraction[-1] == 1
    assert np.all(np.diff(fraction) >= 0)
    image = psf.psf(name, half_width_pix=40)
    distance, _ = radius_and_angle(image, psf.SAMPLES)
    # far outside the core, a pixel's width does not matter
    for r in (10, 20, 39):
        assert np.interp(r, radius, fraction) == pytest.approx(image[distance <= r].sum(), abs=2e-3)
    assert np.interp(1.0, radius, fraction) < image[distance <= 1].sum()
    # at the very centre, it is the area of the circle
    assert np.interp(0.3, radius, fraction) / np.interp(0.15, radius, fraction) == pytest.approx(4, rel=0.06)


def test_longer_wavelengths_are_less_concentrated():
    within = [np.interp(1.5, *psf.encircled_energy(name)) for name in ("F090W", "F115W", "F150W", "F200W")]
    assert np.all(np.diff(within) < 0)


def test_sampling_does_not_change_the_light():
    fine, coarse = psf.psf("F200W", 5, 20), psf.psf("F200W", 3, 20)
    assert coarse.shape == (121, 121)
    for r in (1.5, 4.0, 15.0):
        inside = [im[radius_and_angle(im, n)[0] <= r].sum() for im, n in ((fine, 5), (coarse, 3))]
        assert inside[0] == pytest.approx(inside[1], abs=0.01)


@pytest.mark.parametrize("name", ["F090W", "F200W"])
def test_core_and_wings_make_the_whole(name):
    kernel = psf.kernel(name)
    assert kernel.core.sum(axis=(1, 2)) + kernel.wing.sum(axis=(1, 2)) == pytest.approx(1)
    assert np.all(np.diff(kernel.wave) > 0)
    assert kernel.wave.mean() == pytest.approx(
        (instrument.FILTERS[name].wave_min + instrument.FILTERS[name].wave_max) / 2
    )
    # the wings leave the centre alone, and are smooth where they begin
    middle = kernel.wing.shape[1] // 2
    inner = kernel.wing[:, middle - 6 : middle + 7, middle - 6 : middle + 7]
    assert np.all(inner == 0)
    edge = kernel.core.shape[1] // 2
    assert np.all(kernel.core[:, edge, -1] == 0)


def test_what_is_cached_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        psf.encircled_energy("F200W")[1][0] = 1


def test_impossible_samplings_are_refused():
    with pytest.raises(ValueError, match="at least 3"):
        psf.psf("F200W", oversample=2)
    with pytest.raises(ValueError, match="ends at"):
        psf.psf("F200W", half_width_pix=200)

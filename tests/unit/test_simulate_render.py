"""Noiseless images: light comes back, lands where it should, and has the shape that it was given."""

import numpy as np
import pytest
from pureparallel.simulate import dispersion, instrument, psf, render
from scipy.ndimage import correlate1d, uniform_filter
from scipy.signal import fftconvolve

FILTERS = tuple(instrument.FILTERS)
SHAPE = (128, 128)


@pytest.fixture(scope="module")
def traces(root):
    return dispersion.Traces.read(root / "resources" / "niriss_grism_v3.fits")


def magnitude(ab):
    """Spectrum of constant AB magnitude."""
    return lambda wave: 10 ** (-0.4 * (ab + 48.6)) * 2.99792458e18 / (np.asarray(wave) * 1e4) ** 2


def dark(wave):
    """No continuum."""
    return np.zeros(np.shape(wave))


def aperture(image, x, y, radius):
    """Light and its centroid within a circle; pixels that the circle cuts count in part."""
    rows, columns = np.indices(image.shape)
    fine = (np.arange(10) - 4.5) / 10
    inside = np.zeros(image.shape)
    for dx in fine:
        for dy in fine:
            inside += np.hypot(columns + dx - x, rows + dy - y) <= radius
    light = image * inside / 100
    return light.sum(), (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(("x", "y"), [(64.0, 64.0), (63.5, 64.5), (64.31, 63.87)])
def test_a_star_has_its_magnitude(name, x, y):
    image = render.direct_image([render.Source(x, y, magnitude(20.0))], name, SHAPE)
    mega_jansky = 3631e-6 * 10 ** (-0.4 * 20.0)
    expected = mega_jansky / (instrument.FILTERS[name].photmjsr * instrument.PIXAR_SR)
    # the AB system's zero point is 3631 Jy to 0.02 %
    for radius in (5.0, 20.0):
        light, cx, cy = aperture(image, x, y, radius)
        assert light / np.interp(radius, *psf.encircled_energy(name)) == pytest.approx(expected, rel=0.002)
        assert np.hypot(cx - x, cy - y) < 0.05
    assert image.sum() < expected  # some of it falls beside the image
    assert image.min() >= 0


def test_all_light_of_a_star_and_a_galaxy_is_in_a_large_image():
    for profile in (None, render.Sersic(4.0, 1.0, 0.5, 30.0), render.Sersic(6.0, 4.0)):
        source = render.Source(150.2, 149.7, magnitude(21.0), profile=profile)
        image = render.direct_image([source], "F150W", (300, 300))
        assert image.sum() == pytest.approx(render.count_rate("F150W", source), rel=1e-3)


def integrated(profile, x, y):
    """An image of (profile * PSF) by brute force: samples of a fifth of a pixel, boxes of 5 x 5; x, y in fifths."""
    samples, half = psf.SAMPLES, 30
    image = fftconvolve(profile, psf.psf("F115W", samples, half), mode="same")
    for axis in (0, 1):  # from values at the samples to means over them
        image = correlate1d(image, [1 / 24, 22 / 24, 1 / 24], axis)
    boxes = uniform_filter(image, samples) * samples**2
    # a pixel's centre is a sample; the source is at the array's centre
    centre = len(profile) // 2
    start_x, start_y = ((centre - round(samples * v)) % samples for v in (x, y))
    left, bottom = round(x - (centre - start_x) / samples), round(y - (centre - start_y) / samples)
    return boxes[start_y::samples, start_x::samples], left, bottom


def difference(image, expected, left, bottom):
    """Largest difference within 20 pixels of the brightest pixel, over the brightest pixel."""
    row, column = np.unravel_index(image.argmax(), image.shape)
    mine = image[row - 20 : row + 21, column - 20 : column + 21]
    other = expected[row - 20 - bottom : row + 21 - bottom, column - 20 - left : column + 21 - left]
    return np.abs(mine - other).max() / mine.max()


@pytest.mark.parametrize(("x", "y"), [(64.0, 64.0), (64.4, 63.8)])
def test_a_star_is_the_psf_integrated_over_pixels(x, y):
    source = render.Source(x, y, magnitude(20.0))
    point = np.zeros((501, 501))
    point[250, 250] = render.count_rate("F115W", source)
    image = render.direct_image([source], "F115W", SHAPE)
    assert difference(image, *integrated(point, x, y)) < 0.005


def test_a_galaxy_is_its_profile_convolved_and_integrated():
    profile = render.Sersic(3.0, 1.0, 0.4, 25.0)
    x, y = 64.4, 63.8
    source = render.Source(x, y, magnitude(20.0), profile=profile)
    offset = (np.arange(501) - 250) / psf.SAMPLES
    angle = np.deg2rad(profile.angle)
    along = offset * np.cos(angle) + offset[:, None] * np.sin(angle)
    across = offset[:, None] * np.cos(angle) - offset * np.sin(angle)
    exponential = np.exp(-1.67835 * np.hypot(along, across / profile.axis_ratio) / profile.re)
    exponential *= render.count_rate("F115W", source) / exponential.sum()
    image = render.direct_image([source], "F115W", SHAPE)
    assert difference(image, *integrated(exponential, x, y)) < 0.01


@pytest.mark.parametrize("n", [0.5, 0.55, 0.8, 1.0, 2.0, 4.0, 6.0])
def test_gaussians_make_the_profile(n):
    from scipy.special import gammaincinv

    sigma, weight = render.sersic_gaussians(n)
    assert np.all(weight > 0)
    assert weight.sum() == pytest.approx(1)
    assert weight @ (1 - np.exp(-0.5 / sigma**2)) == pytest.approx(0.5, abs=0.003)
    radius = np.array([0.05, 0.1, 0.3, 1.0, 2.0])
    level = (weight / (2 * np.pi * sigma**2)) @ np.exp(-0.5 * (radius / sigma[:, None]) ** 2)
    ideal = np.exp(-gammaincinv(2 * n, 0.5) * radius ** (1 / n))
    np.testing.assert_allclose(level / level[2], ideal / ideal[2], rtol=0.01 if n <= 1 else 0.25)


def test_impossible_profiles_are_refused():
    for values in ({"re": 0.0, "n": 1.0}, {"re": 1.0, "n": 9.0}, {"re": 1.0, "n": 1.0, "axis_ratio": 0.0}):
        with pytest.raises(ValueError, match="needed"):
            render.Sersic(**values)


def test_lines_add_to_a_direct_image():
    line = render.EmissionLine(1.5, 1e-16, 100.0)
    rates = [render.count_rate("F150W", render.Source(0, 0, s, lines)) for s, lines in
             ((dark, [line]), (magnitude(22.0), []), (magnitude(22.0), [line]))]  # fmt: skip
    assert rates[0] + rates[1] == pytest.approx(rates[2])
    # a line's mean f_nu is F λ / (c ∫ dλ/λ) for a top hat
    band = instrument.FILTERS["F150W"]
    fnu = 1e-16 * 15000 / (2.99792458e18 * np.log(band.wave_max / band.wave_min))
    assert rates[0] == pytest.approx(fnu * 1e17 / (band.photmjsr * instrument.PIXAR_SR), rel=0.002)


def origin(traces, key, wave, x, y, fwcpos=None):
    """Position in the direct image of what the grism sends to (x, y)."""
    x0, y0 = x, y
    for _ in range(20):
        dx, dy = traces.displace(*key, x0, y0, wave, fwcpos)
        x0, y0 = x - float(dx), y - float(dy)
    return x0, y0


def lines_at(traces, grism, name, places, fwcpos=None):
    """Stars of a single line each that falls on the given places: sources, expected DN/s."""
    band, sources, rates = instrument.FILTERS[name], [], []
    for i, (x, y) in enumerate(places):
        wave = band.wave_min + (band.wave_max - band.wave_min) * (0.15 + 0.7 * i / max(len(places) - 1, 1))
        x0, y0 = origin(traces, (grism, name, 1), wave, x, y, fwcpos)
        sources.append(render.Source(x0, y0, dark, [render.EmissionLine(wave, 1e-16)]))
        rates.append(1e-16 * float(traces.sensitivity(grism, name, 1, wave)))
    return sources, rates


def check_lines(traces, grism, name, size):
    edge = 24
    places = [(edge + 0.3, edge - 0.2), (size - edge - 0.4, edge + 0.5), (size / 2 + 0.1, size / 2 + 0.25),
              (edge - 0.35, size - edge + 0.1), (size - edge + 0.5, size - edge - 0.5)]  # fmt: skip
    fwcpos = instrument.FWCPOS_REF[grism] + 0.15
    sources, rates = lines_at(traces, grism, name, places, fwcpos)
    image = render.dispersed_image(sources, traces, grism, name, (size, size), orders=[1], fwcpos=fwcpos)
    inside = np.interp(10.0, *psf.encircled_energy(name))
    for (x, y), rate in zip(places, rates, strict=True):
        left, bottom = int(x) - 15, int(y) - 15
        light, cx, cy = aperture(image[bottom : bottom + 31, left : left + 31], x - left, y - bottom, 10.0)
        assert np.hypot(cx + left - x, cy + bottom - y) < 0.05
        assert light / inside == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("grism", instrument.GRISMS)
def test_a_line_is_where_the_trace_has_it_and_has_its_flux(traces, grism, name):
    check_lines(traces, grism, name, 512)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("grism", instrument.GRISMS)
def test_the_same_on_the_full_frame(traces, grism, name):
    check_lines(traces, grism, name, 2048)


@pytest.mark.parametrize("order", [-1, 0, 1, 2, 3])
def test_every_order_has_its_flux(traces, order):
    wave, size = 1.2, 256
    x, y = origin(traces, ("GR150C", "F115W", order), wave, 128.0, 128.0)
    source = render.Source(x, y, dark, [render.EmissionLine(wave, 1e-16, 50.0)])
    image = render.dispersed_image([source], traces, "GR150C", "F115W", (size, size), orders=[order])
    expected = 1e-16 * float(traces.sensitivity("GR150C", "F115W", order, wave))
    assert image.sum() == pytest.approx(expected, rel=0.005)
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert (row, column) == (128, 128)


@pytest.mark.parametrize("grism", instrument.GRISMS)
@pytest.mark.parametrize("profile", [None, render.Sersic(2.5, 1.5, 0.6, 70.0)])
def test_a_continuum_has_its_flux_and_follows_the_trace(traces, grism, profile):
    name, size = "F150W", 384
    x, y = (250.3, 200.6) if grism == "GR150C" else (200.6, 250.3)
    spectrum = magnitude(19.0)
    source = render.Source(x, y, spectrum, profile=profile)
    image = render.dispersed_image([source], traces, grism, name, (size, size), orders=[1])
    along = image if grism == "GR150R" else image.T  # rows along the dispersion

    wave = np.linspace(1.28, 1.721, 4000)
    rate = spectrum(wave) * traces.sensitivity(grism, name, 1, wave)  # DN/s per Å
    assert image.sum() == pytest.approx(np.trapezoid(rate, wave * 1e4), rel=0.003)

    dx, dy = traces.displace(grism, name, 1, x, y, wave)
    place, across = (y + dy, x + dx) if grism == "GR150R" else (x + dx, y + dy)
    order = np.argsort(place)
    rows = np.arange(int(place.min()) + 25, int(place.max()) - 25)
    assert len(rows) > 40
    near = slice(int(across.mean()) - 30, int(across.mean()) + 31)
    columns = np.arange(size)[near]
    at = np.interp(rows, place[order], wave[order])
    centroid = (along[rows, near] * columns).sum(axis=1) / along[rows, near].sum(axis=1)
    assert np.abs(centroid - np.interp(at, wave, across)).max() < 0.05
    dispersion_a = np.abs(np.gradient(at)) * 1e4  # Å per pixel
    expected = np.interp(at, wave, rate) * dispersion_a
    # the throughput's own wiggles are blurred along the trace by the PSF and the galaxy
    np.testing.assert_allclose(along[rows].sum(axis=1), expected, rtol=0.02 if profile is None else 0.05)


def test_a_broad_line_has_its_width(traces):
    waves = 2.0 + np.array([0.0, 0.01])
    dx, _ = traces.displace("GR150C", "F200W", 1, 300, 100, waves)
    narrow, broad = (
        render.dispersed_image(
            [render.Source(300.0, 100.0, dark, [render.EmissionLine(2.0, 1e-16, sigma)])],
            traces, "GR150C", "F200W", (200, 200), orders=[1],
        )
        for sigma in (0.0, 3000.0)
    )  # fmt: skip
    assert broad.sum() == pytest.approx(narrow.sum(), rel=1e-3)

    def variance(image):
        profile = image[85:110, 60:135].sum(axis=0)
        place = np.arange(profile.size)
        mean = (profile * place).sum() / profile.sum()
        return (profile * (place - mean) ** 2).sum() / profile.sum()

    sigma = 2.0 * 3000 / 299792.458 / 0.01 * abs(dx[1] - dx[0])
    assert np.sqrt(variance(broad) - variance(narrow)) == pytest.approx(sigma, rel=0.05)


def test_sources_beside_the_image_leave_their_traces(traces):
    beyond = render.Source(60.0, 128 + 140.0, magnitude(18.0))  # its first order is 150 to 250 pixels lower
    below = render.Source(60.0, 64.0 - 209.0, magnitude(16.0), profile=render.Sersic(2.0, 1.0))  # its zeroth is higher
    far = render.Source(5000.0, 5000.0, magnitude(10.0))
    first = render.dispersed_image([beyond], traces, "GR150R", "F200W", SHAPE)
    zeroth = render.dispersed_image([below], traces, "GR150R", "F200W", SHAPE)
    assert first[20:110, 55:65].sum() > 100
    row, column = np.unravel_index(zeroth.argmax(), SHAPE)
    assert abs(row - 64) < 6
    assert abs(column - 60) < 4
    assert render.direct_image([far], "F200W", SHAPE).max() == 0
    assert render.dispersed_image([far], traces, "GR150R", "F200W", SHAPE).max() == 0
    # just beside the image, a star's wings and spikes reach into it
    beside = render.direct_image([render.Source(-20.0, 64.0, magnitude(15.0))], "F200W", SHAPE)
    assert 0 < beside.sum() < 0.02 * render.count_rate("F200W", render.Source(0, 0, magnitude(15.0)))


def test_images_add_up_and_repeat(traces):
    a = render.Source(40.3, 90.1, magnitude(20.0), [render.EmissionLine(1.2, 1e-16, 100.0)], render.Sersic(2.0, 2.0))
    b = render.Source(80.9, 70.4, magnitude(21.0))

    def both(sources):
        return np.stack([render.direct_image(sources, "F115W", SHAPE),
                         render.dispersed_image(sources, traces, "GR150R", "F115W", SHAPE)])  # fmt: skip

    together = both([a, b])
    np.testing.assert_allclose(together, both([a]) + both([b]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(together, both([a, b]))

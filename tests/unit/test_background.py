"""The sky is found under sources, sources keep their light, and errors say what the sky scatters by."""

import numpy as np
import pytest
from pureparallel.core import background, background_fit, plot_background, source_tiers
from pureparallel.core.background_fit import fit
from pureparallel.steps.background_image import amplifiers
from scipy import signal

SHAPE, NOISE, LEVEL = (384, 384), 0.01, 0.2
Y, X = np.indices(SHAPE)
GOOD = np.ones(SHAPE, bool)
ERROR = np.full(SHAPE, NOISE)


def exponential(x, y, flux, radius):
    """A face-on disc: light of each pixel, of a flux in units of the noise of a pixel."""
    scale = radius / 1.678
    return flux * NOISE / (2 * np.pi * scale**2) * np.exp(-np.hypot(X - x, Y - y) / scale)


def field(seed, count=60, size=2.0, faintest=50):
    """Compact sources with steep counts."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, SHAPE[0], (2, count))
    flux = np.minimum(faintest * rng.pareto(1.0, count) + faintest, 1e4)
    points = np.bincount(y * SHAPE[1] + x, flux, X.size).reshape(SHAPE)
    return signal.fftconvolve(points, exponential(192, 192, 1.0, size)[92:293, 92:293], mode="same").clip(0)


def noisy(light, seed):
    return light + np.random.default_rng(seed).normal(0, NOISE, SHAPE)


def left(found, sky, box=64):
    """What is wrong with the background on large scales, in noises of a pixel."""
    boxes = source_tiers.cells(found.background + found.stripes - sky, box) / box**2
    return np.sqrt(np.mean(boxes**2)) / NOISE


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_even_sky_is_found_to_a_fiftieth_of_the_noise_and_stays_even(seed):
    found = background.measure(noisy(LEVEL + field(seed), seed), ERROR, GOOD)
    assert left(found, LEVEL) < 0.03
    assert found.structure < 0.03 * NOISE
    assert found.factor == pytest.approx(1, abs=0.02)
    assert found.pedestal == pytest.approx(LEVEL, abs=0.03 * NOISE)
    assert not found.stripes.any()


# of a strong pattern a part stays: crests with sources on them are taken for halos
@pytest.mark.parametrize(("amplitude", "most"), [(0.3, 0.1), (1.0, 0.33)])
def test_a_sky_with_structure_is_followed(amplitude, most):
    u, v = X / SHAPE[1], Y / SHAPE[0]
    pattern = np.cos(2 * np.pi * (0.8 * u + 0.4 * v)) + (u - 0.5)
    sky = LEVEL + amplitude * NOISE * pattern / pattern.std()
    found = background.measure(noisy(sky + field(4, 30), 4), ERROR, GOOD)
    assert left(found, sky) < most
    plane = background.measure(noisy(sky + field(4, 30), 4), ERROR, GOOD, order=1)
    assert left(plane, sky) > 2 * left(found, sky)


@pytest.mark.parametrize(("flux", "radius"), [(1e5, 30), (2e4, 20), (5e3, 15)])
def test_an_extended_galaxy_keeps_its_light(flux, radius):
    galaxy = exponential(150, 210, flux, radius)
    sky = noisy(LEVEL + field(5), 5)
    without = background.measure(sky, ERROR, GOOD)
    found = background.measure(sky + galaxy, ERROR, GOOD)
    inside = np.hypot(X - 150, Y - 210) < 3 * radius
    lost = np.sum((found.background - without.background)[inside]) / galaxy.sum()
    assert abs(lost) < 0.02
    assert left(found, LEVEL) < 0.06
    # without the masks it would be eaten
    eaten = fit(sky + galaxy, GOOD, box=32, scale=64, order=2) - without.background
    assert np.sum(eaten[inside]) > 0.05 * galaxy.sum()


def test_a_crowded_field_keeps_enough_sky_and_its_level():
    crowd = field(6, 900)
    found = background.measure(noisy(LEVEL + crowd, 6), ERROR, GOOD, least_free=0.25)
    assert found.free.mean() >= 0.25
    assert np.mean(crowd > 0.1 * NOISE) > 0.5
    assert left(found, LEVEL) < 0.1


def test_halos_are_followed_as_far_as_their_source_reaches():
    seeds = np.zeros((128, 128), bool)
    seeds[60:68, 60:68] = True
    tier = source_tiers.Tier(4, 2.5, 3, 1.5, seeded=True)
    y, x = np.indices((32, 32)) * 4 + 1.5
    far = np.hypot(y - 63.5, x - 63.5)[source_tiers.reach(seeds, tier, contrast=16)]
    assert 12 < far.max() < 26  # the radius is 4.5, and light that falls by 16 comes from 4 times as far at most
    assert source_tiers.reach(seeds, tier, contrast=1).sum() < 30
    assert not source_tiers.reach(~GOOD, tier, contrast=16).any()


def test_light_that_the_background_took_is_noticed():
    surface = LEVEL + exponential(200, 200, 2e3, 60)
    galaxy = exponential(200, 200, 3e4, 12)
    cores = np.hypot(X - 200, Y - 200) < 20
    eaten = source_tiers.swallowed(galaxy, surface, GOOD, cores)
    assert eaten[200, 230]
    assert not eaten[200, 300]
    # neither an even sky, nor a slope, nor a bump that is more than the source
    for sky in (np.full(SHAPE, LEVEL), LEVEL + 0.001 * X, LEVEL + exponential(200, 200, 1e6, 60)):
        assert not source_tiers.swallowed(galaxy, sky, GOOD, cores).any()


def test_what_no_box_asks_for_is_not_put_into_the_background():
    rng = np.random.default_rng(7)
    smooth = background_fit.Cosines(*SHAPE, 64, 2)
    at = np.arange(12) * 32 + 15.5
    design = smooth.design(at, at)
    assert design.shape[1] == 3 + smooth.ky.size
    error = np.ones(144)
    for slope, waves in ((0.0, 0.0), (4.0, 0.0), (0.0, 5.0)):
        level = rng.normal(0, 1, 144) + slope * design[:, 1] + waves * np.cos(np.pi * 3 * np.tile(at, 12) / SHAPE[1])
        found = smooth.likeliest(level, error, design)
        assert found[1] == pytest.approx(slope, abs=2.5)
        surface = smooth(found)
        assert (np.std(surface - slope * ((Y + 0.5) / SHAPE[0] - 0.5)) > 1) == (waves > 0)
        np.testing.assert_allclose(surface[16::32, 16::32].ravel(), design @ found, atol=0.3 * (waves + slope) + 0.05)


def test_boxes_leave_out_what_is_not_sky():
    image = noisy(np.full(SHAPE, LEVEL), 8)
    image[::7, ::7] = 50
    free = GOOD.copy()
    free[:32, :32] = False
    level, error = background_fit.box_levels(image, free, 32)
    assert np.isnan(level[0, 0])
    np.testing.assert_allclose(level.ravel()[1:], LEVEL, atol=5 * NOISE / 32)
    np.testing.assert_allclose(error.ravel()[1:], NOISE / 32, rtol=0.2)


def test_stripes_go_where_they_are_significant():
    rng = np.random.default_rng(9)
    noise = rng.normal(0, NOISE, SHAPE)
    none, numbers = background.stripes(noise, GOOD, NOISE, 0)
    assert not none.any()
    assert numbers["rms"] == pytest.approx(numbers["expected"], rel=0.2)
    true = rng.normal(0, 0.3 * NOISE, (2, 1, SHAPE[1])).repeat(192, axis=1).reshape(SHAPE)
    found, numbers = background.stripes(noise + true, GOOD, NOISE, 0, segments=2)
    assert 0.8 < numbers["share"] < 1
    assert np.std(found - true) < 0.45 * np.std(true)
    # one line alone
    noise[100] += NOISE
    found, numbers = background.stripes(noise, GOOD, NOISE, 1)
    assert numbers["lines"] == 1
    assert np.flatnonzero(found[:, 0]).tolist() == [100]
    assert found[100, 0] == pytest.approx(NOISE, rel=0.3)
    # a galaxy on a line is no stripe
    covered = GOOD.copy()
    covered[50:300, 120:140] = False
    galaxy = np.where(covered, 0, NOISE)
    assert not background.stripes(rng.normal(0, NOISE, SHAPE) + galaxy, covered, NOISE, 0)[0].any()


def test_errors_become_those_of_the_sky_and_photons_of_sources_stay():
    found = background.measure(noisy(LEVEL + field(10), 10), 0.8 * ERROR, GOOD)
    assert found.factor == pytest.approx(1.25, abs=0.02)
    light = exponential(200, 200, 3e5, 8)
    sources = light > 0.1 * NOISE
    reads, photons = np.full(SHAPE, 1e-6, np.float32), (1e-5 * (LEVEL + light)).astype(np.float32)
    new_reads, new_photons = background.rescale(light, np.full(SHAPE, LEVEL), sources, reads, photons, 1.25)
    np.testing.assert_allclose(new_reads, 1.25**2 * reads, rtol=1e-5)
    np.testing.assert_allclose(new_photons[~sources], 1.25**2 * photons[~sources], rtol=1e-5)
    expected = 1e-5 * (1.25**2 * LEVEL + light)
    np.testing.assert_allclose(new_photons, expected, rtol=0.02)
    assert new_photons[200, 200] < 1.03 * photons[200, 200]
    assert new_photons.dtype == np.float32


def test_bad_pixels_do_not_matter_and_too_many_are_told():
    image = noisy(np.full(SHAPE, LEVEL), 11)
    good = np.random.default_rng(11).uniform(size=SHAPE) > 0.1
    broken = np.where(good, image, np.nan)
    found = background.measure(broken, np.where(good, ERROR, 0), good)
    assert left(found, LEVEL) < 0.03
    with pytest.raises(ValueError, match="pixels are good"):
        background.measure(image, ERROR, ~GOOD)


@pytest.mark.parametrize(
    ("size", "fast", "outputs", "expected"),
    [(2048, -2, 4, (4, 1)), (2048, 1, 4, (1, 4)), (512, -2, 4, (1, 1)), (2048, -2, 1, (1, 1))],
)
def test_lines_belong_to_one_amplifier(size, fast, outputs, expected):
    from types import SimpleNamespace as Of

    meta = Of(subarray=Of(xsize=size, ysize=size, fastaxis=fast), exposure=Of(noutputs=outputs))
    assert amplifiers(Of(meta=meta)) == expected


def test_the_figure_tells_how_much_is_masked(tmp_path):
    image = noisy(LEVEL + field(12), 12)
    found = background.measure(image, ERROR, GOOD)
    numbers = {"noise": NOISE, "background": LEVEL, "structure": 0.0, "masked": 0.25, "noise_factor": found.factor}
    figure = plot_background.background_figure(image, GOOD, found.background, found, numbers, "an exposure")
    assert "25 % masked" in figure.axes[0].get_title()
    sky_left = np.asarray(figure.axes[2].images[0].get_array())
    assert abs(np.nanmean(sky_left)) < 0.05
    figure.savefig(tmp_path / "background.png")

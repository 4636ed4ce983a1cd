"""Backgrounds are measured under sources, and exposures that scattered light spoils are told from good ones."""

import numpy as np
import pytest
from pureparallel.core import artifacts, scattered
from pureparallel.core.scattered import Limits, judge, measure
from pureparallel.simulate import background, effects
from pureparallel.simulate.instrument import Frame

SHAPE, NOISE = (256, 256), 0.05
GOOD = np.ones(SHAPE, bool)
ERROR = np.full(SHAPE, NOISE)
LIMITS = Limits()


def exposure(seed, level=0.7, stray=0.0, pattern=1.0):
    """Sky of a level, sources, noise, and stray light of a mean level."""
    rng = np.random.default_rng(seed)
    image = level * pattern + rng.normal(0, NOISE, SHAPE)
    y, x = np.indices(SHAPE)
    for cx, cy, light in zip(*rng.uniform(0, 256, (2, 40)), rng.exponential(5, 40), strict=True):
        image += light * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 6)
    return image + (effects.scattered_light(effects.Scattered(stray), SHAPE, rng) if stray else 0)


def test_boxes_see_the_sky_and_not_the_sources():
    level, error = scattered.box_medians(exposure(1), GOOD)
    assert level.shape == (4, 4)
    np.testing.assert_allclose(level, 0.7, atol=0.006)
    np.testing.assert_allclose(error, 1.2533 * NOISE / 64, rtol=0.15)


def test_boxes_without_data_are_unknown_and_odd_shapes_whole():
    good = GOOD.copy()
    good[:64, :64] = False
    level, _ = scattered.box_medians(exposure(1)[:200, :], good[:200], 64)
    assert level.shape == (4, 4)
    assert np.isnan(level[0, 0])
    assert np.isnan(level[3]).sum() == 0


def test_background_follows_a_slope():
    y, x = np.indices(SHAPE)
    slope = 1 + 0.002 * x - 0.001 * y
    left = scattered.background(exposure(2, 0.0) + slope, GOOD) - slope
    assert np.abs(left[32:-32, 32:-32]).max() < 0.03
    np.testing.assert_array_equal(scattered.background(np.full(SHAPE, np.nan), ~GOOD), 0)


def test_measured_numbers():
    sky = measure(exposure(3), ERROR, GOOD)
    assert sky.level == pytest.approx(0.7, abs=0.005)
    assert sky.structure < 0.01
    assert sky.noise == NOISE
    with pytest.raises(ValueError, match="no part"):
        measure(exposure(3), ERROR, ~GOOD)


@pytest.mark.parametrize("band", ["F115W", "F150W", "F200W"])
def test_expected_level_is_that_of_the_darkest_sky(band):
    # the simulated sky has 1.6 times the darkest light and its own throughput
    expected = scattered.zodiacal_rate("NIRISS", band)
    assert 1.2 < background.imaging_rate(band) / expected < 4


def test_no_level_is_expected_where_the_sky_is_thermal_or_unknown():
    assert scattered.zodiacal_rate("NIRISS", "F444W") is None
    assert scattered.zodiacal_rate("NIRISS", "CLEAR") is None
    assert scattered.zodiacal_rate("MIRI", "F200W") is None
    assert scattered.zodiacal_rate("NRCSHORT", "F200W") < scattered.zodiacal_rate("NRCLONG", "F200W")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("stray", [40.0, 10.0, 2.0])
def test_scattered_light_is_caught_in_direct_exposures(seed, stray):
    expected = scattered.zodiacal_rate("NIRISS", "F200W")
    reasons, numbers = judge(measure(exposure(seed, stray=stray), ERROR, GOOD), expected, [], dispersed=False,
                             limits=LIMITS)  # fmt: skip
    assert reasons
    assert numbers["structure_over_level"] > 0.1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("level", [0.3, 0.7, 2.5])
def test_good_exposures_pass_from_the_poles_to_the_ecliptic(seed, level):
    expected = scattered.zodiacal_rate("NIRISS", "F200W")
    assert judge(measure(exposure(seed, level), ERROR, GOOD), expected, [], dispersed=False, limits=LIMITS)[0] == []


@pytest.mark.parametrize("grism", ["GR150R", "GR150C"])
@pytest.mark.parametrize("band", ["F115W", "F150W", "F200W"])
def test_structures_of_the_dispersed_sky_are_no_scattered_light(grism, band):
    pattern = background.background_components(grism, band, Frame.full())["zodiacal"][::8, ::8]
    expected = scattered.zodiacal_rate("NIRISS", band)
    skies = [measure(exposure(seed, 0.6, pattern=pattern), ERROR, GOOD, 32) for seed in range(4)]
    for i, sky in enumerate(skies):
        assert judge(sky, expected, [], dispersed=True, limits=LIMITS)[0] == []
        others = skies[:i] + skies[i + 1 :]
        reasons, numbers = judge(sky, expected, others, dispersed=True, limits=LIMITS)
        assert reasons == []
        assert numbers["structure_over_level"] < 0.05


def test_like_exposures_make_the_test_sharper():
    pattern = background.background_components("GR150R", "F200W", Frame.full())["zodiacal"][::8, ::8]
    others = {str(seed): measure(exposure(seed, 0.6, pattern=pattern), ERROR, GOOD, 32) for seed in range(4)}
    instrument = ("NIRISS", "GR150R", "F200W")
    alone = compared = 0
    for seed in range(10, 16):
        faint = measure(exposure(seed, 0.6, 0.8, pattern), ERROR, GOOD, 32)
        alone += bool(artifacts.judge_sky(faint, {}, instrument, LIMITS, dispersed=True)[0])
        reasons, numbers = artifacts.judge_sky(faint, others, instrument, LIMITS, dispersed=True)
        compared += bool(reasons)
        assert numbers["compared_with"] == ["0", "1", "2", "3"]
    assert alone < 3
    assert compared == 6


def test_spoilt_exposures_are_no_measure_for_good_ones():
    skies = {str(seed): measure(exposure(seed, stray=30.0), ERROR, GOOD) for seed in range(3)}
    good = measure(exposure(8), ERROR, GOOD)
    reasons, numbers = artifacts.judge_sky(good, skies, ("NIRISS", "CLEAR", "F200W"), LIMITS, dispersed=False)
    assert reasons == []
    assert numbers["compared_with"] == []

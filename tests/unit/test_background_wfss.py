"""Dispersed sky is told from traces: amplitudes, what has no template, crowded fields, stripes, and spectra's light."""

import numpy as np
import pytest
from pureparallel.core import background_wfss as sky
from pureparallel.core import plot_background_wfss
from scipy import ndimage

SHAPE, NOISE, LEVEL = (320, 320), 0.03, 0.6
Y, X = np.indices(SHAPE)
U, V = X / SHAPE[1] - 0.5, Y / SHAPE[0] - 0.5
GOOD, ERROR = np.ones(SHAPE, bool), np.full(SHAPE, NOISE)
TEMPLATE = 3 * (1 + 0.3 * np.sin(2 * np.pi * 3 * U) * np.cos(2 * np.pi * 2 * V))
BAND = np.exp(-(((V - 0.3 * U) / 0.6) ** 2))


@pytest.fixture(scope="module")
def flat():
    """A flat field of 2 % from pixel to pixel, smooth and not."""
    return 1 + 0.02 * np.random.default_rng(0).normal(size=SHAPE) + 0.02 * U


def traces(seed, count, along_x=True, brightest=40.0, length=90):
    """Light of spectra that all run one way, with zero orders 150 pixels beside them."""
    rng = np.random.default_rng(seed)
    light = np.zeros(SHAPE)
    for x, y, flux in zip(*rng.integers(0, SHAPE[0], (2, count)), rng.pareto(1, count) + 1, strict=True):
        rows = np.exp(-(((Y - y) if along_x else (X - x)) ** 2) / 4)
        along = (X - x) if along_x else (Y - y)
        light += min(flux, brightest) * NOISE * rows * ((along >= 0) & (along < length))
        light += 4 * min(flux, brightest) * NOISE * rows * (np.abs(along - length - 60) < 1.5)
    return light


def found(image, light, flat, templates=None, **options):
    """What `measure` finds, with the true light as the model unless another is given."""
    known = {"reference": TEMPLATE * flat, "constant": flat} if templates is None else templates
    options = {"along_x": True, "light": light, **options}
    return sky.measure(image, ERROR, GOOD, templates=known, flat=flat, **options)


def noise(seed):
    """Of all pixels."""
    return np.random.default_rng(seed).normal(0, NOISE, SHAPE)


def off(one, true):
    """What is wrong with the sky in boxes of 32 pixels, over its level."""
    left = (one.background + one.stripes - true) / LEVEL
    return left.reshape(10, 32, 10, 32).mean(axis=(1, 3))


def test_amplitudes_come_back_within_their_errors(flat):
    true = flat * (0.5 * TEMPLATE / np.median(TEMPLATE * flat) + 0.1)
    pulls = []
    for seed in range(8):
        light = traces(seed, 25)
        one = found(true + light + noise(seed), light, flat, smooth_scale=0.0)
        expected = {"reference": 0.5, "constant": 0.1 * np.median(flat)}
        pulls += [(value - expected[name]) / error for name, (value, error) in one.amplitudes.items()]
        assert np.abs(off(one, true)).max() < 0.01
        assert all(0 < error < 0.02 for _, error in one.amplitudes.values())
    assert 0.4 < np.std(pulls) < 1.7


def test_amplitudes_are_never_negative_and_a_component_too_many_does_no_harm(flat):
    true = LEVEL * TEMPLATE / np.median(TEMPLATE) * flat
    dark = flat * (1 - 0.5 * (TEMPLATE / np.median(TEMPLATE) - 1))  # what the sky lacks
    one = found(true + noise(1), 0 * true, flat, {"reference": TEMPLATE * flat, "other": dark, "constant": flat})
    assert all(value >= 0 for value, _ in one.amplitudes.values())
    assert one.amplitudes["reference"][0] == pytest.approx(LEVEL, rel=0.03)
    assert one.amplitudes["other"][0] < 0.03 * LEVEL
    assert np.abs(off(one, true)).max() < 0.01


def test_light_without_a_template_goes_too(flat):
    shape = TEMPLATE / np.median(TEMPLATE)
    true = flat * LEVEL * (0.9 * shape + 0.1 * BAND)
    light = traces(2, 30)
    with_smooth = found(true + light + noise(2), light, flat)
    without = found(true + light + noise(2), light, flat, smooth_scale=0.0)
    assert np.std(off(with_smooth, true)) < 0.004
    assert np.std(off(without, true)) > 2 * np.std(off(with_smooth, true))
    # and the template keeps what is its own
    assert with_smooth.amplitudes["reference"][0] == pytest.approx(0.9 * LEVEL, rel=0.03)
    assert abs(with_smooth.slope) < 0.005
    assert with_smooth.smooth > 5 * found(flat * LEVEL * shape + noise(3), 0 * light, flat).smooth


@pytest.mark.parametrize("along_x", [True, False])
def test_traces_that_the_catalogue_lacks_are_found(flat, along_x):
    true, light = LEVEL * flat, traces(4, 20, along_x, brightest=3.0)
    one = found(true + light + noise(4), 0 * light, flat, along_x=along_x)
    blind = found(true + light + noise(4), 0 * light, flat, along_x=not along_x)
    assert one.sources[light > 1.5 * NOISE].mean() > 0.9
    assert one.sources[light < 0.01 * NOISE].mean() < 0.35
    assert np.abs(off(one, true)).mean() < 0.004
    assert np.abs(off(one, true)).mean() < np.abs(off(blind, true)).mean()


def test_spectra_keep_their_light_under_a_poor_model(flat):
    true, light = LEVEL * flat, traces(5, 40)
    one = found(true + light + noise(5), 0.8 * light, flat)
    bright = light > 3 * NOISE
    eaten = (one.background + one.stripes - true)[bright].sum() / light[bright].sum()
    assert abs(eaten) < 0.005


def test_crowded_fields_keep_some_sky(flat):
    true, light = LEVEL * flat, traces(6, 400) + 0.5 * NOISE
    one = found(true + light + noise(6), light, flat, least_free=0.3)
    assert one.free.mean() >= 0.29
    assert one.limit > 0.2
    assert np.abs(off(one, true)).max() < 0.02


def test_a_trace_along_a_whole_row_is_no_stripe(flat):
    true, light = LEVEL * flat, np.zeros(SHAPE)
    light[160:163] = 2.5 * NOISE
    light[160:163, ::4] = 0  # the model leaves a quarter of the row free
    one = found(true + light + noise(7), light, flat)
    assert np.abs(one.stripes[160:163]).max() < 0.3 * NOISE


def test_stripes_across_the_dispersion_go_and_noise_is_stated(flat):
    true = LEVEL * flat + 0.6 * NOISE * np.random.default_rng(8).normal(size=SHAPE[1])
    one = found(true + noise(8), 0 * true, flat)
    kept = found(true + noise(8), 0 * true, flat, remove_stripes=False)
    assert np.std(one.background + one.stripes - true) < 0.25 * np.std(kept.background - true)
    assert one.factor == pytest.approx(1, abs=0.03)
    assert kept.factor > 1.1
    assert one.lines["columns"]["share"] > 0.9
    assert one.lines["rows"]["share"] == 0


def test_what_is_left_is_told():
    image = np.zeros(SHAPE) + noise(9)
    slope, error, rms, doubt = sky.judged(image + 0.1 * LEVEL * U, GOOD, True, LEVEL)
    assert slope == pytest.approx(0.1, abs=4 * error)
    assert rms == pytest.approx(0.1 / np.sqrt(12), rel=0.1)
    assert doubt > 2
    across, error, _, _ = sky.judged(image + 0.1 * LEVEL * U, GOOD, False, LEVEL)
    assert abs(across) < 4 * error
    assert sky.judged(image, GOOD, True, LEVEL)[2] < 0.003


def test_no_sky_can_be_measured_without_pixels_or_light(flat):
    image = LEVEL * flat
    with pytest.raises(ValueError, match="0 of 102400 pixels are good"):
        sky.measure(image, ERROR, ~GOOD, templates={"constant": flat}, flat=flat, light=0 * image, along_x=True)
    with pytest.raises(ValueError, match="component dark"):
        found(image, 0 * image, flat, {"dark": -flat})
    with pytest.raises(ValueError, match="no component"):
        found(image, 0 * image, flat, {})


def test_pixels_that_a_template_does_not_know_are_left_out(flat):
    hole = ndimage.binary_dilation((X == 100) & (Y == 100), iterations=15)
    image = LEVEL * TEMPLATE / 3 * flat + noise(10)
    one = found(np.where(hole, 50.0, image), 0 * image, flat, {"reference": np.where(hole, np.nan, TEMPLATE * flat)})
    assert not one.free[hole].any()
    assert np.isfinite(one.background).all()
    assert one.amplitudes["reference"][0] == pytest.approx(LEVEL / 3 * np.median(TEMPLATE * flat), rel=0.01)


def test_profile_of_what_is_left():
    bins = np.array([[1.0, np.nan], [3.0, np.nan], [5.0, 2.0]])
    mean, spread = plot_background_wfss.profile(bins, 0)
    np.testing.assert_allclose(mean, [3, np.nan])
    np.testing.assert_allclose(spread, [2 / np.sqrt(3), np.nan])

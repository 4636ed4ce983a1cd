"""Polynomials follow a grism's transforms wherever they hold, and masks cover what is bright and nothing else."""

import numpy as np
import pytest
from pureparallel.core import grism
from pureparallel.core.grism import Optics, Order
from pureparallel.simulate import pointing
from pureparallel.simulate.instrument import PIXAR_SR, Frame

SHAPE = (160, 200)
FRAME = Frame(900, 900, SHAPE[1], SHAPE[0])
LIMITS = (1.7, 2.3)


def to_grism(x, y, wave, number):
    """A bent trace of 60 to -140 pixels along y, whose dispersion changes with place and wavelength."""
    t = (wave - 1.7) / 0.6
    t = t + 0.05 * t * (1 - t)
    scale = number * (1 + 2e-4 * x - 1e-4 * y)
    return x + 3 * t + 1e-3 * y * t**2, y + 60 - 200 * t * scale


def to_sky(x, y):
    return pointing.to_sky(x, y, pointing.Pointing(150.1, 2.2, 37.0), FRAME)


@pytest.fixture(scope="module")
def optics():
    wave = np.linspace(1.65, 2.35, 200)
    relative = np.where((wave > 1.75) & (wave < 2.25), 2.0, 0.0)
    order = Order(1, LIMITS, (1.76, 2.24), fitted(1)[0], wave, grism.response(relative, PIXAR_SR))
    plane, to_pixel, to_plane, accuracy = grism.sky_surfaces(to_sky, SHAPE, 150.0)
    return Optics(SHAPE, "GR150R", "F200W", False, plane, to_pixel, to_plane, {1: order}, PIXAR_SR, accuracy)


def fitted(number):
    return grism.fit_order(to_grism, number, SHAPE, LIMITS)


def test_traces_are_followed_from_far_outside_the_image(optics):
    rng = np.random.default_rng(1)
    x, y, wave = rng.uniform(-20, 220, 40), rng.uniform(-60, 290, 40), np.linspace(*LIMITS, 30)
    there = np.array(optics.orders[1].trace(x, y, wave))
    expected = np.array(to_grism(x[:, None], y[:, None], wave, 1))
    assert np.abs(there - expected).max() < 1e-3
    assert fitted(1)[2] < 1e-3


def test_dispersion_is_the_slope_of_the_trace(optics):
    wave, step = np.array([1.8, 2.0, 2.2]), 1e-5
    before, after = (np.array(optics.orders[1].trace([50.0], [80.0], wave + s))[:, 0] for s in (-step, step))
    np.testing.assert_allclose(
        optics.orders[1].dispersion(50.0, 80.0, wave)[0], 2 * step / np.hypot(*(after - before)), rtol=1e-5
    )


def test_transform_that_stops_is_not_followed_beyond():
    def stops(x, y, wave, number):
        return to_grism(x, y, np.clip(wave, 1.8, 2.2), number)

    surface, limits, accuracy = grism.fit_order(stops, 1, SHAPE, LIMITS)
    assert limits == pytest.approx((1.8, 2.2), abs=1e-2)
    assert 1.8 <= limits[0] < limits[1] <= 2.2
    assert accuracy < 1e-3
    assert surface.coefficients.shape[:2] == (grism.DEGREE_WAVE + 1, 2)


def test_sky_and_direct_image_are_inverse(optics):
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-100, 280, (2, 100))
    ra, dec = to_sky(x, y)
    np.testing.assert_allclose(optics.direct(ra, dec), [x, y], atol=1e-3)
    back = optics.sky(x, y)
    np.testing.assert_allclose(np.array(back) - [ra, dec], 0, atol=1e-8)
    assert np.isnan(optics.direct(150.1, 3.2)).all()


def test_sensitivity_is_the_inverse_of_the_pipelines_response(optics):
    # 1 microjansky over a pixel's solid angle, times a pixel's wavelengths, over the response, as the pipeline has it
    surface_brightness = 1e-12 / PIXAR_SR
    assert optics.orders[1].sensitivity(2.0) == pytest.approx(surface_brightness / 2.0)
    assert optics.orders[1].sensitivity([1.6, 1.7, 2.3]) == pytest.approx(0)
    assert grism.response([0.0, np.nan, -1.0], PIXAR_SR) == pytest.approx(0)


def test_samples_are_close_and_end_where_the_light_does(optics):
    wave = optics.orders[1].sampled(0.5)
    x, y = optics.orders[1].trace([100.0], [80.0], wave)
    assert np.hypot(np.diff(x), np.diff(y)).max() < 0.52
    assert wave[[0, -1]] == pytest.approx([1.75, 2.25], abs=0.005)
    assert optics.orders[1].length == pytest.approx(np.hypot(np.diff(x), np.diff(y)).sum(), rel=0.05)
    brightest = optics.orders[1].sensitivity(wave) * optics.orders[1].dispersion(100.0, 80.0, wave)
    assert optics.orders[1].peak == pytest.approx(brightest.max(), rel=0.02)


def test_masks_hold_all_light_above_the_limit_and_little_else(optics):
    # a source on the image, one whose trace alone is on it, one too far away, one too faint
    x, y = np.array([60.0, 120.0, np.nan, 150.0]), np.array([130.0, 210.0, 10.0, 120.0])
    flux, width, limit = np.array([3.0, 3.0, 100.0, 1e-4]), np.full(4, 0.8), 1e-3
    mask = grism.lit(optics, x, y, flux, width, limit)
    order, (ny, nx) = optics.orders[1], SHAPE
    wave = order.sampled(0.25)
    light, rows = np.zeros(SHAPE), np.arange(ny)
    for i in (0, 1):
        tx, ty = (v[0] for v in order.trace(x[i], y[i], wave))
        rate = flux[i] * order.sensitivity(wave) * np.gradient(wave)
        profile = 1 / (1 + ((np.arange(nx) - tx[:, None]) / 0.8) ** 2) / (np.pi * 0.8)
        light += (np.abs(rows - ty[:, None]) <= 0.5).T @ (rate[:, None] * profile)
    inner = (rows > 3) & (rows < ny - 3)
    bright, dark = light > 1.3 * limit, light < 0.5 * limit
    assert bright.sum() > 1000
    assert mask[bright & inner[:, None]].mean() > 0.99
    assert mask[dark].mean() < 0.1
    assert not grism.lit(optics, x[2:], y[2:], flux[2:], width[2:], limit).any()
    assert not grism.lit(optics, x, y, flux, width, limit, orders=(0,)).any()

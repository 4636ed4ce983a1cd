"""1/f noise goes, sky and sources stay: on ramps whose noise, sky and sources are known."""

import numpy as np
import pytest
from pureparallel.core import flicker
from pureparallel.core.flicker import Layout, clean, source_mask
from pureparallel.core.noise_stream import Light, Spectrum, Stream, expectation, fit_spectrum
from pureparallel.core.smooth_sky import Sky
from pureparallel.simulate.effects import Flicker
from pureparallel.simulate.effects import flicker as simulated_flicker
from pureparallel.simulate.instrument import Frame

GAIN, READ_NOISE, TIME, SKY, SIZE = 1.6, 4.0, 40.0, 0.6, 256


def template(n=SIZE):
    """A sky with structure along both axes."""
    y, x = np.mgrid[:n, :n] / n
    return (1 + 0.1 * np.sin(7 * x + 1) + 0.1 * np.cos(5 * y)).astype(np.float32)


def stars(rng, n=SIZE, number=25):
    y, x = np.mgrid[:n, :n]
    places = rng.uniform(8, n - 8, (number, 2))
    fluxes = 10 ** rng.uniform(0.5, 3, number)
    image = sum(f / 18 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 5.7) for f, (a, b) in zip(fluxes, places, strict=True))
    return image.astype(np.float32), np.rint(places).astype(int), fluxes


def traces(rng, axis, n=SIZE, number=12):
    """Faint lines of 60 pixels along x (axis 1) or y (2)."""
    image = np.zeros((n, n), np.float32)
    for _ in range(number):
        a, b = rng.integers(0, n - 60), rng.integers(2, n - 2)
        image[b - 1 : b + 2, a : a + 60] += rng.uniform(0.03, 0.4)
    return image if axis == 1 else image.T


def ramp(rate, rng, ngroups=6):
    """Groups in DN without 1/f noise."""
    steps = rng.poisson(np.broadcast_to(rate, (ngroups, *rate.shape)) * TIME * GAIN) / GAIN
    noise = rng.normal(0, READ_NOISE, steps.shape)
    return (np.cumsum(steps, axis=0) + noise).astype(np.float32)


def stripes(seed, ngroups=6, level=2.0, n=SIZE):
    """The simulator's 1/f noise, one amplifier of NIRISS."""
    rng = np.random.default_rng(seed)
    frame = Frame(769, 769, n, n)
    effect = Flicker(own=level, common=0.0)
    return np.stack([simulated_flicker(effect, frame, rng) for _ in range(ngroups)]).astype(np.float32)


def rate_of(groups):
    time = np.arange(len(groups)) - (len(groups) - 1) / 2
    return np.tensordot(time, groups, axes=1) / np.sum(time**2) / TIME


def run(groups, **options):
    given = {"group_time": TIME, "gain": GAIN, "read_noise": READ_NOISE, "bad": np.zeros(groups.shape[1:], bool)}
    return clean(groups, options.pop("layout", Layout()), **(given | {"templates": template()[None]} | options))


def column_rms(image):
    return np.sqrt(np.mean(image.mean(axis=0) ** 2))


def scene(kind, seed=0):
    """Rate without sky, and dispersion axis."""
    rng = np.random.default_rng(seed + 100)
    if kind == "direct":
        return stars(rng)[0], None
    axis = 2 if kind == "along" else 1
    return traces(rng, axis), axis


@pytest.mark.parametrize("kind", ["direct", "along", "across"])
@pytest.mark.parametrize(("level", "most"), [(1.0, 0.9), (3.0, 1.6)])
def test_stripes_are_removed_to_the_noise_and_the_sky_stays(kind, level, most):
    light, axis = scene(kind)
    quiet = ramp(SKY * template() + light, np.random.default_rng(1))
    noisy = quiet + stripes(2, level=level)
    before = rate_of(noisy) - rate_of(quiet)
    found = run(noisy, dispersion_axis=axis, uneven=0.01)
    left = rate_of(noisy) - rate_of(quiet)
    sigma = np.std((rate_of(quiet) - SKY * template() - light)[light < 0.01])
    floor = sigma / np.sqrt((~found.sources).mean() * SIZE)
    # strong noise has structure within the columns too
    assert column_rms(left) < min(most * floor, column_rms(before))
    assert abs(np.mean(left)) < 1e-3 * SKY
    assert abs(np.mean(left[light < 0.01])) < 2e-3 * SKY
    assert found.amplitudes[0] == pytest.approx(SKY, rel=0.02)
    assert found.rms_after < found.rms_before
    assert found.floor == pytest.approx(floor, rel=0.15)
    # what is left in the slopes is what was there without what is said to have been taken out
    np.testing.assert_allclose(before - left, found.stripes, atol=1e-4)


@pytest.mark.parametrize("axis", [1, 2])
def test_traces_below_the_noise_are_masked(axis):
    light = np.zeros((SIZE, SIZE), np.float32)
    light[40:240:20, 90:170] = light[41:240:20, 90:170] = light[42:240:20, 90:170] = 0.035  # the noise is 0.06
    light = light if axis == 1 else np.ascontiguousarray(light.T)
    noisy = ramp(SKY * template() + light, np.random.default_rng(30)) + stripes(31)
    sources = run(noisy, dispersion_axis=axis).sources
    assert sources[light > 0].mean() > 0.9
    assert sources[light == 0].mean() < 0.5


def test_a_spoilt_sample_spoils_both_of_its_steps():
    noisy = ramp(SKY * template(), np.random.default_rng(32))
    noisy[2, 40:80, 40:80] += 15
    dq = np.zeros(noisy.shape, np.uint8)
    dq[2, 40:80, 40:80] = 1
    found = run(noisy, group_dq=dq)
    block = np.s_[40:80, 40:80]
    assert np.mean(found.rate[block]) == pytest.approx(SKY * template()[block].mean(), abs=0.01)


def test_fluxes_of_compact_sources_stay():
    rng = np.random.default_rng(5)
    light, places, fluxes = stars(rng)
    quiet = ramp(SKY * template() + light, rng)
    noisy = quiet + stripes(6)
    run(noisy)
    change = rate_of(noisy) - rate_of(quiet)
    ratios = [
        change[y - 3 : y + 4, x - 3 : x + 4].sum() / f for (x, y), f in zip(places, fluxes, strict=True) if f > 30
    ]
    assert len(ratios) > 8
    assert np.abs(ratios).max() < 5e-3
    assert abs(np.median(ratios)) < 1e-3


def test_a_ramp_without_flicker_is_left_nearly_alone():
    quiet = ramp(SKY * template(), np.random.default_rng(7))
    cleaned = quiet.copy()
    found = run(cleaned)
    assert column_rms(found.stripes) < 0.5 * found.floor
    assert found.flicker < 0.3


def test_what_bends_ramps_goes_also_below_sources():
    rate = np.full((SIZE, SIZE), SKY, np.float32)
    rate[:, 100:140] = 20.0  # no sky in these columns
    quiet = ramp(rate, np.random.default_rng(8))
    noisy = quiet + stripes(9, level=6.0)
    before = noisy - quiet
    run(noisy, templates=np.ones((1, SIZE, SIZE)))

    def bend(cube):
        return (cube[0] - 2 * cube[2] + cube[4])[:, 105:135].mean(axis=0).std()

    assert bend(noisy - quiet) < 0.3 * bend(before)


@pytest.mark.parametrize("flagged", [True, False])
def test_hits_do_not_make_stripes(flagged):
    rng = np.random.default_rng(10)
    noisy = ramp(SKY * template(), rng) + stripes(11)
    hit, dq = noisy.copy(), np.zeros(noisy.shape, np.uint8)
    for y, x, k in zip(*rng.integers(0, SIZE, (2, 1500)), rng.integers(1, 6, 1500), strict=True):
        hit[k:, y, x] += 2000
        dq[k, y, x] |= 4 if flagged else 0
    plain, spoilt = run(noisy), run(hit, group_dq=dq)
    assert np.std(plain.stripes - spoilt.stripes) < 0.5 * plain.floor
    assert np.mean(spoilt.sources) < np.mean(plain.sources) + 0.05


def test_saturated_pixels_are_masked_and_do_no_harm():
    light = np.zeros((SIZE, SIZE), np.float32)
    light[60:70, 60:70] = 300
    noisy = ramp(SKY * template() + light, np.random.default_rng(12)) + stripes(13)
    plain = run(noisy.copy(), bad=light > 0)
    dq = np.where(noisy > 30000, 2, 0).astype(np.uint8)
    found = run(np.minimum(noisy, 30000), group_dq=dq)
    assert dq.any()
    assert found.sources[60:70, 60:70].all()
    assert np.std(found.stripes - plain.stripes) < 0.5 * plain.floor
    assert np.nanmedian(found.rate[62:68, 62:68]) == pytest.approx(300 + SKY, rel=0.02)


def test_a_row_that_moves_as_a_whole_moves_nothing_else():
    noisy = ramp(SKY * template(), np.random.default_rng(14)) + stripes(15)
    moved = noisy.copy()
    moved[3:, 70:80:3] += 12
    plain, other = run(noisy), run(moved)
    assert np.std(plain.stripes - other.stripes) < 0.3 * plain.floor
    assert np.median((moved - noisy)[4, 70:80:3]) == pytest.approx(12, abs=0.5)


def test_axes_and_directions_are_those_of_the_layout():
    light, _ = scene("along")
    noisy = ramp(SKY * template() + light, np.random.default_rng(16)) + stripes(17)
    expected = run(noisy.copy(), dispersion_axis=2).stripes
    turned = run(
        np.ascontiguousarray(noisy.transpose(0, 2, 1)), layout=Layout(-1, -2), dispersion_axis=1,
        templates=template().T[None],
    )  # fmt: skip
    np.testing.assert_allclose(turned.stripes.T, expected, atol=0.1 * np.std(expected))
    flipped = run(np.ascontiguousarray(noisy[:, ::-1, ::-1]), layout=Layout(2, 1), dispersion_axis=2,
                  templates=template()[None, ::-1, ::-1])  # fmt: skip
    # other pixels are sampled for the noise, so that masks differ a little
    assert np.std(flipped.stripes[::-1, ::-1] - expected) < 0.2 * np.std(expected)
    assert np.std(flipped.stripes - expected) > np.std(expected)


def test_amplifiers_help_each_other_where_they_share_noise():
    n, rng = 256, np.random.default_rng(18)
    shared = stripes(19, level=3.0)[:, : n // 4]
    quiet = ramp(SKY * template(), rng)
    noisy = quiet + np.tile(shared, (1, 4, 1))
    together, apart = noisy.copy(), noisy.copy()
    run(together, layout=Layout(amplifiers=4))
    for i in range(4):
        rows = slice(i * n // 4, (i + 1) * n // 4)
        part = np.ascontiguousarray(apart[:, rows])
        run(part, templates=template()[None, rows], bad=np.zeros((n // 4, n), bool))
        apart[:, rows] = part
    left = [np.std((rate_of(c) - rate_of(quiet)).reshape(4, -1, n).mean(axis=1)) for c in (together, apart)]
    assert left[0] < 0.7 * left[1]


def scattered(tilt, n=SIZE):
    """A band of light over a slope, a tenth of the sky: smooth, and in no template."""
    y, x = np.mgrid[:n, :n] / n - 0.5
    return (0.1 * SKY * (0.7 + tilt * x + 0.8 * np.exp(-(((y - 0.2 * x - 0.1) / 1.2) ** 2)))).astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("tilt", [1.0, -0.5])
def test_light_that_no_template_has_is_not_taken_for_stripes(tilt, axis):
    stray, light = scattered(tilt), traces(np.random.default_rng(33), axis)
    quiet = ramp(SKY * template() + stray + light, np.random.default_rng(34))
    noisy, plain, rigid = (quiet + stripes(35, level=1.0) for _ in range(3))
    plain -= stray * TIME * np.arange(6)[:, None, None]
    with_stray, without = run(noisy, dispersion_axis=axis), run(plain, dispersion_axis=axis)
    unmodelled = run(rigid, dispersion_axis=axis, uneven=0.0)

    def off(found):
        return np.std((found.stripes - without.stripes).mean(axis=0))

    assert off(unmodelled) > 1.5 * without.floor
    assert off(with_stray) < min(0.4 * without.floor, 0.25 * off(unmodelled))


def test_sky_without_templates_is_smooth():
    quiet = ramp(SKY + scattered(1.0), np.random.default_rng(20))
    noisy = quiet + stripes(21)
    before = column_rms(rate_of(noisy) - rate_of(quiet))
    found = run(noisy, templates=None)
    change = rate_of(noisy) - rate_of(quiet)
    assert column_rms(change) < 0.65 * before
    assert abs(np.mean(change)) < 1e-3 * SKY
    assert found.amplitudes == pytest.approx([1.07 * SKY], rel=0.05)


def test_traces_along_the_lines_are_not_taken_for_stripes():
    light = np.zeros((SIZE, SIZE), np.float32)
    bump = 0.1 * (
        0.1 + np.exp(-(((np.arange(SIZE) - 90) / 60) ** 2))
    )  # two wide traces, nothing but light in their lines
    light[:, 40:60] = light[:, 70:90] = bump[:, None]
    alone, beside = (
        run(ramp(SKY * template() + sky, np.random.default_rng(38)) + stripes(39, level=1.0), dispersion_axis=2)
        for sky in (0, light)
    )
    change = beside.stripes - alone.stripes
    assert abs(np.mean(change[:, 40:60])) < alone.floor
    # nor is the sky lifted in the other lines, for the mean to stay
    assert abs(np.mean(change[:, 100:])) < 2e-3 * SKY


@pytest.mark.parametrize("ngroups", [2, 3, 4])
def test_few_groups_are_enough(ngroups):
    quiet = ramp(SKY * template(), np.random.default_rng(22), ngroups)
    noisy = quiet + stripes(23, ngroups, level=8.0)
    before = column_rms(rate_of(noisy) - rate_of(quiet))
    run(noisy)
    assert column_rms(rate_of(noisy) - rate_of(quiet)) < 0.6 * before


def test_nan_stays_where_it_is_and_a_dead_detector_is_left_alone():
    noisy = ramp(SKY * template(), np.random.default_rng(24)) + stripes(25)
    noisy[2, 30, 40] = np.nan
    found = run(noisy)
    assert np.argwhere(np.isnan(noisy)).tolist() == [[2, 30, 40]]
    assert np.isfinite(found.stripes).all()
    before = noisy.copy()
    found = run(noisy, bad=np.ones((SIZE, SIZE), bool))
    np.testing.assert_array_equal(noisy, before)
    assert np.isnan(found.rate).all()
    assert found.flicker == found.rms_before == 0


def test_impossible_ramps_are_refused():
    with pytest.raises(ValueError, match="two groups"):
        run(np.zeros((1, SIZE, SIZE), np.float32))
    with pytest.raises(ValueError, match="3 amplifiers"):
        run(np.zeros((2, SIZE, SIZE), np.float32), layout=Layout(amplifiers=3))


@pytest.mark.parametrize("axis", [None, 1, 2])
def test_masks_find_what_no_pixel_shows_and_little_else(axis):
    rng = np.random.default_rng(26)
    noise = rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32)
    none = np.zeros((SIZE, SIZE), bool)
    assert source_mask(noise, none, axis).mean() < 0.35
    light = np.zeros((SIZE, SIZE), np.float32)
    if axis is None:
        light[100:120, 50:70] = 0.6
    else:
        light[100:103, 50:130] = 0.6
        light = light if axis == 1 else light.T
    assert source_mask(noise + light, none, axis)[light > 0].mean() > 0.9
    bright = np.where((light > 0) & (rng.random(light.shape) < 0.01), 1000, 0).astype(np.float32)
    assert source_mask(noise + bright, none, axis).mean() < 0.4


def test_expectation_is_that_of_the_gaussian_process():
    rng, n, amplifiers = np.random.default_rng(27), 24, 2
    spectrum = Spectrum(own=0.3, mean=2.0, slope=1.2)
    weights, series = rng.uniform(0, 2, (amplifiers, n)), rng.normal(0, 2, (amplifiers, n))
    weights[0, 3:9] = 0
    roots = spectrum.roots(n, 1.0)
    own, mean = (np.fft.irfft(root[:, None] ** 2 * np.fft.rfft(np.eye(n), axis=0), n, axis=0) for root in roots)
    average = np.full((amplifiers, amplifiers), 1 / amplifiers)
    covariance = np.kron(np.eye(amplifiers) - average, own) + np.kron(average, mean)
    light = Light(rng.normal(0, 1, (3, amplifiers, n)), rng.normal(0, 1, (2, n)), rng.uniform(0.5, 3, (3, 2)))
    light.deviation[1, 1] = 0
    terms = (light.rows[:, None] * light.lines[None, :, None] * light.deviation[..., None, None]).reshape(6, -1)
    total = covariance + terms.T @ terms
    ratio = np.linalg.solve(
        np.eye(amplifiers * n) + total @ np.diag(weights.ravel()), total @ (weights * series).ravel()
    )
    unexplained = (weights * (series - ratio.reshape(series.shape))).ravel()
    noise, amplitudes, found = expectation(series, weights, roots, light, close=1e-9)
    np.testing.assert_allclose(noise.ravel(), covariance @ unexplained, atol=1e-6)
    np.testing.assert_allclose(amplitudes.ravel(), light.deviation.ravel() * (terms @ unexplained), atol=1e-6)
    alone = np.linalg.solve(
        np.eye(amplifiers * n) + covariance @ np.diag(weights.ravel()), covariance @ (weights * series).ravel()
    )
    np.testing.assert_allclose(expectation(series, weights, roots)[0].ravel(), alone, atol=2e-3)
    again = expectation(series, weights, roots, light, found, close=1e-9)
    np.testing.assert_allclose(again[0], noise, atol=1e-6)


@pytest.mark.parametrize("layout", [Layout(-2, -1, 2), Layout(1, -2), Layout(2, 1, alternating=True)])
def test_cells_of_the_sky_see_its_image(layout):
    rng, shape = np.random.default_rng(29), (120, 70)
    stream = Stream(shape, layout)
    templates = rng.uniform(0.5, 1.5, (2, *shape)).astype(np.float32)
    slope = (3 * templates[0] + templates[1] + rng.normal(0, 0.1, shape)).astype(np.float32)
    sky = Sky.of(slope, np.ones(shape, bool), templates, 0.1, stream)
    assert sky.guess == pytest.approx([3, 1], abs=0.05)
    weight = rng.uniform(0, 1, shape).astype(np.float32)
    number = stream.add(weight)
    amplitudes = rng.normal(0, 1, sky.deviation.shape) * sky.deviation
    change = sky.image(amplitudes) - sky.image(np.zeros_like(amplitudes))
    seen = stream.add(weight * change) / np.where(number > 0, number, 1)
    np.testing.assert_allclose(sky.light(weight, number).cells(amplitudes), seen, atol=1e-4)


def test_smooth_light_has_the_spread_that_is_asked_for():
    shape, rng = (300, 200), np.random.default_rng(40)
    ones = np.ones((1, *shape), np.float32)
    sky = Sky.of(5 * ones[0], ones[0] > 0, ones, 0.1, Stream(shape, Layout()))
    draws = []
    for _ in range(300):
        amplitudes = rng.normal(0, 1, sky.deviation.shape) * sky.deviation
        amplitudes[0] = 0
        draws.append(sky.image(amplitudes)[::40, ::40] - 5)
    assert np.std(draws) == pytest.approx(0.5, rel=0.1)
    apart = np.mean([draw[0, 0] * draw[6, 4] for draw in draws]) / np.var(draws)
    assert apart == pytest.approx(np.exp(-0.5 * (240**2 + 160**2) / 500**2), abs=0.12)


@pytest.mark.parametrize("truth", [0.02, 5.0])
@pytest.mark.parametrize("slope", [0.7, 1.0, 1.4])
def test_spectrum_of_the_noise_is_found(slope, truth):
    rng, n = np.random.default_rng(28), 4096
    white = rng.standard_normal((4, 1, n))
    root = Spectrum(0.0, truth, slope).roots(n, 1.0)[1]
    series = np.fft.irfft(np.fft.rfft(white) * root, n) + rng.normal(0, 0.5, white.shape)
    found = fit_spectrum(series, np.full(series.shape, 4.0), n)
    assert found.slope == pytest.approx(slope, abs=0.12)
    assert found.rms(n, 1) == pytest.approx(Spectrum(0.0, truth, slope).rms(n, 1), rel=0.2)


def test_streams_run_in_the_order_of_reading():
    stream = Stream((256, 8), Layout(-2, -1))
    image = np.zeros((256, 8), np.float32)
    image[-1, -1], image[0, -1], image[-1, -2] = 1, 2, 3
    series = stream.add(image)
    assert np.flatnonzero(series[0]).tolist() == [0, stream.cells - 1, stream.cells]
    np.testing.assert_allclose(
        stream.image(stream.add(np.ones((256, 8)))), flicker.Stream((256, 8), Layout()).cells ** -1 * 256
    )

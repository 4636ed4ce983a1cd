"""The forward model against dispersed light written out, spectra and shifts that are found again, and cut-outs."""

from dataclasses import replace

import numpy as np
import pytest
from pureparallel import spec2_files
from pureparallel.core import contamination, cutouts, dispersed, grism, grism_shift
from pureparallel.core.contamination import Scene
from pureparallel.core.dispersed import SAMPLES, Mosaic, Stamp
from pureparallel.core.grid import ARCSEC, Grid
from pureparallel.core.grism import Optics, Order
from pureparallel.core.pointing import Pointing
from pureparallel.provenance import Lineage

SHAPE = (90, 160)
PIXEL = 0.0656
AREA = (PIXEL * ARCSEC) ** 2
LIMITS, SENSITIVE = (1.0, 1.6), (1.1, 1.5)
WAVE = np.linspace(*LIMITS, 80)
NOISE = 0.02


def to_grism(x, y, wave, number):
    """The first order 45 to 125 pixels to the right and slanted, the zeroth hardly dispersed to the left."""
    return x + number * (25 + 200 * (wave - 1.0)) - 30 * (number == 0) + 4 * (wave - 1.3), y + 8 * (wave - 1.3)


def to_sky(x, y):
    return Grid(10.0, 0.0, PIXEL, (1, 1), ((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2)).to_sky(x, y)


def through(wave):
    """A filter with edges of a resolution element."""
    return 100 / (1 + np.exp(-(wave - SENSITIVE[0]) / 0.004)) / (1 + np.exp((wave - SENSITIVE[1]) / 0.004))


def transposed(image, wanted):
    return image.T if wanted else image


@pytest.fixture(scope="module")
def optics():
    plane, to_pixel, to_plane, accuracy = grism.sky_surfaces(to_sky, SHAPE, 160.0)
    wave = np.linspace(1.0, 1.6, 400)
    response = np.where(through(wave) > 0.1, through(wave), 0)
    orders = {}
    for number in (0, 1):
        surface, limits, missed = grism.fit_order(to_grism, number, SHAPE, LIMITS)
        accuracy = max(accuracy, missed)
        orders[number] = Order(number, limits, SENSITIVE, surface, wave, response * (1.0 if number else 0.1))
    return Optics(SHAPE, "GR150C", "F130M", True, plane, to_pixel, to_plane, orders, AREA, accuracy)


def gaussian(label, x, y, sigma, flux, half=10):
    """A round source, sampled as stamps are."""
    left, low = int(np.floor(x)) - half, int(np.floor(y)) - half
    axis = np.arange(2 * half * SAMPLES + 1) / SAMPLES
    columns, rows = (np.exp(-((first + axis - at) ** 2) / 2 / sigma**2) for first, at in ((left, x), (low, y)))
    return Stamp(label, x, y, left, low, (flux * rows[:, None] * columns / (2 * np.pi * sigma**2)).astype(np.float32))


def written_out(optics, number, x, y, sigma, flux, spectrum, width=lambda _: 0.0):
    """Dispersed light of a round source, summed over wavelengths; `width` adds a variance."""
    wave = np.linspace(*LIMITS, 3001)
    rate = flux * spectrum(wave) * optics.orders[number].sensitivity(wave) * (wave[1] - wave[0])
    tx, ty = to_grism(x, y, wave, number)
    variance = sigma**2 + width(wave)
    columns, rows = (
        np.exp(-((np.arange(n)[:, None] - at) ** 2) / 2 / variance) / np.sqrt(2 * np.pi * variance)
        for n, at in ((SHAPE[1], tx), (SHAPE[0], ty))
    )
    return (rows * rate) @ columns.T


def airy(wave):
    """Pixels² by which an image is wider at a wavelength than in the mean over the first order."""
    variance = (0.42 * wave * 1e-6 / 6.5 / ARCSEC / PIXEL) ** 2
    return variance - np.average(variance, weights=through(wave))


def test_dispersed_light_is_that_written_out(optics):
    def spectrum(wave):
        return (wave / 1.3) ** 2

    for number in (0, 1):
        stamp = gaussian(1, 40.3, 45.8, 1.2, 5.0)
        image = np.zeros(SHAPE, np.float32)
        dispersed.add(image, [dispersed.disperse(stamp, optics, number, WAVE, spectrum(WAVE))])
        width = airy if number else lambda wave: airy(wave) * 0
        expected = written_out(optics, number, 40.3, 45.8, 1.2, 5.0, spectrum, width)
        assert image.sum() == pytest.approx(expected.sum(), rel=2e-3)
        assert np.abs(image - expected).max() < 0.012 * expected.max()


def test_light_falls_beside_the_image_or_is_cut_off_at_its_edge(optics):
    far = gaussian(1, 40.0, 400.0, 1.0, 5.0)
    assert dispersed.disperse(far, optics, 1, WAVE, np.ones_like(WAVE)) is None
    edge = dispersed.disperse(gaussian(1, -30.0, 1.0, 1.0, 5.0), optics, 1, WAVE, np.ones_like(WAVE))
    expected = written_out(optics, 1, -30.0, 1.0, 1.0, 5.0, np.ones_like, airy)
    assert (edge.left, edge.low) == (0, 0)
    assert edge.data.sum() == pytest.approx(expected.sum(), rel=5e-3)


def test_deposits_interpolate_smooth_images(optics):
    rng = np.random.default_rng(1)
    row, column, rate = rng.uniform(1, 5, 30), rng.uniform(1, 7, 30), rng.uniform(0, 1, (2, 30))
    total = dispersed.deposit(row, column, rate)
    y, x = np.indices(total.shape[1:])
    for power in range(4):
        np.testing.assert_allclose((total * x**power).sum(axis=(1, 2)), rate @ column**power, rtol=1e-4)
        np.testing.assert_allclose((total * y**power).sum(axis=(1, 2)), rate @ row**power, rtol=1e-4)


def test_sharpening_takes_a_variance_away():
    y, x = np.indices((61, 61)) - 30.0
    wide, narrow = (np.exp(-(x**2 + y**2) / 2 / v) / v for v in (6.4, 6.0))
    assert np.abs(dispersed.sharpened(wide, 0.4) - narrow).max() < 0.02 * narrow.max()
    assert dispersed.sharpened(wide, 0.0) is wide
    assert dispersed.drizzle_blur(0.5, 0.06, 0.04) == pytest.approx((0.03**2 + 0.04**2) / 12)
    assert dispersed.drizzle_blur(0.5, 0.06, 0.04, "point") == pytest.approx(0.04**2 / 12)


def test_stamps_keep_place_flux_and_shape_of_a_mosaics_source(optics):
    # a mosaic turned and finer than the exposure, with a neighbour and a missing pixel
    grid = Grid(10.0, 0.0, 0.04, (240, 280), (139.5, 119.5))
    image, labels = np.zeros(grid.shape), np.zeros(grid.shape, int)
    rows, columns = np.indices(grid.shape)
    at = {1: (60.4, 41.7), 2: (72.0, 41.0)}
    for label, (x, y) in at.items():
        px, py = (float(v[0]) for v in grid.to_pixel(*optics.sky(x, y)))
        away = np.hypot(columns - px, rows - py)
        image += np.exp(-(away**2) / 2 / 3.5**2) / (2 * np.pi * 3.5**2) * label
        labels[(away < 9.5)] = label
    image[130, 100] = np.nan
    light = (image / 1e12 / grid.pixel_area).astype(np.float32)
    x, y = np.array([60.4, np.nan]), np.array([41.7, 41.0])
    stamp, nothing = dispersed.cut_stamps(optics, Mosaic(light, labels, grid, 0.0, "point"), [1, 2], x, y)
    assert nothing is None
    assert stamp.flux == pytest.approx(np.nansum(image[labels == 1]), rel=0.01)
    total = stamp.light.sum()
    centre = [
        first + (stamp.light.sum(axis=axis) @ np.arange(n)) / total / SAMPLES
        for first, axis, n in ((stamp.left, 0, stamp.light.shape[1]), (stamp.low, 1, stamp.light.shape[0]))
    ]
    assert centre == pytest.approx([60.4, 41.7], abs=0.03)


def test_power_laws_follow_the_bands_and_are_flat_where_nothing_is_known():
    response, pivots = through(WAVE), np.array([1.15, 1.5, 2.0])
    fluxes = np.array([3 * pivots**1.2, 3 * pivots**1.2, [np.nan, 1.0, np.nan], [np.nan] * 3])
    errors = np.array([[1e-3] * 3, [30.0] * 3, [1e-3] * 3, [np.nan] * 3])
    spectra = dispersed.power_laws(WAVE, pivots, fluxes, errors, response)
    np.testing.assert_allclose(np.average(spectra, axis=1, weights=response), 1, rtol=1e-6)
    slopes = np.log(spectra[:, -1] / spectra[:, 0]) / np.log(WAVE[-1] / WAVE[0])
    assert slopes == pytest.approx([1.2, 0, 0, 0], abs=0.05)
    # with fluxes of another band spectra are 1 there
    other = dispersed.power_laws(WAVE, pivots, fluxes, errors, response, 2.0)
    assert other[0, 0] == pytest.approx((WAVE[0] / 2.0) ** 1.2, rel=0.05)


SOURCES = ((20.3, 44.2, 30.0, 0.8), (31.0, 48.1, 8.0, -1.5), (5.0, 70.6, 12.0, 0.0), (60.0, 20.9, 0.1, 0.0))
"""Position, flux and slope; the second overlaps the first."""


def truth(optics, shift=(0.0, 0.0)):
    """Noiseless light of each source."""
    return [
        sum(
            written_out(optics, number, x + shift[0], y + shift[1], 1.2, flux, lambda w: (w / 1.3) ** slope)  # noqa: B023
            for number in (0, 1)
        )
        for x, y, flux, slope in SOURCES
    ]


def scene_of(optics):
    stamps = [gaussian(i + 1, x, y, 1.2, flux) for i, (x, y, flux, _) in enumerate(SOURCES)]
    # photometry is off by a tenth, and knows nothing of slopes
    return Scene(optics, stamps, WAVE, np.full((len(SOURCES), len(WAVE)), 1.1), 1e-4)


@pytest.fixture(scope="module")
def observed(optics):
    light = np.sum(truth(optics), axis=0)
    rng = np.random.default_rng(3)
    data = (light + rng.normal(0, NOISE, SHAPE)).astype(np.float32)
    good = rng.uniform(size=SHAPE) > 0.01
    return np.where(good, data, 1e3).astype(np.float32), np.full(SHAPE, NOISE**2, np.float32), good


def test_refined_spectra_are_those_of_overlapping_sources(optics, observed):
    scene, light = scene_of(optics), truth(optics)
    before = np.abs(scene.total - np.sum(light, axis=0)).sum() / np.sum(light)
    assert contamination.refine(scene, *observed, degree=2, min_snr=20.0) == 3
    after = np.abs(scene.total - np.sum(light, axis=0)).sum() / np.sum(light)
    assert before > 0.1
    assert after < 0.02
    inside = (WAVE > 1.12) & (WAVE < 1.48)
    for one, (_, _, flux, slope) in zip(scene.contributors[:3], SOURCES, strict=False):
        np.testing.assert_allclose(one.spectrum[inside], flux * (WAVE[inside] / 1.3) ** slope, rtol=0.04)
    # what is too faint stays as photometry has it
    assert scene.contributors[3].snr == 0
    np.testing.assert_allclose(scene.contributors[3].spectrum, 0.11, rtol=1e-3)


def test_total_is_the_sum_of_all_parts_whatever_was_fitted(optics, observed):
    scene = scene_of(optics)
    contamination.refine(scene, *observed, degree=1, min_snr=20.0)
    total = np.zeros(SHAPE, np.float32)
    for one in scene.contributors:
        for patch in one.patches:
            total[patch.box] += one.image(patch)
    np.testing.assert_allclose(scene.total, total, atol=2e-4)
    one = scene.contributors[1]
    first = dispersed.by_order(one.patches)[1]
    others = scene.without(one, first.box)
    np.testing.assert_allclose(others + one.image(first), scene.total[first.box], atol=2e-4)


def star(x, y, flux, wings, label=-1):
    """A star of which a part of the light is in wings."""
    core, halo = (gaussian(label, x, y, sigma, flux, half=25) for sigma in (1.2, 7.0))
    return replace(core, light=(1 - wings) * core.light + wings * halo.light)


def lit_by(optics, stamp, rng):
    """Data of a star, its variance and good pixels, and the light alone."""
    light = Scene(optics, [stamp], WAVE, np.ones((1, len(WAVE))), 1e-5).total
    data = light + rng.normal(0, NOISE, SHAPE).astype(np.float32)
    return (data, np.full(SHAPE, NOISE**2, np.float32), np.ones(SHAPE, bool)), light


@pytest.mark.parametrize("label", [-1, 1])
def test_wings_of_stars_of_the_model_are_measured_across_the_trace(optics, label):
    observed, light = lit_by(optics, star(20.3, 44.2, 300.0, 0.25), np.random.default_rng(6))
    scene = Scene(optics, [star(20.3, 44.2, 300.0, 0.2, label)], WAVE, np.ones((1, len(WAVE))), 1e-5)
    contamination.refine(scene, *observed)
    # 8 to 13 pixels beside the trace, where a fifth was missing
    beside = np.r_[31:37, 52:58], slice(80, 130)
    lacking = float(scene.total[beside].sum() / light[beside].sum()) - 1
    assert lacking == pytest.approx(0, abs=0.04) if label < 0 else lacking < -0.08
    # and the sum is that of the parts still
    total = np.zeros(SHAPE, np.float32)
    for patch in scene.contributors[0].patches:
        total[patch.box] += scene.contributors[0].image(patch)
    np.testing.assert_allclose(scene.total, total, atol=2e-4)
    before = scene.total.copy()
    scene.move((0.0, 0.0))
    np.testing.assert_allclose(scene.total, before, atol=2e-4)


@pytest.mark.parametrize("label", [-1, 1])
def test_stars_of_the_model_are_fitted_by_any_order(optics, label):
    # the first order is beside the image, the zeroth on it
    observed, _ = lit_by(optics, star(130.0, 44.2, 600.0, 0.2), np.random.default_rng(7))
    scene = Scene(optics, [star(130.0, 44.2, 300.0, 0.2, label)], WAVE, np.ones((1, len(WAVE))), 1e-5)
    contamination.refine(scene, *observed)
    assert scene.contributors[0].spectrum.mean() == pytest.approx(600 if label < 0 else 300, rel=0.03)


def test_shifts_are_found_along_and_across(optics):
    shift = (0.62, -0.47)
    light = np.sum(truth(optics, shift), axis=0)
    data = (light + np.random.default_rng(4).normal(0, NOISE, SHAPE)).astype(np.float32)
    variance, good = np.full(SHAPE, NOISE**2, np.float32), np.ones(SHAPE, bool)
    found = grism_shift.measure(scene_of(optics), data, variance, good, min_snr=20.0, degree=1)
    assert found.sources >= 5
    assert found.value == pytest.approx(shift, abs=0.06)
    assert (found.error < 0.1).all()
    far = (-11.0, 6.0)
    light = np.sum(truth(optics, far), axis=0)
    data = (light + np.random.default_rng(4).normal(0, NOISE, SHAPE)).astype(np.float32)
    place, clear = grism_shift.search(scene_of(optics).total, data, variance, good, 20.0, True)
    assert place == pytest.approx(far, abs=1.1)
    assert clear > 2
    noise = np.random.default_rng(5).normal(0, NOISE, SHAPE).astype(np.float32)
    assert grism_shift.search(scene_of(optics).total, noise, variance, good, 20.0, True)[1] < 1.6


def test_too_few_sources_measure_nothing(optics):
    noise = np.random.default_rng(5).normal(0, NOISE, SHAPE).astype(np.float32)
    variance, good = np.full(SHAPE, NOISE**2, np.float32), np.ones(SHAPE, bool)
    found = grism_shift.measure(scene_of(optics), noise, variance, good, min_snr=1e5, degree=1)
    assert found.sources == 0
    value, error = grism_shift.combine(found, 0.3)
    assert value == pytest.approx([0, 0])
    assert error == pytest.approx([0.3, 0.3])


def test_combination_weighs_by_errors():
    found = grism_shift.Shift(np.array([1.0, 1.0]), np.array([0.0, 0.3]), 5)
    value, error = grism_shift.combine(found, 0.3)
    assert value == pytest.approx([1, 0.5], abs=0.01)
    assert error == pytest.approx([grism_shift.FLOOR, 0.3 / np.sqrt(2)], rel=0.01)
    value, error = grism_shift.combine(found, np.inf)
    assert value == pytest.approx([1, 1])
    assert error == pytest.approx([0.02, np.hypot(0.3, 0.02)])


def test_moved_pointing_brings_light_to_where_it_was_found(optics):
    from pureparallel.core.astrometry import unit
    from pureparallel.core.pointing import attitude

    pointing, shift = Pointing(10.0, 0.0, 30.0), np.array([1.5, -0.8])
    turned = grism_shift.moved(optics, pointing, shift)
    turn = attitude(turned, 0, 0) @ attitude(pointing, 0, 0).T
    # the sky that was on the middle is now where the shifted pixel looks
    y, x = ((n - 1) / 2 for n in SHAPE)
    there = turn @ unit(*optics.sky(x + shift[0], y + shift[1]))[:, 0]
    assert there == pytest.approx(unit(*optics.sky(x, y))[:, 0], abs=1e-12)


@pytest.mark.parametrize("along_x", [True, False])
def test_cutouts_give_back_a_spectrum(optics, along_x, tmp_path):
    if not along_x:
        turned = {number: turned_order(order) for number, order in optics.orders.items()}
        optics = Optics(SHAPE[::-1], "GR150R", "F130M", False, optics.plane, optics.to_pixel, optics.to_plane, turned,
                        AREA, 0.0)  # fmt: skip
    position = (20.3, 44.2) if along_x else (44.2, 20.3)
    place = cutouts.place(optics, *position, 5.0)
    light = written_out(optics, 1, 20.3, 44.2, 1.2, 7.0, lambda wave: (wave / 1.3) ** 2)
    image = transposed(light, not along_x).astype(np.float32)
    rows = [dict.fromkeys(spec2_files.COLUMNS, 0) | {"id": 5, "reason": ""}]
    rows += [dict.fromkeys(spec2_files.COLUMNS, 0) | {"id": 6, "reason": "no light"}]
    images = {"SCI": image + 1, "ERR": image, "DQ": np.full(image.shape, 2**31, np.uint32), "TOTAL": image + 1}
    own = place.of(image)
    path = tmp_path / "one_spec2.fits"
    along, across = np.array([0.1, 0.6, 0.3]), np.array([0.2, 0.5, 0.3])
    spec2_files.write(
        path, {"GRISM": "G"}, rows, [place, None], [own, None], [(along, across), None], images,
        Lineage.of("spec2", []),
    )  # fmt: skip
    read = spec2_files.read(path)
    found = read.of(5)
    assert read.of(6) is None and read.of(7) is None
    assert found.sci.shape == found.dq.shape == own.shape
    np.testing.assert_allclose(found.sci - found.contam, own, atol=1e-6)
    np.testing.assert_allclose(found.model, own)
    assert (found.dq == 2**31).all()
    np.testing.assert_allclose((found.along, found.across), (along, across))
    row = read.sources[0]
    assert image[row["low"], row["left"]] + 1 == pytest.approx(found.sci[0, 0])
    inside = (found.wavelength > 1.13) & (found.wavelength < 1.47)
    spectrum = found.model.sum(axis=0)[inside] / found.response[inside]
    np.testing.assert_allclose(spectrum, 7.0 * (found.wavelength[inside] / 1.3) ** 2, rtol=0.01)
    centre = found.model.T @ np.arange(len(own)) / found.model.sum(axis=0)
    np.testing.assert_allclose(centre[inside], found.trace[inside], atol=0.02)


def turned_order(order):
    """The order of a grism that is turned by 90 degrees: x and y exchanged."""
    surface, degree = order.surface, order.surface.degree + 1
    swapped = surface.coefficients[:, ::-1].reshape(*surface.coefficients.shape[:2], degree, degree).swapaxes(-1, -2)
    box = grism.Surface(
        surface.middle[::-1], surface.half[::-1], surface.degree, swapped.reshape(*swapped.shape[:2], -1)
    )
    return Order(order.number, order.limits, order.extracted, box, order.wave, order.response)


def test_no_cutout_where_the_trace_is_beside_the_detector(optics):
    assert "beside" in cutouts.place(optics, 20.0, 300.0, 5.0)
    assert "beside" in cutouts.place(optics, 105.0, 40.0, 5.0)
    part = cutouts.place(optics, 60.0, 2.0, 5.0)
    assert part.box[1].stop == SHAPE[1] and part.box[0].start == 0
    whole = cutouts.place(optics, 10.0, 45.0, 5.0)
    assert whole.share == 1
    assert part.share == pytest.approx(part.shape[1] / whole.shape[1], abs=0.03)
    assert part.trace[0] == pytest.approx(2.0 + 8 * (part.wave[0] - 1.3), abs=0.01)


def test_half_height_holds_nearly_all_light():
    stamp = gaussian(1, 40.0, 40.0, 2.0, 3.0)
    assert cutouts.half_height(stamp.light, True, SAMPLES) == pytest.approx(2.33 * 2.0, abs=0.6)
    assert cutouts.half_height(np.zeros((9, 9)), False, SAMPLES) == 2.0

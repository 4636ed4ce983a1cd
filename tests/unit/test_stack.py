"""Extraction from cut-outs and the combination of spectra: physics on small synthetic cut-outs."""

import numpy as np
import pytest
from pureparallel.core import extraction, stacking
from pureparallel.core.extraction import Columns

STEP = 46.75
GRID = stacking.bins(17510, 22260, STEP)
SAMPLES = 2


def gauss(offset, sigma):
    """Unit light in a pixel."""
    return np.exp(-0.5 * (offset / sigma) ** 2) / sigma / np.sqrt(2 * np.pi)


def columns(rng, phase, *, native=46.8, sigma=1.0, flux=0.0, falling=True, number=110):
    """A spectrum of noise on columns of the detector."""
    wave = 17320 + phase * native + native * np.arange(number)
    wave = wave[::-1] if falling else wave
    values = flux + rng.normal(0, sigma, number)
    return Columns(
        wave, values, np.zeros(number), np.zeros(number), np.full(number, sigma**2), np.ones((3, number), bool)
    )


def line_in(one, centre, width, flux):
    """The same with a line, of `width` Å."""
    step = np.median(np.abs(np.diff(one.wave)))
    from scipy.special import erf

    edge = [erf((one.wave + side * step / 2 - centre) / width / np.sqrt(2)) for side in (1, -1)]
    extra = flux / 2 * (edge[0] - edge[1]) / step
    return Columns(one.wave, one.flux + extra, one.contamination, one.model, one.variance, one.good)


def test_bins_are_whole_multiples_of_the_step_within_the_limits():
    grid = stacking.bins(10130, 12830, 47.0)
    assert np.allclose(grid % 47.0, 0, atol=1e-9) | np.allclose(grid % 47.0, 47, atol=1e-9)
    assert grid[0] >= 10130 > grid[0] - 47 and grid[-1] <= 12830 < grid[-1] + 47


def test_overlaps_share_every_column_among_its_bins():
    wave = np.linspace(22500, 17300, 112)
    part = stacking.overlaps(wave, GRID)
    inside = (wave > GRID[1]) & (wave < GRID[-2])
    assert np.allclose(part[inside].sum(axis=1), 1)
    assert np.allclose((part[inside] @ GRID), wave[inside], atol=STEP / 2)
    assert not part[wave > GRID[-1] + STEP].any()


@pytest.mark.parametrize("exposures", [1, 2, 4])
def test_errors_hold_for_sums_over_any_number_of_bins(exposures):
    rng = np.random.default_rng(exposures)
    sums = {1: [], 3: [], 10: []}
    for _ in range(80):
        spectra = [columns(rng, rng.uniform(), sigma=rng.uniform(0.7, 1.4)) for _ in range(exposures)]
        one = stacking.combine(spectra, GRID)
        good = one.error > 0
        assert good.sum() > 95
        flux, variance = one.flux[good], one.error[good] ** 2
        for size, found in sums.items():
            count = len(flux) // size * size
            parts = (values[:count].reshape(-1, size).sum(axis=1) for values in (flux, variance))
            found.append(np.divide(*[next(parts), np.sqrt(next(parts))]))
    for size, found in sums.items():
        assert np.concatenate(found).std() == pytest.approx(1, abs=0.08), size


def test_a_column_without_data_leaves_the_rest_right():
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(100):
        one = columns(rng, rng.uniform(), flux=7.0)
        one.flux[40:42], one.variance[40:42] = np.nan, np.inf
        found = stacking.combine([one], GRID)
        good = found.error > 0
        pulls.append((found.flux[good] - 7.0) / found.error[good])
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("falling", [True, False])
def test_a_line_stays_where_it_is_and_keeps_its_flux(phase, falling):
    rng = np.random.default_rng(1)
    for centre in (19000.0, 19010.0, 19033.0, 19050.0):
        one = columns(rng, phase, sigma=1e-3, falling=falling)
        found = stacking.combine([line_in(one, centre, 70.0, 100.0)], GRID)
        near = (np.abs(GRID - centre) < 500) & (found.error > 0)
        flux = found.flux[near].sum() * STEP
        assert flux == pytest.approx(100, rel=0.01)
        assert np.sum(found.flux[near] * GRID[near]) * STEP / flux == pytest.approx(centre, abs=0.03 * STEP)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5])
def test_the_profile_tells_what_a_line_looks_like_in_the_bins(phase):
    rng = np.random.default_rng(2)
    native, width, centre = 46.8, 65.0, 19432.0
    one = columns(rng, phase, sigma=1e-3, native=native)
    found = stacking.combine([line_in(one, centre, width, 1000.0)], GRID)
    from scipy.ndimage import uniform_filter1d

    offsets = np.arange(-40, 41) * native / SAMPLES
    fine = np.arange(-4000, 4001, dtype=float)
    pixel = uniform_filter1d(gauss(fine, width), round(native))
    along = np.interp(offsets, fine, pixel)
    profile = stacking.seen_through(along / along.sum(), native / SAMPLES, found.kernel, STEP)
    half = len(profile) // 2
    place = np.arange(-half, half + 1) * STEP / 2
    cumulative = np.cumsum(np.interp(fine, place, profile))
    edges = np.stack([GRID - STEP / 2, GRID + STEP / 2]) - centre
    template = np.diff(np.interp(edges, fine, cumulative / cumulative[-1]), axis=0)[0] * 1000 / STEP
    near = (np.abs(GRID - centre) < 500) & (found.error > 0)
    template, flux = template[near], found.flux[near]
    assert np.sum(template * flux) / np.sum(template**2) == pytest.approx(1, abs=0.01)
    assert np.abs(flux - template).max() < 0.02 * template.max()


def test_one_exposure_far_above_the_others_is_found_and_lines_are_not():
    rng = np.random.default_rng(3)
    spectra = [line_in(columns(rng, phase), 20000.0, 60.0, 5000.0) for phase in (0.0, 0.4, 0.7)]
    spectra[1].flux[30] += 40
    found = stacking.disagree(spectra, GRID, 5.0, 0.5)
    assert found[1][30]
    assert sum(one.sum() for one in found) <= 2
    pair = stacking.disagree(spectra[:2], GRID, 5.0, 0.5)
    assert pair[1][30] and not pair[0][28:33].any()
    assert not any(one.any() for one in stacking.disagree(spectra[1:2], GRID, 5.0, 0.5))


def cutout(rng, *, rows=30, number=100, flux=2.0, sigma=0.05, width=1.2, slope=0.01):
    """A source's light, its profile, and noise."""
    trace = 14.3 + slope * np.arange(number)
    across = gauss(np.arange(-30, 31) / SAMPLES, width) / SAMPLES
    profile = extraction.profile_on(across, trace, rows, SAMPLES)
    truth = flux * gauss(np.arange(rows)[:, None] - trace, width)
    return truth + rng.normal(0, sigma, truth.shape), np.full(truth.shape, sigma), profile, truth


def test_extraction_gives_the_flux_of_all_light_with_the_right_error():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(30):
        data, error, profile, _ = cutout(rng)
        nothing, good = np.zeros_like(data), np.ones(data.shape, bool)
        flux, _, _, variance = extraction.extract(data, nothing, nothing, error**2, error**2, good, profile, 0.3)
        found.append((flux - 2.0) / np.sqrt(variance))
    assert np.mean(found) == pytest.approx(0, abs=0.08)
    assert np.std(found) == pytest.approx(1, abs=0.05)


def test_light_beside_the_cutout_or_on_bad_pixels_is_made_up_for():
    rng = np.random.default_rng(5)
    data, error, profile, truth = cutout(rng, sigma=1e-4)
    nothing, good = np.zeros_like(data), np.ones(data.shape, bool)
    good[14, 20:40] = False
    cut = slice(14, 30)  # half of the source lies below the detector's edge
    for rows in (slice(None), cut):
        flux, *_ = extraction.extract(
            truth[rows], nothing[rows], nothing[rows], error[rows] ** 2, error[rows], good[rows], profile[rows], 0.3
        )
        assert np.nanmedian(flux) == pytest.approx(2.0, rel=0.01)
        assert np.nanmax(np.abs(flux - 2.0)) < 0.05
    few = slice(17, 30)
    flux, _, _, variance = extraction.extract(
        truth[few], nothing[few], nothing[few], error[few] ** 2, error[few], good[few], profile[few], 0.3
    )
    assert np.isnan(flux[:50]).all() and np.isinf(variance[:50]).all()


def test_hits_are_rejected_lines_and_badly_modelled_sources_are_not():
    rng = np.random.default_rng(6)
    data, error, profile, truth = cutout(rng)
    data = data + 20 * profile * (np.arange(100) == 60)  # a line that no model has
    model = 0.8 * truth
    hits = [(14, 10), (15, 30), (20, 50), (5, 70), (16, 61)]
    for row, column in hits:
        data[row, column] += 1.2
    good, nothing = np.ones(data.shape, bool), np.zeros_like(data)
    found = extraction.reject(data, nothing, model, error**2, good, profile, 5.0, 0.3)
    # the last is beside a bright line, whose light a model may miss by as much
    assert all(found[at] for at in hits[:4])
    assert found.sum() <= 6 and not found[12:18, 60].any()


def test_what_is_left_of_contamination_is_tolerated_in_proportion():
    rng = np.random.default_rng(7)
    data, error, profile, truth = cutout(rng)
    others = 5.0 * gauss(np.arange(30)[:, None] - 20.0, 1.0) * np.ones(100)
    found = extraction.reject(
        data + 1.15 * others, others, truth, error**2, np.ones(data.shape, bool), profile, 5.0, 0.3
    )
    assert found.mean() < 0.002


def test_columns_are_in_physical_units_and_say_nothing_where_nothing_is():
    rng = np.random.default_rng(8)
    data, error, profile, truth = cutout(rng, flux=3.0, sigma=0.01)
    wave, response = np.linspace(22000, 17400, 100), np.full(100, 1.5)
    response[:3] = 0
    bad = np.zeros(data.shape, bool)
    bad[:, 50] = True
    error[:, 51] = np.nan
    one = extraction.columns(
        data, error, bad, np.zeros_like(data), truth, profile, wave, response,
        least=0.3, nsigma=5.0, tolerance=0.3, contamination_error=0.05,
    )  # fmt: skip
    microjansky = 3.0 / 1.5
    expected = microjansky * 1e-29 * 2.99792458e18 / wave**2 / 1e-20
    seen = np.isfinite(one.flux)
    assert not seen[[0, 1, 2, 50, 51]].any() and seen.sum() == 95
    assert np.isinf(one.variance[~seen]).all()
    assert np.median(one.flux[seen] / expected[seen]) == pytest.approx(1, rel=0.005)
    assert np.median(one.model[seen] / expected[seen]) == pytest.approx(1, rel=0.005)


def test_contamination_is_subtracted_carried_along_and_in_the_variance():
    rng = np.random.default_rng(9)
    data, error, profile, truth = cutout(rng)
    others = np.full_like(data, 0.4)
    wave, response = np.linspace(22000, 17400, 100), np.ones(100)
    options = {"least": 0.3, "nsigma": 5.0, "tolerance": 0.3}
    clean, dirty = (
        extraction.columns(
            data + more, error, np.zeros(data.shape, bool), more, truth, profile, wave, response,
            contamination_error=0.5, **options,
        )
        for more in (0 * others, others)
    )  # fmt: skip
    assert np.nanmedian(np.abs(dirty.flux - clean.flux) / np.sqrt(clean.variance)) < 0.3
    assert np.nanmedian(dirty.contamination) > 0
    # per pixel 0.05 of noise and 0.2 of contamination
    assert np.nanmedian(dirty.variance / clean.variance) == pytest.approx(17, rel=0.1)


def test_a_picture_is_straight_and_keeps_the_light():
    rng = np.random.default_rng(10)
    data, error, _, truth = cutout(rng, slope=0.05)
    wave = np.linspace(22300, 17480, 100)
    planes = [
        stacking.Plane(
            data, truth, np.zeros_like(data), error**2, np.ones(data.shape, bool), 14.3 + 0.05 * np.arange(100), wave
        )
    ]
    grid = stacking.bins(17600, 22200, 48.7)
    image, sigma, model, _ = stacking.picture(planes, grid, 8)
    middle = np.sum(model * np.arange(-8, 9)[:, None], axis=0) / model.sum(axis=0)
    assert np.abs(middle).max() < 0.05
    assert np.allclose(model.sum(axis=0), 2.0, rtol=0.01)
    assert np.nanstd((image - model) / sigma) == pytest.approx(1, abs=0.06)
    empty = stacking.picture([], grid, 8)
    assert np.isnan(empty).all()


@pytest.mark.parametrize("along_x", [True, False])
def test_profiles_are_centred_on_the_position_and_along_is_what_extraction_sees(along_x):
    from pureparallel.core import cutouts

    x, y = np.meshgrid(np.arange(80) / SAMPLES, np.arange(60) / SAMPLES)
    where, start = (18.3, 14.8), (-18.3, -14.8)
    # round, so that its light is less wide along where it is brightest across; a faint companion towards larger x
    radius = np.hypot(x - where[0], y - where[1])
    light = np.exp(-radius) + 0.3 * np.exp(-np.hypot(x - where[0] - 6, y - where[1]) / 0.5)
    along, across = cutouts.edge_on(light, start, SAMPLES, along_x)
    assert len(along) == len(across) and len(along) % 2 == 1
    assert along.sum() == pytest.approx(1) and across.sum() == pytest.approx(1)
    offset = np.arange(len(along)) - len(along) // 2
    profiles = (along, across) if along_x else (across, along)
    assert abs(offset[profiles[0].argmax()]) <= 1 and abs(offset[profiles[1].argmax()]) <= 1
    beside = profiles[0][np.abs(offset - 6 * SAMPLES) < 2].sum()
    assert beside > 2 * profiles[0][np.abs(offset + 6 * SAMPLES) < 2].sum()
    # what optimal extraction with uniform weights makes of a line
    rows = light if along_x else light.T
    weight = rows.sum(axis=1)
    seen = weight @ rows / (weight @ weight) * weight.sum()
    assert along.max() == pytest.approx(seen.max() / seen.sum(), rel=0.05)
    assert along.max() > 1.05 * (rows.sum(axis=0) / rows.sum()).max()


def test_a_response_is_smeared_by_the_source_but_keeps_its_sum():
    response = np.where((np.arange(100) > 20) & (np.arange(100) < 80), 2.0, 0.0)
    along = gauss(np.arange(-20, 21) / SAMPLES, 2.0) / SAMPLES
    seen = extraction.smeared(response, along, SAMPLES)
    assert seen.sum() == pytest.approx(response.sum(), rel=1e-3)
    assert np.allclose(seen[35:65], 2, rtol=1e-3)
    assert 0.5 < seen[20] < 1.1 and 0.01 < seen[17] < 0.5


def test_stacks_are_read_as_they_were_written(tmp_path):
    from pureparallel import slitless_stacks
    from pureparallel.provenance import Lineage

    rng = np.random.default_rng(11)
    images = [rng.normal(size=(4, rows, 20)).astype(np.float32) for rows in (5, 9)]
    row = {
        "grism": "GR150R", "filter": "F200W", "roll": 37.0, "exposures": 1, "seconds": 500.0, "rejected": 0.0,
        "snr": 3.0, "wave_error": 1.4, "wave_first": 1.75, "wave_step": 0.004675, "ny": 0, "nx": 0, "pixel": 0.0656,
        "first": 0,
    }  # fmt: skip
    slitless_stacks.write(
        tmp_path / "s.fits", [{"source": one} | row for one in ("3", "14")], images, Lineage.of("stack", [])
    )
    found = slitless_stacks.read(tmp_path / "s.fits")
    assert list(found.table["source"]) == ["3", "14"]
    for one, image in zip(found.table, images, strict=True):
        assert np.array_equal(found.of(one), image)
    slitless_stacks.write(tmp_path / "none.fits", [], [], Lineage.of("stack", []))
    assert len(slitless_stacks.read(tmp_path / "none.fits").table) == 0

"""Slitless redshifts, step by step, on small spectra whose truth is known."""

import dataclasses
import re

import numpy as np
import pytest
from pureparallel.core import lines, slitless, slitless_fit, slitless_lines, slitless_search, slitless_view, templates
from pureparallel.core.nnls import nnls
from pureparallel.core.redshift import integral
from scipy.optimize import nnls as reference

WAVES = {"blue": np.arange(10150.0, 12850.0, 47.0), "red": np.arange(13300.0, 16750.0, 47.0)}
PROFILES = {0: 1.0, 1: 1.8}  # sigma in pixels of two rolls


@pytest.fixture(scope="module")
def families(root):
    from astropy.table import Table

    return lines.families(Table.read(root / "resources" / "lines.ecsv"))


@pytest.fixture(scope="module")
def stars(root):
    from astropy.table import Table

    table = Table.read(root / "resources" / "continuum.ecsv")
    types = {name: np.asarray(table[name]) for name in templates.STELLAR_DUST}
    return templates.continuum(np.asarray(table["wavelength"]), types)


@pytest.fixture(scope="module")
def mixtures(families):
    return templates.mixtures(families)


def gaussian_line(wave, wavelength, sigma):
    """A line of unit flux in bins, per Å."""
    from scipy.special import erf

    edges = np.append(wave, wave[-1] + 47) - 23.5
    return np.diff(0.5 * erf((edges - wavelength) / sigma / np.sqrt(2))) / 47


def make(truths, noise, seed=0, shifts=None):
    """Spectra in two bands and two rolls of sources with (z, {rest wavelength: flux}, continuum).

    `shifts` (sources, rolls) in pixels are errors of their wavelength scales.
    """
    shifts = np.zeros((len(truths), len(PROFILES))) if shifts is None else shifts
    rng = np.random.default_rng(seed)
    x = np.arange(-15, 16)
    profile = np.array([np.exp(-0.5 * (x / sigma) ** 2) for sigma in PROFILES.values()])
    found = []
    for wave in WAVES.values():
        flux = np.zeros((len(truths), 2, len(wave)))
        for s, (z, emission, level) in enumerate(truths):
            for k, sigma in PROFILES.items():
                flux[s, k] = level * (wave / 13000) ** -1.2
                for rest, value in emission.items():
                    flux[s, k] += value * gaussian_line(wave, rest * (1 + z) + 47 * shifts[s, k], sigma * 47)
        flux += rng.normal(0, noise, flux.shape)
        shape = (len(truths), 2)
        found.append(
            slitless.Spectra(
                wave, flux, np.full(flux.shape, noise), np.zeros(flux.shape),
                np.broadcast_to(profile, (*shape, len(x))), np.full(shape, 47.0),
            )
        )  # fmt: skip
    return found


HA, HB, O3, O3B, O2 = 6564.61, 4862.683, 5008.24, 4960.295, 3728.7
GALAXY = {O3: 900.0, O3B: 302.0, HB: 250.0, HA: 800.0, O2: 600.0}
PLAIN = slitless_fit.Settings(velocity_width=0.0, systematic_error=0.0, wavelength_error=0.05, z_range=(0.2, 4.0))


def test_batched_nnls_is_that_of_scipy():
    rng = np.random.default_rng(1)
    matrix = np.abs(rng.normal(size=(40, 9, 50))) + 0.3 * rng.normal(size=(40, 9, 50))
    matrix[:, 3] = 2 * matrix[:, 2]  # two templates that cannot be told apart, and one that is nowhere
    matrix[:, 7] = 0
    data = np.einsum("ntp,nt->np", matrix, np.maximum(rng.normal(size=(40, 9)), 0)) + rng.normal(size=(40, 50))
    x, gain = nnls(matrix @ matrix.swapaxes(1, 2), np.einsum("ntp,np->nt", matrix, data), tolerance=1e-10)
    residual = data - np.einsum("nt,ntp->np", x, matrix)
    for i in range(40):
        expected = reference(matrix[i].T, data[i])[1] ** 2
        assert np.sum(residual[i] ** 2) == pytest.approx(expected, rel=1e-8)
        assert data[i] @ data[i] - gain[i] == pytest.approx(expected, rel=1e-8)
    assert x.min() >= 0
    assert np.all(x[:, 7] == 0)


def test_nnls_of_nothing_gains_nothing():
    x, gain = nnls(np.zeros((2, 3, 3)), np.zeros((2, 3)))
    assert not x.any()
    assert not gain.any()


def test_a_line_has_its_flux_place_and_width():
    spectra = make([(1.0, {}, 0.0)], 1.0)[0]
    band = slitless.band(spectra, contamination_error=0, continuum_error=0, systematic_error=0, velocity=0)
    for wavelength in (11500.0, 11510.0, 11533.3):
        found = slitless.response(band, np.array([wavelength]))[0, :, 0]
        for k, sigma in PROFILES.items():
            assert found[k].sum() * 47 == pytest.approx(1, abs=1e-3)
            centre = np.sum(found[k] * band.wave) * 47
            assert centre == pytest.approx(wavelength, abs=0.5)
            variance = np.sum(found[k] * (band.wave - centre) ** 2) * 47 / 47**2
            assert variance == pytest.approx(sigma**2 + 1 / 12, rel=0.02)  # light falls into bins


def test_a_line_is_widened_by_velocity():
    spectra = make([(1.0, {}, 0.0)], 1.0)[0]
    sharp, wide = (
        slitless.band(spectra, contamination_error=0, continuum_error=0, systematic_error=0, velocity=v)
        for v in (0, 1000)
    )
    added = wide.width()[0] ** 2 - sharp.width()[0] ** 2
    assert np.sqrt(added) == pytest.approx(1000 / 299792.458, rel=0.02)


def chi2_of_data(spectra, **errors):
    """chi2 of no template at all, what is uncertain projected out."""
    settings = {"contamination_error": 0.0, "continuum_error": 0.0, "systematic_error": 0.0, "velocity": 0.0} | errors
    values, along = slitless.data([slitless.band(spectra, **settings)])
    return values @ values - along @ along


def test_wrong_contamination_is_projected_out():
    spectra = make([(1.0, {}, 0.0)], 1.0)[0]
    bump = 60 * np.exp(-0.5 * ((spectra.wave - 11500) / 300) ** 2)
    contaminated = dataclasses.replace(
        spectra, flux=spectra.flux + 0.15 * bump, contamination=np.broadcast_to(bump, spectra.flux.shape)
    )
    clean = chi2_of_data(spectra)
    assert chi2_of_data(contaminated) > clean + 500
    assert chi2_of_data(contaminated, contamination_error=0.15) < clean + 5


def test_a_zero_level_is_projected_out():
    spectra = make([(1.0, {}, 20.0)], 1.0)[0]
    shifted = dataclasses.replace(spectra, flux=spectra.flux + np.array([2.0, -1.0])[:, None])
    assert chi2_of_data(shifted, continuum_error=3.0) == pytest.approx(
        chi2_of_data(spectra, continuum_error=3.0), abs=1.0
    )


def test_a_feature_of_one_spectrum_alone_is_masked():
    rng = np.random.default_rng(2)
    wave = np.arange(80)
    line = 25 * np.exp(-0.5 * ((wave - 30) / 1.5) ** 2)
    flux = np.stack([line, 0.8 * line, 1.2 * line, line]) + rng.normal(0, 1, (4, 80))
    flux[2] += 12 * np.exp(-0.5 * ((wave - 60) / 1.5) ** 2)
    err, valid = np.ones((1, 4, 80)), np.ones((1, 4, 80), bool)
    found = slitless.strangers(flux[None], err, valid, 5.0)[0]
    assert found[2, 58:63].all()
    assert not found[:, 20:40].any()
    assert not found[[0, 1, 3]].any()
    assert not slitless.strangers(flux[None, [1, 2]], err[:, :2], valid[:, :2], 5.0).any()


def test_the_search_is_the_exact_fit_at_redshifts_of_its_grid(mixtures, stars):
    """Tables of responses and a continuum basis against templates made pixel by pixel and solved by scipy."""
    chunk = slitless_fit.chunk(make([(1.3, GALAXY, 3.0)], 1.0, seed=3), mixtures, stars, PLAIN)
    gain = slitless_search.search(chunk.bands, chunk.grid, 0)
    values, along = slitless.data(chunk.of(0))
    at = np.array([20, int(np.argmax(gain)), 150, len(gain) - 5])
    matrix, directions = slitless.design(chunk.of(0), mixtures, chunk.continuum, chunk.grid.z[at])
    normal, projected = slitless.normal(matrix, directions, values, along)
    total = values @ values - along @ along
    for i, index in enumerate(at):
        scale = np.sqrt(np.maximum(np.diag(normal[i]), 1e-30))
        root = np.linalg.cholesky(normal[i] / np.outer(scale, scale) + 1e-9 * np.eye(len(scale)))
        target = np.linalg.solve(root, projected[i] / scale)
        exact = total - target @ target + reference(root.T, target)[1] ** 2
        # lines are up to a quarter of a step off in the search
        assert total - gain[index] == pytest.approx(exact, abs=0.03 * gain.max() * (index == at[1]) + 2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_injected_redshifts_come_back_within_their_errors(mixtures, stars, families, seed):
    truths = [(1.1, GALAXY, 2.0), (1.25, GALAXY, 0.5), (1.31, GALAXY, 5.0), (2.16, GALAXY, 1.0)]
    chunk = slitless_fit.chunk(make(truths, 1.0, seed), mixtures, stars, PLAIN)
    for source, (z, _, _) in enumerate(truths):
        found = slitless_fit.fit(chunk, source)
        assert abs(found.z - z) < 5 * (found.z_high - found.z_low) / 2
        assert abs(found.z - z) / (1 + z) < 2e-3
        assert found.chi2 / found.dof == pytest.approx(1, abs=0.3)
        assert integral(found.pdf, found.grid)[-1] == pytest.approx(1)
        assert found.peaks[0].probability > 0.95


def test_redshift_errors_are_those_of_repeated_noise(mixtures, stars):
    count = 40
    settings = dataclasses.replace(PLAIN, z_range=(1.2, 1.4), wavelength_error=0.0)
    chunk = slitless_fit.chunk(make([(1.3, GALAXY, 1.0)] * count, 2.0, 7), mixtures, stars, settings)
    found = [slitless_fit.fit(chunk, i) for i in range(count)]
    pulls = np.array([(one.z - 1.3) / ((one.z_high - one.z_low) / 2) for one in found])
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.35


def test_errors_of_the_wavelength_scale_are_in_those_of_redshifts(mixtures, stars):
    """Scales that are wrong by 0.4 pixels, differently in every spectrum, in noise that alone would move z by less."""
    count, wrong, z = 40, 0.4, 1.3
    shifts = np.random.default_rng(11).normal(0, wrong, (count, len(PROFILES)))
    spectra = make([(z, GALAXY, 1.0)] * count, 0.5, 3, shifts)
    for told, low, high in ((wrong, 0.75, 1.3), (0.0, 1.8, 20.0)):
        settings = dataclasses.replace(PLAIN, z_range=(1.2, 1.4), wavelength_error=told)
        chunk = slitless_fit.chunk(spectra, mixtures, stars, settings)
        found = [slitless_fit.fit(chunk, i) for i in range(count)]
        pulls = np.array([(one.z - z) / ((one.z_high - one.z_low) / 2) for one in found])
        assert low < np.std(pulls) < high


def test_line_fluxes_pull_to_the_truth(mixtures, stars, families):
    count = 30
    chunk = slitless_fit.chunk(make([(1.3, GALAXY, 4.0)] * count, 2.0, 8), mixtures, stars, PLAIN)
    fitted = lines.at_resolution(families, 100)
    names = [f.name for f in fitted]
    pulls, nothing = [], []
    for source in range(count):
        found = measured(chunk, source, fitted, 1.3)
        for name, rest in (("OIII-5008", O3), ("Hb", HB), ("Ha+NII", HA)):
            i = names.index(name)
            pulls.append((found.flux[i] - GALAXY[rest]) / found.err[i])
        nothing.append(found.snr[names.index("OI")])
        assert np.isnan(found.flux[names.index("SIII")])  # beyond the red end
    assert abs(np.mean(pulls)) < 0.5
    assert 0.75 < np.std(pulls) < 1.3
    assert abs(np.mean(nothing)) < 0.6
    assert 0.6 < np.std(nothing) < 1.4


def test_equivalent_width_is_flux_over_continuum_at_rest(mixtures, stars, families):
    settings = dataclasses.replace(PLAIN, continuum_error=0.0)
    chunk = slitless_fit.chunk(make([(1.3, {HA: 4000.0}, 20.0)], 0.3), mixtures, stars, settings)
    fitted = lines.at_resolution(families, 100)
    found = measured(chunk, 0, fitted, 1.3)
    level = 20 * (HA * 2.3 / 13000) ** -1.2
    i = [f.name for f in fitted].index("Ha+NII")
    # this continuum has no absorption, that of stars has: some Å of emission are taken to fill it
    assert 0.97 < found.ew[i] / (4000 / level / 2.3) < 1.1


def test_the_model_is_the_spectrum_where_there_are_no_data_too(mixtures, stars, families):
    spectra = make([(1.3, GALAXY, 4.0)], 0.3)
    err = spectra[1].err.copy()
    err[:, :, 8:16] = 0
    masked = [spectra[0], dataclasses.replace(spectra[1], err=err)]
    chunk = slitless_fit.chunk(masked, mixtures, stars, PLAIN)
    found = measured(chunk, 0, lines.at_resolution(families, 100), slitless_fit.fit(chunk, 0).z)
    difference = found.model[1] - spectra[1].flux[0]
    assert np.std(difference) < 0.5
    assert np.abs(difference[:, 8:16]).max() < 1.5


def seen(chunk, source, fitted, z):
    """A source at a redshift, and the stars that its fit uses."""
    mixtures = chunk.grid.mixtures
    wavelengths = np.concatenate([mixtures.wavelengths, *(family.wavelengths for family in fitted)])
    view = slitless_view.view(chunk.of(source), chunk.continuum, wavelengths, z)
    return view, slitless_lines.stars_in_use(view, mixtures)


def measured(chunk, source, fitted, z):
    """Lines of a source."""
    view, stars = seen(chunk, source, fitted, z)
    return slitless_lines.measure(view, fitted, stars)


def judged(chunk, families, source, **kwargs):
    """Flag and reason of a source."""
    found = slitless_fit.fit(chunk, source, kwargs.pop("log_prior", None))
    blend = 1.5 * 2.3548 * chunk.width[source]
    single = slitless_lines.separate(lines.at_resolution(families, 100), blend)
    view, stars = seen(chunk, source, single, found.z)
    snr = slitless_lines.significance(view, single, stars)
    features = slitless_lines.features(single, snr, blend)
    return found, slitless_lines.quality(features, lines.at_resolution(families, 100), found, **kwargs)


@pytest.fixture(scope="module")
def various(mixtures, stars):
    """Several lines; one line; none; in noise of 1."""
    return slitless_fit.chunk(
        make([(1.3, GALAXY, 2.0), (0.9, {HA: 900.0}, 0.5), (1.0, {}, 3.0)], 1.0, 5), mixtures, stars, PLAIN
    )


def test_several_lines_are_flag_3(various, families):
    _, (flag, reason) = judged(various, families, 0)
    assert flag == 3
    assert "lines at S/N >= 3" in reason
    assert "Ha+NII" in reason


def test_a_seldom_line_is_no_second_one(families):
    """[OII] and MgII, each at S/N of 6, are not enough; with Hβ they are."""
    sure = slitless_fit.Redshift(
        1.9, 1.89, 1.91, 90.0, 90, (slitless_fit.Peak(1.9, 90.0, 1.0),), np.ones(1), np.ones(1)
    )
    two = [slitless_lines.Feature("OII", 3728.7, 6.0), slitless_lines.Feature("MgII", 2798.8, 5.5)]
    flag, reason = slitless_lines.quality(two, families, sure)
    assert flag == 1
    assert reason == "2 lines at S/N >= 3, of which fewer than two are often bright: OII, MgII"
    assert slitless_lines.quality(two, families, sure, z_phot=(1.95, 0.1))[0] == 2
    third = slitless_lines.Feature("Hb/OIII-4364", 4862.7, 3.5)  # a blend with a common line
    assert slitless_lines.quality([*two, third], families, sure)[0] == 3


def test_one_line_is_told_in_words_what_it_may_be(various, families):
    found, (flag, reason) = judged(various, families, 1)
    assert flag == 1
    assert re.search(r"line at 1\.24[678] um", reason)
    assert f"z = {found.z:.3f}" in reason


def test_photometry_decides_what_a_single_line_is(various, families):
    z = various.grid.z
    for centre in (0.9, 2.34):  # Hα or [OII]
        prior = -0.5 * ((z - centre) / 0.1) ** 2
        found, (flag, reason) = judged(various, families, 1, log_prior=prior, z_phot=(centre, 0.1))
        assert abs(found.z - centre) < 0.02
        assert flag == 2
        assert "agreeing photometric redshift" in reason


def test_photometry_that_leaves_two_redshifts_decides_nothing(various, families):
    """Flag 2 asks for one likely redshift, and not only for one that the photometry allows."""
    z = various.grid.z
    either = np.logaddexp(-0.5 * ((z - 0.9) / 0.1) ** 2, 6.5 - 0.5 * ((z - 2.34) / 0.1) ** 2)
    found, (flag, reason) = judged(various, families, 1, log_prior=either, z_phot=(0.9, 0.1))
    assert found.peaks[0].probability < slitless_lines.SURE
    assert flag == 1
    assert " or " in reason


def test_what_the_edge_of_a_band_cuts_is_measured_but_no_evidence(mixtures, stars, families):
    """Hα with some three fifths of its light inside."""
    wave = make([(0.9, {HA: 900.0}, 0.5)], 1.0)[0].wave
    z = (wave[-1] + 47 * 0.2) / HA - 1
    chunk = slitless_fit.chunk(make([(z, {HA: 4000.0}, 0.5)], 1.0, 6)[:1], mixtures, stars, PLAIN)
    fitted = lines.at_resolution(families, 100)
    place = [family.name for family in fitted].index("Ha+NII")
    view, use = seen(chunk, 0, fitted, z)
    snr = slitless_lines.significance(view, fitted, use)
    assert measured(chunk, 0, fitted, z).snr[place] > 5
    assert np.isnan(snr[place])


def test_no_line_is_said_so(various, families):
    _, (flag, reason) = judged(various, families, 2)
    assert flag == 1
    assert reason.startswith("no line at S/N")


def test_a_line_that_must_be_there_is_no_evidence_that_it_is(families):
    """The members of a resolved doublet are measured apart."""
    oxygen = next(f for f in families if f.name == "OIII")
    assert [f.name for f in slitless_lines.separate([oxygen], 0.02)] == ["OIII"]
    apart = slitless_lines.separate([oxygen], 0.001)
    assert sorted(f.wavelengths[0] for f in apart) == [O3B, O3]
    assert all(f.fractions.sum() == pytest.approx(1) for f in apart)


def test_a_longer_band_is_cut_into_pieces_that_hold_everything(mixtures, stars):
    spectra = make([(1.3, GALAXY, 4.0)], 1.0)[0]
    long = dataclasses.replace(
        spectra,
        wave=np.arange(10150.0, 10150.0 + 47 * 300, 47.0),
        **{name: np.ones((1, 2, 300)) for name in ("flux", "err", "contamination")},
    )
    pieces = long.pieces()
    assert len(pieces) == 3
    assert np.array_equal(np.concatenate([one.wave for one in pieces]), long.wave)
    assert max(len(one.wave) for one in pieces) <= slitless.LONGEST
    assert spectra.pieces()[0].flux.shape == spectra.flux.shape


def test_sources_without_spectra_do_not_disturb_others(mixtures, stars):
    spectra = make([(1.3, GALAXY, 2.0), (1.3, GALAXY, 2.0)], 1.0, 9)
    empty = [dataclasses.replace(one, err=one.err * np.array([1.0, 0.0])[:, None, None]) for one in spectra]
    chunk = slitless_fit.chunk(empty, mixtures, stars, PLAIN)
    assert np.isinf(chunk.width[1])
    assert abs(slitless_fit.fit(chunk, 0).z - 1.3) < 0.003

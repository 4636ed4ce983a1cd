"""The fit on spectra whose truth is known: simulated here, at R of 100 and 1000."""

import dataclasses

import numpy as np
import pytest
from pureparallel.core import lines, redshift
from pureparallel.core.catalogue import summary
from scipy.optimize import nnls
from scipy.special import erf


def line_list(root):
    from astropy.table import Table

    return lines.families(Table.read(root / "resources" / "lines.ecsv"))


def make_spectrum(low, high, resolution, truth, z, noise, rng):
    """A spectrum of known line fluxes over a flat continuum of 1, with Gaussian lines of the given R."""
    count = int(np.log(high / low) * resolution * 2.2)
    wave = np.geomspace(low, high, count)
    edges = np.concatenate([[wave[0]], np.sqrt(wave[1:] * wave[:-1]), [wave[-1]]])
    width = np.diff(edges) * 1e4

    def line(wavelength):
        sigma = wavelength / resolution / 2.3548
        first, last = np.searchsorted(edges, [wavelength - 8 * sigma, wavelength + 8 * sigma])
        near = slice(max(first - 1, 0), last + 1)
        profile = np.zeros(count)
        cumulative = 0.5 * (1 + erf((edges[near] - wavelength) / sigma / np.sqrt(2)))
        profile[near.start : near.start + len(cumulative) - 1] = np.diff(cumulative)
        return profile / width

    x = np.linspace(-1, 1, count)
    continuum = np.array([np.maximum(0, 1 - np.abs(x - c) * 3) for c in np.linspace(-1, 1, 7)])
    flux = np.ones(count)
    for wavelength, value in truth:
        flux = flux + value * line(wavelength * (1 + z) / 1e4)
    err = np.full(count, noise)
    return redshift.Spectrum(
        wave, flux + rng.normal(0, noise, count), err, np.ones(count, bool), continuum, line,
        lambda _: np.ones(count),
    )  # fmt: skip


TRUTH = [(5008.240, 300.0), (4960.295, 300.0 * 0.336), (4862.683, 60.0), (6564.61, 180.0), (3728.8, 80.0)]


@pytest.mark.parametrize(("resolution", "z", "noise"), [(1000, 3.1, 0.15), (1000, 5.7, 0.15), (100, 4.2, 0.05)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_injected_redshift_comes_back_within_its_error(root, resolution, z, noise, seed):
    spectrum = make_spectrum(1.5, 4.6, resolution, TRUTH, z, noise, np.random.default_rng(seed))
    families = lines.at_resolution(line_list(root), resolution)
    found = redshift.fit([spectrum], families, low=2.5, high=6.5, step=0.4 / resolution, fine_step=0.02 / resolution)
    assert abs(found.z - z) < 4 * (found.z_high - found.z_low) / 2
    assert abs(found.z - z) / (1 + z) < 0.1 / resolution
    assert found.chi2 / found.dof == pytest.approx(1, abs=0.25)
    assert found.peak_ratio < 1e-3


def test_line_fluxes_pull_to_the_truth(root):
    families = lines.at_resolution(line_list(root), 1000)
    truth = {"OIII": 300 * 1.336, "Hb": 60.0, "Ha": 180.0}
    absent = ("HeI-5877", "OI", "SII", "NeIII", "Hd")
    pulls, nothing = [], []
    for seed in range(30):
        spectrum = make_spectrum(1.5, 3.5, 1000, TRUTH, 3.1, 0.15, np.random.default_rng(seed))
        measured = redshift.measure([spectrum], families, 3.1)
        values = dict(zip((f.name for f in families), zip(measured.flux, measured.err, strict=True), strict=True))
        pulls += [(values[name][0] - flux) / values[name][1] for name, flux in truth.items()]
        nothing += [values[name][0] / values[name][1] for name in absent]
    assert np.mean(pulls) == pytest.approx(0, abs=0.35)
    assert np.std(pulls) == pytest.approx(1, abs=0.3)
    # lines that are not there scatter about zero, to both sides
    assert np.mean(nothing) == pytest.approx(0, abs=0.3)
    assert np.std(nothing) == pytest.approx(1, abs=0.3)


def test_equivalent_width_is_flux_over_continuum_at_rest(root):
    families = lines.at_resolution(line_list(root), 1000)
    spectrum = make_spectrum(1.5, 3.5, 1000, TRUTH, 3.1, 0.02, np.random.default_rng(0))
    measured = redshift.measure([spectrum], families, 3.1)
    i = [f.name for f in families].index("Ha")
    assert measured.ew[i] == pytest.approx(180 / 1.0 / 4.1, rel=0.02)


def test_chi2_is_that_of_the_direct_solution(root):
    """The reduced problem against non-negative least squares over all pixels."""
    families = lines.at_resolution(line_list(root), 1000)
    spectrum = make_spectrum(1.5, 3.5, 1000, TRUTH, 3.1, 0.15, np.random.default_rng(0))
    grid = np.array([2.8, 3.0999, 3.1, 3.3])
    direct = [
        nnls((redshift.design([spectrum], families, z)[0] / spectrum.err).T, spectrum.flux / spectrum.err)[1] ** 2
        for z in grid
    ]
    assert redshift.chi2([spectrum], families, grid) == pytest.approx(direct, rel=1e-6)


def with_valid(spectrum, valid):
    return dataclasses.replace(spectrum, valid=spectrum.valid & valid)


def test_a_line_in_a_gap_is_not_measured(root):
    families = lines.at_resolution(line_list(root), 1000)
    names = [f.name for f in families]
    for seed in range(5):
        noise = make_spectrum(1.5, 3.5, 1000, [], 3.1, 0.15, np.random.default_rng(seed))
        for family in ("OIII", "Ha", "HeI-5877"):
            centre = families[names.index(family)].wavelengths[0] * 4.1 / 1e4
            for low, high in ((0.995, 1.005), (0.9, 1.0002), (0.9998, 1.1)):
                gap = (noise.wave < low * centre) | (noise.wave > high * centre)
                measured = redshift.measure([with_valid(noise, gap)], families, 3.1)
                seen = measured.snr[names.index(family)]
                assert np.isnan(seen) or abs(seen) < 5
                assert np.nanmax(np.abs(measured.snr)) < 5


def test_blended_lines_keep_finite_errors(root):
    """Two families at one wavelength cannot be told apart: neither may look detected by the split."""
    twin = lines.Family("twin", ("twin",), np.array([5008.3]), np.array([1.0]))
    families = [*lines.at_resolution(line_list(root), 1000), twin]
    noise = make_spectrum(1.5, 3.5, 1000, [], 3.1, 0.15, np.random.default_rng(0))
    measured = redshift.measure([noise], families, 3.1)
    assert np.nanmax(np.abs(measured.snr)) < 5
    assert np.nanmin(measured.err) > 0


def test_flux_and_equivalent_width_are_those_before_intergalactic_absorption(root):
    families = lines.at_resolution(line_list(root), 1000)
    truth = [(1215.67, 300.0), (5008.24, 300.0), (4960.295, 100.8)]
    plain = make_spectrum(1.0, 5.0, 1000, truth, 8.0, 0.05, np.random.default_rng(0))

    def transmission(z):
        return np.where(plain.wave < 0.121567 * (1 + z), 0.02, 1.0)

    absorbed = dataclasses.replace(plain, flux=plain.flux * transmission(8.0), transmission=transmission)
    measured = redshift.measure([absorbed], families, 8.0)
    i = [f.name for f in families].index("Lya")
    assert measured.flux[i] == pytest.approx(300, abs=4 * measured.err[i])
    assert measured.ew[i] == pytest.approx(300 / 9.0, rel=0.1)


def test_two_spectra_are_fitted_jointly(root):
    rng = np.random.default_rng(4)
    blue = make_spectrum(1.0, 2.2, 1000, TRUTH, 3.1, 0.15, rng)  # [OIII] only
    red = make_spectrum(2.4, 3.5, 1000, TRUTH, 3.1, 0.15, rng)  # Halpha only
    families = lines.at_resolution(line_list(root), 1000)
    grid = {"low": 2.9, "high": 3.3, "step": 4e-4, "fine_step": 4e-5}
    both = redshift.fit([blue, red], families, **grid)
    assert both.z == pytest.approx(3.1, abs=5e-4)
    measured = redshift.measure([blue, red], families, both.z)
    assert np.isfinite(measured.flux[[f.name for f in families].index("Hb")])
    assert np.isfinite(measured.flux[[f.name for f in families].index("Ha")])
    assert [len(m) for m in measured.model] == [len(blue.wave), len(red.wave)]


def test_a_lone_line_is_ambiguous_and_says_so(root):
    spectrum = make_spectrum(1.0, 2.4, 1000, [(6564.61, 30.0)], 1.5, 0.15, np.random.default_rng(0))
    families = lines.at_resolution(line_list(root), 1000)
    found = redshift.fit([spectrum], families, low=0.2, high=6, step=5e-4, fine_step=5e-5)
    flag, reason = redshift.quality(redshift.measure([spectrum], families, found.z), found)
    assert flag == 1
    assert "ambiguous" in reason or "one line" in reason
    agreeing = redshift.quality(redshift.measure([spectrum], families, found.z), found, z_phot=(found.z + 0.05, 0.1))
    assert agreeing[0] >= 2


def test_two_lines_make_flag_3_and_noise_makes_flag_1(root):
    families = lines.at_resolution(line_list(root), 1000)
    options = {"low": 2.5, "high": 4, "step": 5e-4, "fine_step": 5e-5}
    good = make_spectrum(1.5, 3.5, 1000, TRUTH, 3.1, 0.15, np.random.default_rng(0))
    found = redshift.fit([good], families, **options)
    flag, reason = redshift.quality(redshift.measure([good], families, found.z), found)
    assert flag == 3
    assert "OIII" in reason
    noise = make_spectrum(1.5, 3.5, 1000, [], 3.1, 0.15, np.random.default_rng(0))
    found = redshift.fit([noise], families, **options)
    assert redshift.quality(redshift.measure([noise], families, found.z), found)[0] == 1


def test_close_lines_are_one_piece_of_evidence():
    def family(name, wavelength):
        return lines.Family(name, (name,), np.array([wavelength]), np.array([1.0]))

    doublet = [family("OIII-5008", 5008.24), family("OIII-4960", 4960.295)]
    assert redshift.distinct(doublet) == ["OIII-4960/OIII-5008"]
    assert redshift.distinct([*doublet, family("Ha", 6564.6)]) == ["OIII-4960/OIII-5008", "Ha"]


def test_wavelength_error_widens_the_probability_and_keeps_the_redshift(root):
    spectrum = make_spectrum(1.5, 3.5, 1000, TRUTH, 3.1, 0.15, np.random.default_rng(0))
    families = lines.at_resolution(line_list(root), 1000)
    options = {"low": 2.9, "high": 3.3, "step": 2e-4, "fine_step": 1e-5}
    sharp, blurred = (redshift.fit([spectrum], families, blur=blur, **options) for blur in (0, 3e-4))
    assert blurred.z == sharp.z
    assert (blurred.z_high - blurred.z_low) / 2 == pytest.approx(3e-4 * 4.1, rel=0.1)


def test_probability_on_a_coarse_grid_is_kept_whole(root):
    spectrum = make_spectrum(1.5, 3.5, 1000, TRUTH, 3.1, 0.15, np.random.default_rng(0))
    found = redshift.fit([spectrum], line_list(root)[:20], low=2.9, high=3.3, step=2e-4, fine_step=1e-5)
    grid = redshift.log_grid(2.9, 3.3, 0.002)
    on_grid = found.on(grid)
    assert on_grid.sum() == pytest.approx(1)
    assert abs(grid[on_grid.argmax()] - found.z) < 0.002 * 4.1


def test_minima_are_deepest_first_and_apart():
    grid = redshift.log_grid(0, 5, 0.001)
    values = 100 - 50 * np.exp(-(((grid - 2) / 0.01) ** 2)) - 80 * np.exp(-(((grid - 4) / 0.01) ** 2))
    assert [round(float(grid[i])) for i in redshift.minima(np.log1p(grid), values, 2)] == [4, 2]


def test_line_list_families(root):
    families = {f.name: f for f in line_list(root)}
    assert all(f.fractions.sum() == pytest.approx(1) for f in families.values())
    oiii = families["OIII"]
    assert oiii.fractions[0] / oiii.fractions[1] == pytest.approx(2.98, abs=0.01)
    low, high = ({f.name for f in lines.at_resolution(families.values(), r)} for r in (100, 1000))
    assert {"Ha+NII", "OIII-5008"} <= low
    assert {"Ha", "NII", "OIII"} <= high
    assert not {"Ha", "NII", "OIII"} & low


def test_summary_counts_flags_and_keeps_reasons():
    good = {"id": "a", "flag": 3, "chi2_dof": 1.0, "z_low": 1.0, "z_high": 1.1, "peak_ratio": 0.0, "reason": "x"}
    bad = {"id": "b", "flag": 0, "chi2_dof": np.nan, "z_low": np.nan, "z_high": np.nan, "peak_ratio": np.nan,
           "reason": "all NaN"}  # fmt: skip
    assert summary([good, bad])["flags"] == {"3": 1, "2": 0, "1": 0, "0": 1}
    assert summary([good, bad])["failed"] == {"b": "all NaN"}
    assert summary([bad])["median_chi2_dof"] is None

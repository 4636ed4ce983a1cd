"""How right redshifts are, on sets whose errors are known."""

import numpy as np
import pytest
from pureparallel.core import redshift_scores as scores
from pureparallel.core import slitless
from pureparallel.core.redshift import log_grid
from pureparallel.core.redshift_scores import Found, TrueLine
from pureparallel.core.slitless import Spectra
from scipy.stats import norm

GRID = log_grid(0.05, 5, 0.0005)
SIGMA = 2e-3
"""Of ln(1+z)."""


def found(true, rng, *, stated=SIGMA, flags=3):
    """Redshifts that scatter by `SIGMA` and say that they do by `stated`."""
    z = np.expm1(np.log1p(true) + SIGMA * rng.normal(size=len(true)))
    edges = np.append(GRID, GRID[-1])[:-1]
    pdf = np.exp(-0.5 * ((np.log1p(edges) - np.log1p(z)[:, None]) / stated) ** 2)
    low, high = (np.expm1(np.log1p(z) + sign * stated) for sign in (-1, 1))
    flag = np.broadcast_to(flags, len(true)).astype(int)
    return Found(z, low, high, flag, pdf / pdf.sum(axis=1, keepdims=True), GRID)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_scores_of_each_flag_are_those_of_its_sources(rng):
    true = rng.uniform(0.5, 3, 600)
    flag = np.repeat([3, 2, 1], 200)
    one = found(true, rng, flags=flag)
    one.z[400:450] += 1.0
    one.z[590:] = np.nan
    table = scores.by_flag(one, true, 0.01)
    assert table["flag_3"]["sources"] == 200
    assert table["flag_3"]["nmad"] == pytest.approx(SIGMA, rel=0.2)
    assert table["flag_3"]["outliers"] < 0.01
    assert table["flag_1"]["sources"] == 190
    assert table["flag_1"]["outliers"] == pytest.approx(50 / 190)
    assert table["flag_1"]["right_least"] < table["flag_1"]["right"] < table["flag_1"]["right_most"]
    assert table["all"]["sources"] == 590


def test_scores_of_nothing_are_none():
    assert scores.score(np.zeros(0), 0.01) | {"right_least": 0, "right_most": 0} == {
        "sources": 0, "right": None, "right_least": 0, "right_most": 0, "outliers": None, "nmad": None, "bias": None,
    }  # fmt: skip


@pytest.mark.parametrize(("stated", "within", "width"), [(SIGMA, 0.68, 1.0), (SIGMA / 2, 0.38, 2.0)])
def test_probabilities_that_are_too_narrow_show(rng, stated, within, width):
    true = rng.uniform(0.5, 3, 2000)
    honest = scores.calibration(found(true, rng, stated=stated), true, 0.01)
    assert honest["sources"] == 2000
    assert honest["within_68"] == pytest.approx(within, abs=0.04)
    assert honest["pull_width"] == pytest.approx(width, rel=0.1)
    ends = (honest["below"][0] + honest["below"][-1]) / 2000
    expected = 2 * norm.cdf(norm.ppf(0.1) * stated / SIGMA)
    assert ends == pytest.approx(expected, abs=0.04)


def test_expected_signal_to_noise_is_that_of_the_matched_filter():
    """A line in one bin, in two spectra of error 2, in bins of 50 Å; a second one that is blended with it."""
    wave = 10000 + 50 * np.arange(60.0)
    profile = np.zeros((1, 2, 9))
    profile[:, :, 4] = 1
    ones = np.ones((1, 2, 60))
    spectra = Spectra(wave, ones * 0, 2 * ones, 0 * ones, profile, np.full((1, 2), 5.0))
    band = slitless.band(spectra, contamination_error=0, continuum_error=0, systematic_error=0, velocity=0)
    line = TrueLine("Ha", float(wave[30]), 1000e-20)
    alone = scores.expected([band], [line], 1e-20)
    assert alone.snr == pytest.approx(2**0.5 * 1000 / 50 / 2, rel=0.02)
    assert alone.flux == pytest.approx(1000e-20)
    assert not alone.several
    close, far = TrueLine("NII", float(wave[30]) + 5, 200e-20), TrueLine("SII", float(wave[45]), 900e-20)
    blended = scores.expected([band], [line, close], 1e-20)
    assert blended.flux == pytest.approx(1200e-20)
    assert not blended.several
    assert scores.expected([band], [line, far], 1e-20).several
    outside = scores.expected([band], [TrueLine("PaA", 20000.0, 1e-16)], 1e-20)
    assert outside.snr == 0


def test_a_source_without_a_redshift_is_not_right(rng):
    true = np.full(40, 1.0)
    one = found(true, rng)
    one.z[:10] = np.nan
    lines = [scores.Expected("Ha", 1e-16, 10.0, True)] * 20 + [scores.Expected("Ha", 2e-18, 1.0, False)] * 20
    judged = scores.against_lines(one, true, lines, 0.01)
    assert judged["with_line"]["sources"] == 20
    assert judged["with_line"]["right"] == pytest.approx(0.5)
    assert judged["several"]["right"] == 1  # of those that have a redshift
    filled = {row["sources"]: row["fraction"] for row in judged["right_by_flux"] if row["sources"]}
    assert len(filled) == 1  # both bins hold 20
    assert sum(row["sources"] for row in judged["right_by_flux"]) == 40


def test_families_that_the_fit_blends_are_added(rng):
    truth = {"Ha": np.array([3.0]), "NII": np.array([1.0]), "OIII": np.array([4.0])}
    made = scores.true_fluxes(["Ha+NII", "Ha", "OIII-5008", "PaB"], truth, {"OIII-5008": 0.75})
    assert {name: float(value[0]) for name, value in made.items()} == {"Ha+NII": 4.0, "Ha": 3.0, "OIII-5008": 3.0}


def test_pulls_of_lines_know_errors_that_are_too_small(rng):
    true = {"Ha": np.full(3000, 20e-18), "Hb": np.full(3000, 5e-18)}
    flux = {name: value + 2e-18 * rng.normal(size=3000) for name, value in true.items()}
    err = {name: np.full(3000, 1e-18) for name in true}
    flux["Ha"][:1000] = np.nan
    good = np.arange(3000) < 2000
    judged = scores.line_pulls(flux, err, true, good)
    assert judged["lines"] == 3000
    assert judged["pull_width"] == pytest.approx(2, rel=0.06)
    assert judged["ratio"] == pytest.approx(1, abs=0.02)
    assert judged["bright"] == 1000

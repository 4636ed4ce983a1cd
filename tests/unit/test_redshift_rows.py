"""Rows of redshift tables: what a failure leaves, what a fit fills, and P(z) on another grid."""

import numpy as np
import pytest
from astropy.table import Table
from pureparallel import UserError, redshift_rows
from pureparallel.core.catalogue import rebinned
from pureparallel.core.lines import Family
from pureparallel.core.redshift import Lines, Peak, Redshift, log_grid

FAMILIES = [Family(name, (name,), np.array([wave]), np.ones(1)) for name, wave in (("Hb", 4863.0), ("Ha", 6565.0))]
GRID = log_grid(0.1, 3, 0.01)


@pytest.fixture
def row():
    return redshift_rows.empty("7", 150.0, 2.0, "", FAMILIES)


@pytest.fixture
def result():
    pdf = np.where(np.abs(GRID - 1) < 0.05, 1.0, 0.0)
    return Redshift(1.0, 0.98, 1.02, 50.0, 100, (Peak(1.0, 50.0, 0.9), Peak(2.0, 60.0, 0.09)), GRID, pdf)


def test_a_fit_fills_its_row(row, result):
    measured = Lines(FAMILIES[1:], np.array([10.0]), np.array([3.0]), np.array([50.0]), np.array([5.0]), [], [])
    found = redshift_rows.filled(row, result, measured, 1e-20, line_error=0.4)
    assert (found["z"], found["z_2"], found["p_1"], found["p_2"]) == (1.0, 2.0, 0.9, 0.09)
    assert found["chi2_dof"] == 0.5
    assert found["peak_ratio"] == pytest.approx(0.1)
    assert found["flux_Ha"] == pytest.approx(10e-20)
    assert found["flux_err_Ha"] == pytest.approx(5e-20)  # noise of 3, and 40 % of 10
    assert found["ew_err_Ha"] == pytest.approx(np.hypot(5, 20))
    assert np.isnan(found["flux_Hb"])  # of a family that was not fitted
    assert np.isnan(found["z_3"])
    assert list(found) == list(row)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(UserError("3 valid pixels"), "3 valid pixels"), (ValueError("é:\n x"), "fit: ValueError: \\xe9: x")],
)
def test_what_goes_wrong_is_the_reason_in_the_row(row, error, reason):
    def fit():
        raise error

    found, pdf, besides = redshift_rows.attempt("fit_redshift", row, GRID, fit, "nothing")
    assert found["reason"] == reason
    assert found["flag"] == 0
    assert not pdf.any()
    assert besides == "nothing"


def test_what_has_a_reason_is_not_tried(row):
    found, pdf, _ = redshift_rows.attempt("fit_redshift", row | {"reason": "no trace"}, GRID, lambda: 1 / 0, None)
    assert found["reason"] == "no trace"
    assert not pdf.any()


def test_what_was_fitted_has_its_probability(row, result):
    found, pdf, besides = redshift_rows.attempt("fit_redshift", row, GRID, lambda: (row | {"flag": 3}, result, 5), 0)
    assert (found["flag"], besides) == (3, 5)
    assert pdf.sum() == pytest.approx(1)


def test_a_table_of_no_sources_has_all_columns(row):
    hdus = redshift_rows.product([], FAMILIES, GRID, np.zeros((0, len(GRID))))
    table = Table.read(hdus["REDSHIFTS"])
    assert table.colnames == list(row)
    assert len(table) == 0


def test_probability_keeps_its_sum_and_place_on_another_grid():
    pdf = np.exp(-0.5 * ((np.log1p(GRID) - np.array([[0.5], [0.9]])) / 0.03) ** 2)
    pdf /= pdf.sum(axis=1, keepdims=True)
    wide = log_grid(0.05, 8, 0.003)
    found = rebinned(pdf, GRID, wide)
    assert found.sum(axis=1) == pytest.approx(1)
    assert found @ np.log1p(wide) == pytest.approx([0.5, 0.9], abs=1e-3)
    assert rebinned(np.zeros((0, len(GRID))), GRID, wide).shape == (0, len(wide))
    half = rebinned(pdf, GRID, log_grid(0.1, np.expm1(0.5), 0.001))
    assert half.sum(axis=1) == pytest.approx([0.5, 0], abs=0.02)

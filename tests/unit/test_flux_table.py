"""Columns of the table of fluxes."""

import numpy as np
import pytest
from pureparallel.core import flux_table
from pureparallel.core.fluxes import Sums, Totals

OPTIONS = {"colour_aperture": 0.5, "apertures": [0.3, 0.7], "nsigma": 3.0, "floor": 0.01}


@pytest.fixture
def columns():
    """Of a bright source, one that is not seen, one without data, and one beside a bright neighbour."""
    sums = Sums.none(4, 2)
    sums.light[[0, 1, 3]] = 1.0
    sums.error[[0, 1, 3]] = 0.01
    sums.light[1, 2], sums.light[0, 2], sums.light[3, 2] = -0.02, 10.0, 5.0
    sums.light[0, -1] = 18.0
    sums.flags[[0, 1, 3]] = 0
    totals = Totals(np.array([2.0, 2.0, np.nan, 1.5]), np.zeros(4), np.full(4, 0.9), np.zeros(4))
    return flux_table.of_filter("F115W", sums, totals, (0.8, 0.9), np.array([0.0, 0.1, 0.0, 1.0]), OPTIONS)


def test_fluxes_are_all_light_with_their_errors(columns):
    flux, unit, _ = columns["flux_F115W"]
    assert unit == "uJy"
    assert flux[0] == pytest.approx(10 * 2 * 0.8 / 0.9)
    error = columns["flux_err_F115W"][0]
    assert error[0] == pytest.approx(np.hypot(0.01 * 2 * 0.8 / 0.9, 0.01 * flux[0]))
    assert columns["flux_kron_F115W"][0][0] == pytest.approx(20)
    assert columns["flux_aper_F115W"][0].shape == (4, 2)
    assert "0.3, 0.7" in columns["flux_aper_F115W"][2]


def test_magnitudes_where_there_is_light_and_limits_elsewhere(columns):
    magnitude, limit = columns["mag_F115W"][0], columns["limit_F115W"][0]
    assert magnitude[0] == pytest.approx(23.9 - 2.5 * np.log10(columns["flux_F115W"][0][0]))
    assert np.isnan(limit[0]) and np.isnan(magnitude[1])
    error = columns["flux_err_F115W"][0][1]
    assert limit[1] == pytest.approx(23.9 - 2.5 * np.log10(3 * error))
    assert np.isnan([magnitude[2], limit[2]]).all()


def test_flags_tell_of_neighbours_and_of_missing_data(columns):
    flags = columns["flags_F115W"][0]
    assert flags.tolist() == [0, 4, 16, 4]  # any light of neighbours is much of none
    share = columns["wings_F115W"][0]
    assert share[3] == pytest.approx(0.2) and np.isinf(share[1]) and np.isnan(share[2])
    assert "4 NEIGHBOUR" in columns["flags_F115W"][2]


def test_what_filters_share(columns):
    totals = Totals(*np.ones((4, 2)))
    shared = flux_table.common(totals, OPTIONS)
    assert list(shared) == ["scale", "scale_err", "captured", "captured_err"]
    assert "0.5 arcsec" in shared["scale"][2]
    assert flux_table.magnitude([1.0, 0.0, -1.0])[0] == pytest.approx(23.9)
    assert np.isnan(flux_table.magnitude([0.0, -1.0])).all()

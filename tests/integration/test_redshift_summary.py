"""The step redshift_summary: lines where they are observed, and a figure of any table."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel import redshift_rows
from pureparallel.core import lines, plot_redshift_summary
from pureparallel.core.redshift import log_grid
from pureparallel.steps.redshift_summary import detected

GRID = log_grid(0.05, 9, 0.005)


@pytest.fixture(scope="module")
def families(root):
    return lines.families(Table.read(root / "resources/lines.ecsv"))


def table(families, redshifts):
    """Sources at redshifts (NaN: none), each with Hb at S/N of 5 and PaB at 2."""
    rows = []
    for i, z in enumerate(redshifts):
        row = redshift_rows.empty(str(i), 150.0, 2.0, "", families)
        row |= {"z": z, "flag": 3 - i % 3 if np.isfinite(z) else 0, "flux_Hb": 5.0, "flux_err_Hb": 1.0}
        rows.append(row | {"flux_PaB": 2.0, "flux_err_PaB": 1.0})
    pdfs = np.array([np.exp(-0.5 * ((GRID - z) / 0.1) ** 2) if np.isfinite(z) else 0 * GRID for z in redshifts])
    hdus = redshift_rows.product(rows, families, GRID, pdfs / np.maximum(pdfs.sum(axis=-1, keepdims=True), 1e-9))
    merged = Table(hdus["REDSHIFTS"].data)
    merged["mag"], merged["mag_filter"] = np.full(len(rows), 24.0), "F150W"
    hdus["REDSHIFTS"] = fits.BinTableHDU(merged, name="REDSHIFTS")
    return hdus


def test_lines_are_where_they_are_observed(families):
    source, wave, snr = detected(Table(table(families, [1.0, np.nan, 2.0])["REDSHIFTS"].data), families)
    assert source.tolist() == [0, 2]
    assert wave == pytest.approx([2 * 0.4862683, 3 * 0.4862683])
    assert snr.tolist() == [5, 5]


@pytest.mark.parametrize("redshifts", [[0.5, 1.0, np.nan, 3.0, 7.0], [np.nan, np.nan], []])
def test_any_table_has_its_figure(root, run_in, families, tmp_path, redshifts):
    table(families, redshifts).writeto(tmp_path / "table.fits", checksum=True)
    done = run_in(
        "jwst", "pureparallel", "redshift_summary", "--field", "a-field", "--table", "table.fits", "--line-list",
        root / "resources/lines.ecsv", "--figure", "figure.png", cwd=tmp_path,
    )  # fmt: skip
    assert (tmp_path / "figure.png").read_bytes()[:4] == b"\x89PNG"
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("flags", [[3, 1, 1], [1, 1, 1], [3, 2, 1]])
def test_panels_have_their_room_whatever_flags_there_are(flags):
    grid, z = np.linspace(0.1, 5, 200), np.array([1.0, 2.0, 3.0])
    pdf = np.exp(-0.5 * ((grid - z[:, None]) / 0.1) ** 2)
    lines_of = np.array([0, 2]), np.array([1.2, 1.4]), np.array([5.0, 9.0])
    found = plot_redshift_summary.Redshifts(z, z + 22, np.array(flags), pdf / pdf.sum(1)[:, None], grid, *lines_of)
    figure = plot_redshift_summary.summary_figure(found, "a-field")
    figure.draw_without_rendering()
    assert min(axes.get_position().width for axes in figure.axes) > 0.35

"""The step merge_redshifts on chunks of slitless sources, of NIRSpec's, and of both."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel import redshift_rows, slitless_spectra, spectra
from pureparallel.core import lines
from pureparallel.core.redshift import log_grid
from pureparallel.provenance import Lineage
from pureparallel.slitless_spectra import Setup

WAVE = np.linspace(1.0, 1.3, 64)
SLITLESS, MSA = log_grid(0.05, 9, 0.001), log_grid(0.1, 12, 0.002)


@pytest.fixture(scope="module")
def families(root):
    return lines.families(Table.read(root / "resources/lines.ecsv"))


def rows_of(families, ids, grid, reasons=None):
    """Rows of fitted sources, each at a redshift of its own, and their P(z) in a single bin."""
    rows, pdfs = [], np.zeros((len(ids), len(grid)))
    for i, source in enumerate(ids):
        row = redshift_rows.empty(source, 150.0 + i / 100, 2.0, (reasons or {}).get(source, ""), families)
        if not row["reason"]:
            at = 500 + 100 * i
            row |= {"z": grid[at], "z_low": grid[at - 1], "z_high": grid[at + 1], "flag": 3, "chi2_dof": 1.0}
            row |= {"flux_Hb": 5e-18, "flux_err_Hb": 1e-18, "peak_ratio": 0.0}
            pdfs[i, at] = 1
        rows.append(row)
    return rows, pdfs


@pytest.fixture(scope="module")
def slitless(families, tmp_path_factory):
    """A chunk: sources 1 and 2 with a spectrum in two grisms, 3 on no exposure."""
    folder = tmp_path_factory.mktemp("slitless")
    reasons = {"3": "no trace on any exposure"}
    sources = Table({"id": ["1", "2", "3"], "ra": [150.0, 150.01, 150.02], "dec": [2.0] * 3})
    sources["reason"] = [reasons.get(one, "") for one in sources["id"]]
    flux = np.outer([1.0, 2.0], np.ones(64))
    profile = np.ones((2, 5)) / 5
    setups = [
        Setup(
            grism, "F115W", WAVE, np.array(["1", "2"]), np.array([37.0, 37.0]), np.full(2, 47.0), profile, flux,
            np.ones((2, 64)), np.zeros((2, 64)),
        )
        for grism in ("GR150R", "GR150C")
    ]  # fmt: skip
    lineage = Lineage.of("stack", [])
    slitless_spectra.write(folder / "s.fits", sources, setups, lineage)
    rows, pdfs = rows_of(families, ["1", "2", "3"], SLITLESS, reasons)
    hdus = redshift_rows.product(rows, families, SLITLESS, pdfs)
    hdus.extend(slitless_spectra.model_hdu(one, 3 * flux, flux, i) for i, one in enumerate(setups, start=1))
    hdus.writeto(folder / "z.fits", checksum=True)
    return folder


@pytest.fixture(scope="module")
def msa(families, tmp_path_factory):
    """A chunk of one NIRSpec source."""
    folder = tmp_path_factory.mktemp("msa")
    table = Table({"wave": WAVE, "flux": np.ones(64), "err": np.ones(64)})
    one = fits.HDUList([fits.BinTableHDU(table, name="SPEC1D"), fits.ImageHDU(np.ones((5, 64)), name="SCI")])
    status = [{"source": "1345_933", "ra": 150.5, "dec": 2.5, "reason": ""}]
    spectra.bundle(status, [("1345_933", "PRISM", one)]).writeto(folder / "s.fits", checksum=True)
    rows, pdfs = rows_of(families, ["1345_933"], MSA)
    hdus = redshift_rows.product(rows, families, MSA, pdfs)
    model = fits.BinTableHDU(Table({"wave": WAVE, "model": np.ones(64)}), name="MODEL", ver=1)
    model.header["SOURCE"], model.header["GRATING"] = "1345_933", "PRISM"
    hdus.append(model)
    hdus.writeto(folder / "z.fits", checksum=True)
    return folder


def merge(run_in, folder, *chunks, more=(), check=True):
    return run_in(
        "default", "pureparallel", "merge_redshifts", "--field", "a-field",
        "--spectra", *(one / "s.fits" for one in chunks),
        "--redshifts", *(one / "z.fits" for one in chunks), "--table", "table.fits",
        "--folder", "spectra", "--overview", "overview.html", "--metrics", "metrics.json", *more,
        cwd=folder, check=check,
    )  # fmt: skip


def test_both_branches_make_one_table(run_in, slitless, msa, tmp_path):
    merge(run_in, tmp_path, slitless, msa)
    with fits.open(tmp_path / "table.fits") as hdus:
        rows, grid, pdf = hdus["REDSHIFTS"].data, hdus["ZGRID"].data["z"], hdus["PZ"].data
        assert list(rows["id"]) == ["1", "2", "3", "1345_933"]
        assert grid[0] == pytest.approx(0.05)
        assert grid[-1] == pytest.approx(12)
        assert pdf.shape == (4, len(grid))
        # probability is neither lost nor moved by the common grid
        assert pdf.sum(axis=1) == pytest.approx([1, 1, 0, 1], abs=1e-5)
        fitted = [0, 1, 3]
        assert pdf[fitted] @ grid == pytest.approx(rows["z"][fitted], rel=1e-3)
        assert np.isnan(rows["z"][2])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["sources_by_kind"] == {"slitless": 3, "msa": 1}
    assert metrics["failed"] == {"3": "no trace on any exposure"}


def test_columns_are_the_same_whatever_the_branch(run_in, slitless, msa, tmp_path):
    found = []
    for chunk in (slitless, msa):
        folder = tmp_path / chunk.name
        folder.mkdir()
        merge(run_in, folder, chunk)
        found.append(Table.read(folder / "table.fits", hdu="REDSHIFTS"))
    assert found[0].colnames == found[1].colnames
    assert [found[0][name].unit for name in found[0].colnames] == [found[1][name].unit for name in found[1].colnames]


def test_every_source_with_a_spectrum_has_its_file(run_in, slitless, msa, tmp_path):
    merge(run_in, tmp_path, slitless, msa)
    files = sorted(path.name for path in (tmp_path / "spectra").glob("*.fits"))
    assert files == [f"a-field_{source}_spec.fits" for source in ("1345_933", "1", "2")]
    with fits.open(tmp_path / "spectra" / "a-field_2_spec.fits") as hdus:
        one = [hdu for hdu in hdus if hdu.name == "SPECTRUM"]
        assert [(hdu.header["GRISM"], hdu.header["ROLL"]) for hdu in one] == [("GR150R", 37.0), ("GR150C", 37.0)]
        assert np.all(one[0].data["flux"] == 2)
        assert np.all(one[0].data["model"] == 6)
        assert hdus[0].header["FIELD"] == "a-field"
        assert hdus[0].header["PPSTEP"] == "merge_redshifts"
    with fits.open(tmp_path / "spectra" / "a-field_1345_933_spec.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["SPEC1D", "SCI", "MODEL"]


def test_slitless_sources_without_a_spectrum_do_not_count_as_failed(run_in, slitless, tmp_path):
    merge(run_in, tmp_path, slitless, more=("--max-failed-fraction", 0))
    assert (tmp_path / "table.fits").is_file()


def test_magnitudes_join_by_id(run_in, slitless, msa, tmp_path):
    photometry = Table({"id": [2, 1], "flux_F115W": [1.0, 1.0], "flux_F150W": [10.0, -1.0], "flux_F200W": [1.0, 1.0]})
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(photometry, name="PHOTOMETRY")])
    hdus.writeto(tmp_path / "phot.fits", checksum=True)
    merge(run_in, tmp_path, slitless, msa, more=("--photometry", "phot.fits"))
    rows = Table.read(tmp_path / "table.fits", hdu="REDSHIFTS", mask_invalid=False)
    assert rows["mag"][1] == pytest.approx(23.9 - 2.5)
    assert np.isnan(np.asarray(rows["mag"])[[0, 2, 3]]).all()
    assert [str(one).strip() for one in rows["mag_filter"]] == ["", "F150W", "", ""]
    assert "21.40" in (tmp_path / "overview.html").read_text()


def test_a_source_that_is_there_twice_is_refused(run_in, msa, tmp_path):
    done = merge(run_in, tmp_path, msa, msa, check=False)
    assert done.returncode == 1
    assert "source 1345_933 is in two chunks" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "table.fits").exists()


def test_a_chunk_without_sources_is_no_obstacle(run_in, families, slitless, tmp_path):
    none = tmp_path / "none"
    none.mkdir()
    sources = Table({"id": ["x"], "ra": [0.0], "dec": [0.0], "reason": [""]})[:0]
    slitless_spectra.write(none / "s.fits", sources, [], Lineage.of("stack", []))
    redshift_rows.product([], families, SLITLESS, np.zeros((0, len(SLITLESS)))).writeto(none / "z.fits", checksum=True)
    merge(run_in, tmp_path, none, slitless)
    assert len(Table.read(tmp_path / "table.fits", hdu="REDSHIFTS")) == 3

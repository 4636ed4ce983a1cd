"""The step photoz on simulated galaxies whose spectra know nothing of the templates."""

import json

import numpy as np
import pytest
from astropy.io import fits

pytestmark = pytest.mark.slow

OUTPUTS = ("--field", "scene", "--redshifts", "z.fits", "--figure", "z.png", "--metrics", "z.json")
SOURCES = 60
FILTERS = {"three": "F115W,F150W,F200W", "seven": "F090W,F115W,F150W,F200W,F277W,F356W,F444W"}


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    """Redshifts of the same galaxies from three and from seven filters, the latter by two processes."""
    folder, scene = tmp_path_factory.mktemp("photoz"), root / "tests" / "integration" / "photoz_scene.py"
    run_in("jwst", "python", scene, "spectra", 1, SOURCES, cwd=folder)
    for name, filters in FILTERS.items():
        (folder / name).mkdir()
        (folder / name / "spectra.npz").symlink_to(folder / "spectra.npz")
        run_in("msaexp", "python", scene, "photometry", filters, cwd=folder / name)
        arguments = ("--photometry", "photometry.fits", "--z-step", 0.02, "--threads", 2)
        run_in("msaexp", "pureparallel", "photoz", *OUTPUTS, *arguments, cwd=folder / name)
    return folder


def read(folder):
    """PHOTOZ, redshifts and P(z)."""
    with fits.open(folder / "z.fits") as hdus:
        return hdus["PHOTOZ"].data, hdus["ZGRID"].data["z"], hdus["PZ"].data.astype(float)


def test_every_source_has_a_row_and_a_probability(folder):
    for name in FILTERS:
        rows, grid, pz = read(folder / name)
        assert rows["id"].tolist() == list(range(10, 10 * SOURCES + 1, 10))
        assert pz.shape == (SOURCES, len(grid))
        assert pz.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert (pz >= 0).all()


def test_a_source_without_colour_has_a_reason_and_a_flat_probability(folder):
    rows, grid, pz = read(folder / "three")
    assert rows["n_filters"][-5:].tolist() == [3, 1, 2, 1, 0]
    reason = "fewer than 2 filters with a measurement: "
    assert list(rows["reason"][-5:]) == ["", reason + "F115W", "", reason + "F115W", reason + "none"]
    assert np.isnan(rows["z_phot"]).tolist() == [False] * (SOURCES - 4) + [True, False, True, True]
    width = np.diff(np.concatenate([grid[:1], (grid[1:] + grid[:-1]) / 2, grid[-1:]]))
    for i in (-4, -2, -1):
        assert pz[i] / width == pytest.approx(1 / (grid[-1] - grid[0]), rel=1e-3)
    metrics = json.loads((folder / "three" / "z.json").read_text())
    assert (metrics["sources"], metrics["fitted"], metrics["degenerate"]) == (SOURCES, SOURCES - 3, True)
    assert sum(metrics["reasons"].values()) == 3


def test_seven_filters_tell_redshifts(folder):
    from pureparallel.core.photoz import below, score

    true = np.load(folder / "spectra.npz")["z"]
    rows, grid, pz = read(folder / "seven")
    good = rows["reason"] == ""
    found = score(rows["z_phot"][good], true[good])
    assert found["nmad"] < 0.12
    assert found["outliers"] < 0.3
    pit = below(grid.astype(float), pz[good], true[good])
    assert 0.5 < np.mean((pit > 0.16) & (pit < 0.84)) < 0.9
    assert np.median(rows["chi2"][good]) < 7


def test_three_filters_are_less_sure_and_say_so(folder):
    few, many = (read(folder / name)[0] for name in FILTERS)
    both = (few["reason"] == "") & (many["reason"] == "")
    assert np.median(few["risk"][both]) > np.median(many["risk"][both]) + 0.1
    width = [np.median((one["z_high"] - one["z_low"])[both]) for one in (few, many)]
    assert width[0] > 1.5 * width[1]


def test_processes_and_order_change_nothing(folder, run_in, tmp_path):
    with fits.open(folder / "three" / "photometry.fits") as hdus:
        hdus["PHOTOMETRY"].data = hdus["PHOTOMETRY"].data[::-1].copy()
        hdus.writeto(tmp_path / "photometry.fits", checksum=True)
    arguments = ("--photometry", "photometry.fits", "--z-step", 0.02)
    run_in("msaexp", "pureparallel", "photoz", *OUTPUTS, *arguments, cwd=tmp_path)
    rows, _, pz = read(tmp_path)
    before, _, expected = read(folder / "three")
    assert rows["id"][::-1].tolist() == before["id"].tolist()
    assert pz[::-1] == pytest.approx(expected, abs=1e-6)


def test_nothing_detected_is_a_table_without_rows(folder, run_in, tmp_path):
    with fits.open(folder / "three" / "photometry.fits") as hdus:
        hdus["PHOTOMETRY"].data = hdus["PHOTOMETRY"].data[:0]
        hdus.writeto(tmp_path / "photometry.fits", checksum=True)
    arguments = ("--photometry", "photometry.fits", "--z-step", 0.1)
    run_in("msaexp", "pureparallel", "photoz", *OUTPUTS, *arguments, cwd=tmp_path)
    rows, grid, pz = read(tmp_path)
    assert len(rows) == 0
    assert pz.shape == (0, len(grid))


def test_template_fluxes_are_those_of_eazy(root, run_in, tmp_path):
    run_in("msaexp", "python", root / "tests" / "integration" / "photoz_scene.py", "grid", cwd=tmp_path)
    found = json.loads((tmp_path / "grid.json").read_text())
    assert found["0.0"]["worst"] < 1e-6  # eazy keeps them in single precision
    assert found["0.3"]["worst"] < 1e-6
    # Fitzpatrick (1999) at 0.9 and 2.0 μm, for R of 3.1: A/E(B-V) of about 1.4 and 0.4
    assert np.array(found["dust"][:2]) / 0.3 == pytest.approx([1.4, 0.4], abs=0.1)
    assert list(tmp_path.iterdir()) == [tmp_path / "grid.json"]


def test_mistakes_are_told(folder, run_in, tmp_path):
    def failed(*arguments):
        done = run_in("msaexp", "pureparallel", "photoz", *OUTPUTS, *arguments, cwd=tmp_path, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "z.fits").exists()
        return done.stderr

    good = folder / "three" / "photometry.fits"
    assert "photoz.z_range: [3.0, 1.0] is no range" in failed("--photometry", good, "--z-range", 3, 1)
    assert "nowhere.fits: No such file" in failed("--photometry", "nowhere.fits")
    with fits.open(good) as hdus:
        for name in ("flux", "flux_err"):
            hdus["PHOTOMETRY"].columns[f"{name}_F150W"].name = f"{name}_F151W"
        hdus.writeto(tmp_path / "odd.fits", checksum=True)
    assert "no transmission curve of the filter F151W" in failed("--photometry", "odd.fits")

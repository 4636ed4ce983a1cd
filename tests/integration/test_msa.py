"""The NIRSpec steps on real slitlets made bad in every way: failures become rows, good sources come through."""

import json
import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

NAME = "jw01345062001_03101_0000{}_nrs2_phot.138.1345_933.fits"

WATCHED = """
import os, sys

os.environ["TMPDIR"] = os.getcwd()
allowed = tuple(map(os.path.realpath, (".", "/dev", os.path.expanduser("~"))))

def watch(event, args):
    if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR):
        if not os.path.realpath(args[0]).startswith(allowed):
            print("wrote", args[0])

sys.addaudithook(watch)
from pureparallel.cli import main
main()
"""
"""The command `pureparallel`, which says what it writes outside of the working folder and the user's own."""


@pytest.fixture(scope="session")
def slitlets(demo):
    """The demonstration's three slitlets."""
    return [demo / "results/ceers-msa/slitlets" / NAME.format(i) for i in (1, 2, 3)]


@pytest.fixture(scope="session")
def chunk(slitlets, tmp_path_factory, run_in):
    """A chunk of one good and five bad sources, extracted and fitted."""
    folder = tmp_path_factory.mktemp("chunk")
    for source in ("truncated", "niriss", "allnan", "onenod", "1345_933", "sliver"):
        for path in slitlets[: 1 if source == "onenod" else 3]:
            copy = folder / path.name.replace("1345_933", source)
            shutil.copy(path, copy)
            if source == "truncated" and "_00002_" in path.name:
                os.truncate(copy, 300_000)
            elif source not in ("truncated", "1345_933", "onenod"):
                with fits.open(copy, mode="update") as hdus:
                    if source == "niriss":
                        hdus[0].header["INSTRUME"] = "NIRISS"
                    elif source == "allnan":
                        hdus["SCI"].data[:] = np.nan
                    elif source == "sliver":
                        hdus["SCI"].data[:, :-25] = np.nan
    files = sorted(folder.glob("*.fits"))
    run_in(
        "msaexp", "pureparallel", "msa_extract", "--slitlets", *files, "--spectra", folder / "spectra.fits",
        "--metrics", folder / "extract.json", "--gratings", "PRISM", cwd=folder,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def fitted(chunk, root, run_in):
    """The chunk's redshifts."""
    run_in(
        "msaexp", "pureparallel", "msa_redshift", "--field", "a-field", "--spectra", chunk / "spectra.fits",
        "--line-list", root / "resources/lines.ecsv", "--redshifts", chunk / "redshifts.fits",
        "--figures", chunk / "figures", "--metrics", chunk / "fit.json", cwd=chunk,
    )  # fmt: skip
    return Table.read(chunk / "redshifts.fits", hdu="REDSHIFTS")


def test_every_source_has_a_row_and_a_failed_one_its_reason(chunk):
    status = Table.read(chunk / "spectra.fits", hdu="STATUS")
    reasons = dict(zip(status["source"], status["reason"], strict=True))
    assert set(reasons) == {"truncated", "niriss", "allnan", "onenod", "1345_933", "sliver"}
    assert not reasons["1345_933"]
    assert "_00002_nrs2_phot.138.truncated.fits: not a complete FITS file" in reasons["truncated"]
    assert "INSTRUME is 'NIRISS', expected 'NIRSPEC'" in reasons["niriss"]
    assert reasons["allnan"] == "all pixels of all slitlets are NaN"
    assert "one nod position" in reasons["onenod"]
    metrics = json.loads((chunk / "extract.json").read_text())
    assert metrics["sources"] == 6
    assert set(metrics["failed"]) == {source for source, reason in reasons.items() if reason}


def test_failed_sources_are_rows_with_flag_0(chunk, fitted):
    rows = {row["id"]: row for row in fitted}
    assert rows["1345_933"]["flag"] == 3
    assert rows["1345_933"]["z"] == pytest.approx(4.234, abs=0.003)
    for source in ("truncated", "niriss", "allnan", "onenod", "sliver"):
        assert rows[source]["flag"] == 0
        assert rows[source]["reason"]
        assert np.ma.is_masked(rows[source]["z"]) or np.isnan(rows[source]["z"])
    assert [path.name for path in (chunk / "figures").iterdir()] == ["a-field_1345_933_redshift.png"]


def test_too_many_failures_fail_the_field_with_their_reasons(chunk, fitted, run_in):
    def merge(limit):
        return run_in(
            "default", "pureparallel", "merge_redshifts", "--field", "a-field", "--spectra", chunk / "spectra.fits",
            "--redshifts", chunk / "redshifts.fits", "--table", chunk / "table.fits", "--folder", chunk / "out",
            "--overview", chunk / "overview.html", "--metrics", chunk / "merge.json",
            "--max-failed-fraction", limit, cwd=chunk, check=False,
        )  # fmt: skip

    refused = merge(0.5)
    assert refused.returncode == 1
    assert "5 of 6 sources failed, more than max_failed_fraction: 0.5" in refused.stderr
    assert "INSTRUME is 'NIRISS'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (chunk / "table.fits").exists()
    accepted = merge(0.9)
    assert accepted.returncode == 0, accepted.stderr
    table = Table.read(chunk / "table.fits", hdu="REDSHIFTS")
    assert len(table) == 6
    assert (chunk / "out" / "a-field_1345_933_spec.fits").is_file()
    overview = (chunk / "overview.html").read_text()
    assert "INSTRUME is &#x27;NIRISS&#x27;" in overview


def test_a_slitlet_that_is_not_the_manifests_is_refused(slitlets, tmp_path, run_in):
    done = run_in(
        "default", "pureparallel", "msa_slitlets", "--location", slitlets[0], "--slitlet", tmp_path / "x.fits",
        "--sha256-expected", "0" * 64, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the manifest says 0000" in done.stderr
    assert not list(tmp_path.iterdir())


def test_gratings_are_fitted_through_msaexp_at_their_own_resolution(tmp_path, root, run_in):
    """Two simulated gratings of one source, through msaexp's resolution curves: z and flux come back."""
    script = root / "tests" / "integration" / "simulate_gratings.py"
    run_in("msaexp", "python", script, cwd=tmp_path)
    done = run_in(
        "msaexp", "python", "-c", WATCHED, "msa_redshift", "--field", "a-field", "--spectra", "spectra.fits",
        "--line-list", root / "resources/lines.ecsv", "--redshifts", "redshifts.fits", "--figures", "figures",
        "--metrics", "fit.json", "--z-range", "3.7", "4.3", cwd=tmp_path,
    )  # fmt: skip
    assert "wrote" not in done.stdout  # a file that all users of a node would share
    both, one, none = Table.read(tmp_path / "redshifts.fits", hdu="REDSHIFTS")
    assert both["gratings"] == "G235M+G395M"
    assert both["flag"] == 3
    assert both["z"] == pytest.approx(4.0, abs=3e-4)
    for name, flux in (("OIII", 1202.0), ("Hb", 150.0), ("Ha", 430.0)):
        assert abs(both[f"flux_{name}"] / 1e-20 - flux) < 4 * both[f"flux_err_{name}"] / 1e-20 + 0.02 * flux
    # a grating that is lost costs itself, not its source, and a source that is lost not its chunk
    assert one["gratings"] == "G395M"
    assert one["flux_Ha"] / 1e-20 == pytest.approx(430, rel=0.1)
    assert none["flag"] == 0
    assert none["reason"] == "0 valid pixels, fewer than min_pixels: 50"
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_wavelengths_agree_with_another_line_list(root, tmp_path, run_in):
    """Our vacuum wavelengths against grizli's, an independent compilation."""
    done = run_in(
        "msaexp", "python", "-c",
        "import json; from grizli.utils import get_line_wavelengths; print(json.dumps(get_line_wavelengths()[0]))",
        cwd=tmp_path,
    )  # fmt: skip
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    ours = Table.read(root / "resources/lines.ecsv")
    pairs = {
        "Ha": "Ha", "Hb": "Hb", "Hg": "Hg", "Hd": "Hd", "PaA": "PaA", "PaB": "PaB", "PaG": "PaG", "PaD": "PaD",
        "OIII-5008": "OIII-5007", "OIII-4960": "OIII-4959", "Lya": "Lya", "BrG": "BrG", "BrB": "BrB", "BrA": "BrA",
        "HeI-10833": "HeI-1083", "FeII-12570": "FeII-12570", "HeI-5877": "HeI-5877",
    }  # fmt: skip
    for mine, other in pairs.items():
        wavelength = ours["wavelength"][list(ours["family"]).index(mine)]
        assert wavelength == pytest.approx(theirs[other][0], rel=3e-4), mine

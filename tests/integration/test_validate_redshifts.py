"""The step validate_redshifts on a field whose redshifts are wrong in known ways."""

import json

import numpy as np
import pytest
from astropy.table import Table


def validate(run_in, root, folder, *more, check=True):
    return run_in(
        "jwst", "pureparallel", "validate_redshifts", "--field", "a-field", "--table", "table.fits", "--line-list",
        root / "resources/lines.ecsv", "--metrics", "metrics.json", "--figure", "figure.png", *more, cwd=folder,
        check=check,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    folder = tmp_path_factory.mktemp("redshifts")
    script = root / "tests" / "integration" / "validate_redshifts_scene.py"
    run_in("jwst", "python", script, 1, root / "resources/lines.ecsv", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def judged(root, run_in, folder):
    """The metrics against the truth."""
    validate(run_in, root, folder, "--truth", "truth.fits", "--spectra", "spectra.fits")
    return json.loads((folder / "metrics.json").read_text())


def test_redshifts_are_as_right_as_they_were_made(judged):
    scores = judged["redshifts"]
    assert judged["matched"] > 0.97 * judged["sources"]
    assert scores["flag_3"]["sources"] > 30
    assert scores["flag_3"]["nmad"] == pytest.approx(1e-3, rel=0.35)
    assert scores["flag_3"]["outliers"] < 0.05
    assert scores["flag_1"]["outliers"] == pytest.approx(0.3, abs=0.15)
    assert scores["flag_2"]["sources"] == 0


def test_stars_are_no_redshifts_but_counted(judged):
    assert sum(judged["stars"].values()) > 0
    assert judged["redshifts"]["all"]["sources"] == judged["matched"] - sum(judged["stars"].values())


def test_errors_are_as_honest_as_they_were_made(judged):
    assert judged["calibration"]["pull_width"] == pytest.approx(1, abs=0.3)
    assert judged["lines"]["lines"] > 200
    assert judged["lines"]["pull_width"] == pytest.approx(2, rel=0.15)
    assert judged["lines"]["ratio"] == pytest.approx(1, abs=0.1)


def test_signal_to_noise_is_that_of_the_lines_there_are(judged):
    """Of a line in one spectrum of error 4e-20 per bin of 47 Å: all light in a bin would give F / 47 / 4e-20."""
    flux, snr = np.array(judged["by_line"]["flux"]), np.array(judged["by_line"]["snr"])
    one_bin = flux / 1e-20 / 47 / 4
    assert np.all(snr <= one_bin)
    assert np.median((snr / one_bin)[snr > 3]) == pytest.approx(0.5, rel=0.15)  # of its profile, blurred by bins
    assert judged["by_line"]["with_line"]["sources"] == np.sum(snr >= 5) > 5


def test_other_redshifts_serve_as_well(root, run_in, folder):
    validate(run_in, root, folder, "--redshifts", "known.ecsv", "--metrics", "other.json", "--figure", "other.png")
    found = json.loads((folder / "other.json").read_text())
    assert found["against"] == "other redshifts"
    assert found["known"] == len(Table.read(folder / "known.ecsv")) - 2  # without a redshift, and an uncertain one
    assert found["redshifts"]["flag_3"]["nmad"] == pytest.approx(1e-3, rel=0.35)
    assert "lines" not in found
    assert (folder / "other.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("short.ecsv", ("ra", "dec"), "no column z; validate_redshifts needs ra, dec (deg) and z"),
        ("missing.ecsv", (), "no such file"),
    ],
)
def test_a_table_that_cannot_serve_is_refused(root, run_in, folder, name, columns, message):
    if columns:
        Table.read(folder / "known.ecsv")[list(columns)].write(folder / name)
    done = validate(run_in, root, folder, "--redshifts", name, "--metrics", "no.json", check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "no.json").exists()


def test_a_field_of_which_nothing_is_known_has_its_figure(root, run_in, folder):
    table = Table({"ra": [10.0], "dec": [-40.0], "z": [1.0]})
    table.write(folder / "elsewhere.ecsv")
    done = validate(
        run_in, root, folder, "--redshifts", "elsewhere.ecsv", "--metrics", "none.json", "--figure", "n.png"
    )
    assert json.loads((folder / "none.json").read_text())["matched"] == 0
    assert (folder / "n.png").is_file()
    assert "Warning" not in done.stderr


def test_nothing_to_compare_with_is_said(root, run_in, folder):
    done = validate(run_in, root, folder, "--metrics", "no.json", check=False)
    assert done.returncode == 1
    assert "give --truth or --redshifts" in done.stderr

"""Pointings of the simulated field: within their errors of the truth, and honest about the wrong guide star."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel.core.pointing import separation

RESULTS = "results/sim-niriss"


@pytest.fixture(scope="module")
def table(demo):
    return Table.read(demo / RESULTS / "sim-niriss_pointing.fits", hdu="POINTING", mask_invalid=False)


def test_every_exposure_is_placed_within_its_error(demo, table):
    assert len(table) == 22
    pulls = []
    for row in table:
        truth = fits.getheader(demo / RESULTS / "truth" / f"{row['exposure']}_truth.fits")
        apart = separation(row["ra"], row["dec"], truth["TRUE_RA"], truth["TRUE_DEC"])
        assert apart < 3 * row["error"]
        assert abs(row["roll"] - truth["TRUEROLL"]) <= row["roll_error"] + 1e-9
        pulls.append(apart / row["error"])
    assert 0.3 < np.sqrt(np.mean(np.square(pulls)) / 2) < 1.5
    assert set(table["source"]) == {"reference"}


def test_the_wrong_guide_star_is_a_group_of_its_own_with_a_larger_error(table):
    odd = table[~table["usual_star"]]
    assert {name[7:13] for name in odd["exposure"]} == {"002002"}
    assert len(odd) == 3
    assert min(odd["error"]) > 1.5
    assert max(table["error"][table["usual_star"]]) < 1
    assert len(set(table["group"])) == 3


def test_footprints_hold_the_fields_centre_whatever_the_target_says(demo, table):
    (unset,) = table["exposure"][np.isnan(table["target_distance"])]
    assert unset == "jw09999001001_06101_00001_nis"
    for row in table:
        corners = np.array(row["s_region"].split()[2:], float).reshape(4, 2)
        # the side of 512 pixels is 33.6 arcsec
        assert separation(*corners[0], *corners[1]) == pytest.approx(33.5, abs=0.4)
        assert separation(*corners.mean(axis=0), 150.1, 2.2) < 8
    found = json.loads((demo / RESULTS / "sim-niriss_pointing.metrics.json").read_text())
    assert found["without_target"] == [unset]
    assert len(found["unusual_guide_stars"]) == 1


def attitudes(path, **columns):
    Table({key: [value] for key, value in columns.items()}).write(path, format="ascii.ecsv")
    return path


def run(run_in, demo, tmp_path, *arguments, check=True):
    rates = demo / RESULTS / "detector1/F115W-image-0001"
    return run_in(
        "jwst", "pureparallel", "pointing", "--field", "sim-niriss", "--rates", rates, "--table",
        tmp_path / "p.fits", "--figure", tmp_path / "p.png", "--metrics", tmp_path / "p.json", *arguments,
        cwd=tmp_path, check=check,
    )  # fmt: skip


def test_the_guiders_own_attitudes_are_preferred_where_they_cover_an_exposure(demo, table, tmp_path, run_in):
    first = table[0]
    sky = fits.getheader(demo / RESULTS / "detector1/F115W-image-0001" / f"{first['exposure']}_rate.fits", "SCI")
    log = attitudes(
        tmp_path / "log.ecsv", start=first["start"], end=first["start"] + 0.003,
        ra_v1=sky["RA_V1"], dec_v1=sky["DEC_V1"] + 0.5 / 3600, pa_v3=sky["PA_V3"],
    )  # fmt: skip
    run(run_in, demo, tmp_path, "--attitudes", log)
    found = Table.read(tmp_path / "p.fits", hdu="POINTING", mask_invalid=False)
    assert list(found["source"]) == ["table"] + ["reference"] * 2
    assert found["moved"][0] == pytest.approx(0.5, rel=0.01)


def test_a_table_that_is_none_is_refused_in_words(demo, tmp_path, run_in):
    done = run(run_in, demo, tmp_path, "--attitudes", attitudes(tmp_path / "log.ecsv", start=1.0), check=False)
    assert done.returncode == 1
    assert "no column dec_v1, end, pa_v3, ra_v1" in done.stderr
    assert "Traceback" not in done.stderr

"""An exposure that cannot be used costs its own row, and nothing else."""

import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).parent))
from crds_server import CONTEXT, running

FIELD, OTHER = "poisoned", "sim-niriss"
CHUNKS = ("F200W-image-0001", "F200W-wfss-0001")


@pytest.fixture
def server(copied):
    """A server of the reference files."""
    (copied / "results" / OTHER).rename(copied / OTHER)
    with running(copied / OTHER / "references") as crds:
        yield crds


@pytest.fixture
def survey(copied, server):
    """The demonstration's raw exposures through one filter as a field's files, of which one is cut off."""
    home, raw = copied / "config" / "fields", copied / "raw"
    raw.mkdir()
    with (home / f"{OTHER}.tsv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["filter"] == "F200W"]
    for row in rows:
        path = raw / f"{row['exposure']}_uncal.fits"
        shutil.copy(copied / OTHER / "uncal" / path.name, path)
        row["location"] = f"raw/{path.name}"
    with (home / f"{FIELD}.tsv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0], delimiter="\t")
        table.writeheader()
        table.writerows(rows)
    (home / f"{FIELD}.yaml").write_text(
        f"description: Exposures of a simulated field.\nsource: files\n"
        f"crds: {{server: '{server.url}', context: {CONTEXT}}}\n"
        f"gaia: {OTHER}/{OTHER}_gaia.ecsv\n"
    )
    (copied / "config" / "config.yaml").write_text(f"fields: [{FIELD}]\n")
    poisoned = [row["exposure"] for row in rows if row["grism"]][1]
    os.truncate(raw / f"{poisoned}_uncal.fits", 500_000)
    return copied, poisoned


@pytest.mark.slow
def test_a_poisoned_exposure_costs_its_own_row_and_nothing_else(survey, run_in):
    folder, poisoned = survey
    done = run_in("default", "python", "-m", "pureparallel.launch", "--cores", "2", "--keep-going", cwd=folder)
    results = folder / "results" / FIELD
    verdicts = Table.read(results / f"{FIELD}_exposures.fits", hdu="EXPOSURES")
    reasons = {str(row["exposure"]): str(row["reason"]).strip() for row in verdicts if not row["use"]}
    # the one with scattered light is left out here as it is there
    theirs = Table.read(folder / OTHER / f"{OTHER}_exposures.fits", hdu="EXPOSURES")
    usual = {str(row["exposure"]) for row in theirs if not row["use"]}
    assert {poisoned} <= set(reasons) <= {poisoned} | usual, reasons
    assert "not a complete FITS file" in reasons[poisoned]
    for chunk in CHUNKS:
        rates = sorted((results / "detector1" / chunk).glob("*_rate.fits"))
        before = sorted((folder / OTHER / "detector1" / chunk).glob("*_rate.fits"))
        assert [path.name for path in rates] == [path.name for path in before if path.name != f"{poisoned}_rate.fits"]
        for path in rates:
            np.testing.assert_array_equal(fits.getdata(path), fits.getdata(before[0].with_name(path.name)))
    redshifts = Table.read(results / f"{FIELD}_redshifts.fits", hdu="REDSHIFTS")
    assert (redshifts["flag"] >= 2).sum() >= 3
    assert "Traceback" not in done.stdout + done.stderr

"""Which of the simulated field's exposures are used, and what happens when some fail."""

import json
import shutil

import numpy as np
from astropy.table import Table

RESULTS = "results/sim-niriss"
SPOILT = "jw09999002001_10101_00001_nis"


def read(path):
    return Table.read(path, hdu="EXPOSURES", mask_invalid=False)


def test_all_but_the_exposure_full_of_scattered_light_are_used(demo):
    table = read(demo / RESULTS / "sim-niriss_exposures.fits")
    assert len(table) == 22
    assert list(table["exposure"][~table["use"]]) == [SPOILT]
    (row,) = table[~table["use"]]
    assert row["reason"].startswith("scattered light: level of ")
    assert not row["failed"]
    assert np.all(table["seconds"] > 200)
    assert np.all((table["masked"] > 0) & (table["masked"] < 0.5))
    assert np.all(table["column_rms"] < table["column_rms_before"] * 1.2)


def select(run_in, folder, *arguments, check=True):
    chunks = [path.name for path in sorted((folder / "mask_artifacts").glob("*-0001"))]
    return run_in(
        "default", "pureparallel", "select_exposures", "--field", "sim-niriss",
        "--rates", *(folder / "detector1" / chunk for chunk in chunks),
        "--masks", *(folder / "mask_artifacts" / chunk for chunk in chunks),
        "--pointing", folder / "sim-niriss_pointing.fits", "--table", folder / "e.fits",
        "--overview", folder / "e.html", "--metrics", folder / "e.json", *arguments, cwd=folder, check=check,
    )  # fmt: skip


def test_the_users_choice_and_failures_are_rows_with_a_reason(demo, tmp_path, run_in):
    folder = tmp_path / "field"
    for part in ("detector1", "mask_artifacts"):
        shutil.copytree(demo / RESULTS / part, folder / part, ignore=shutil.ignore_patterns("*.jpg"))
    shutil.copy(demo / RESULTS / "sim-niriss_pointing.fits", folder)
    failed, left_out = "jw09999001001_02101_00001_nis", "jw09999001001_02101_00002_nis"
    path = folder / "detector1/F200W-image-0001" / f"{failed}.metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reason": "the file is truncated"}))
    select(run_in, folder, "--exclude", left_out, "--no-exclude-scattered")
    table = read(folder / "e.fits")
    reasons = {row["exposure"]: row["reason"] for row in table if not row["use"]}
    assert set(reasons) == {failed, left_out}
    assert reasons[failed] == "the file is truncated"
    assert "select_exposures.exclude" in reasons[left_out]
    assert list(table["exposure"][table["failed"]]) == [failed]
    assert "the file is truncated" in (folder / "e.html").read_text()

    (folder / "e.fits").unlink()
    done = select(run_in, folder, "--max-failed-fraction", "0.04", check=False)
    assert done.returncode == 1
    assert "1 of 22 exposures failed" in done.stderr
    assert "the file is truncated" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "e.fits").exists()

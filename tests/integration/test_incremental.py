"""An exposure more, and one less: only what depends on it is done again."""

import json
import re

import numpy as np
import pytest

MANIFEST = "config/fields/sim-niriss.tsv"
NEW = "jw09999002003_02101_00001_nis\tniriss_image\tF150W\t\tNIS\t5\t2024-07-25T16:20:00\t2\n"
RESULTS = "results/sim-niriss"

OWN = {
    ("simulate_exposure", "jw09999002003_02101_00001_nis"),
    *((rule, "F150W-image-2-0001") for rule in ("detector1", "persistence", "mask_artifacts", "image2")),
    ("background_image", "F150W-image-2-0001"),
}
"""What is done with the new exposure alone."""

DISPERSED = {
    (rule, f"{filter}-wfss-0001") for rule in ("background_wfss", "spec2") for filter in ("F115W", "F150W", "F200W")
}
"""What hangs on the catalogue, which a new exposure changes."""

FILTERS = {("placement", one) for one in ("F115W", "F150W", "F200W")} | {("mosaic", "F150W")}


def jobs(text):
    """Rules that ran, with what tells their jobs of a field apart."""
    found = re.findall(
        r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    wildcards: field=sim-niriss(?:, (?!batch)\w+=(\S+))?$", text, re.M
    )
    return {(rule, job) for rule, job in found}


def register(folder):
    """Right ascension and declination by source."""
    rows = [line.split() for line in (folder / RESULTS / "sim-niriss_sources.ecsv").read_text().splitlines()]
    return {row[0]: [float(one) for one in row[1:3]] for row in rows if row[0].isdigit()}


def lines(path):
    """The manifest with the column that a second arrival needs."""
    head, *rows = path.read_text().splitlines()
    return [f"{head}\tbatch", *(f"{row}\t" for row in rows)]


def test_a_new_exposure_redoes_no_count_rates_of_others(copied, run_in):
    path = copied / MANIFEST
    path.write_text("\n".join(lines(path)) + "\n" + NEW)
    done = run_in("default", "python", "-m", "pureparallel.launch", "-n", cwd=copied)
    found = jobs(done.stdout + done.stderr)
    assert {job for job in found if job[1].startswith(("jw", "F150W-", "F115W-", "F200W-"))} == OWN | DISPERSED
    assert not {"simulate_sky", "simulate_references"} & {rule for rule, _ in found}


@pytest.mark.slow
def test_an_exposure_that_comes_and_goes_redoes_what_hangs_on_it_and_nothing_else(copied, run_in, planned):
    path = copied / MANIFEST
    before = path.read_text()
    steps = ("detector1", "persistence", "mask_artifacts", "image2", "background_image")
    others = [*(copied / RESULTS).glob("sim-niriss_F*W_mosaic.fits")]
    others += [path for step in steps for path in (copied / RESULTS / step).glob("*/*.fits")]
    state = {one: one.stat().st_mtime_ns for one in others}
    known = register(copied)
    path.write_text("\n".join(lines(path)) + "\n" + NEW)

    def run():
        done = run_in("default", "python", "-m", "pureparallel.launch", "--cores", "2", cwd=copied)
        assert planned(copied) == set()
        return jobs(done.stdout + done.stderr)

    field = {
        "pointing", "select_exposures", "align", "colour_image", "detect", "photometry", "photoz", "validate_rates",
        "validate_catalogue", "lineage",
    }  # fmt: skip
    found = run()
    assert {job for job in found if job[1].startswith(("jw", "F"))} == OWN | FILTERS | DISPERSED
    assert field <= {rule for rule, _ in found}
    redone = {one.name for one in others if one.stat().st_mtime_ns != state[one]}
    assert redone == {"sim-niriss_F150W_mosaic.fits"}
    metrics = json.loads((copied / RESULTS / "sim-niriss_F150W_mosaic.metrics.json").read_text())
    assert "jw09999002003_02101_00001_nis" in {one["exposure"] for one in metrics["exposures"]}
    now = register(copied)
    assert {one: np.allclose(now[one], known[one], rtol=0, atol=0.2 / 3600) for one in known} == dict.fromkeys(
        known, True
    )

    path.write_text(before)
    found = run()
    assert {job for job in found if job[1].startswith(("jw", "F"))} == FILTERS | DISPERSED
    metrics = json.loads((copied / RESULTS / "sim-niriss_F150W_mosaic.metrics.json").read_text())
    assert "jw09999002003_02101_00001_nis" not in {one["exposure"] for one in metrics["exposures"]}

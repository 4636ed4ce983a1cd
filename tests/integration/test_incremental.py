"""An exposure more, or one less: only what depends on it is done again."""

import re

import pytest

MANIFEST = "config/fields/sim-niriss.tsv"
NEW = "jw09999002003_02101_00001_nis\tniriss_image\tF150W\t\tNIS\t5\t2024-07-25T16:20:00\n"
CHUNK = "F150W-image-0001"

OF_CHUNK = ("detector1", "persistence", "mask_artifacts", "image2", "background_image")
OF_FIELD = ("pointing", "select_exposures", "align", "colour_image", "validate_rates", "lineage")
AFFECTED = {f"{rule} {CHUNK}" for rule in OF_CHUNK} | set(OF_FIELD) | {"mosaic F150W"}


@pytest.fixture
def jobs(run_in):
    """Jobs that a run would run: the rule, and the wildcard beside the field."""

    def planned(folder):
        done = run_in("default", "python", "-m", "pureparallel.launch", "-n", cwd=folder)
        text = done.stdout + done.stderr
        found = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    wildcards: field=sim-niriss(?:, \w+=(\S+))?$", text, re.M)
        rules = set(re.findall(r"^rule (\w+):$", text, re.M)) - {"all"}
        # every job is one of this field
        assert rules == {rule for rule, _ in found}
        return {" ".join(filter(None, job)) for job in found}

    return planned


def test_a_new_exposure_leaves_other_chunks_filters_and_fields_alone(copied, jobs):
    manifest = copied / MANIFEST
    before = manifest.read_text()
    assert not jobs(copied)
    manifest.write_text(before + NEW)
    assert jobs(copied) == AFFECTED | {f"simulate_exposure {NEW.split()[0]}"}


def test_an_exposure_that_is_taken_away_as_well(copied, jobs):
    manifest = copied / MANIFEST
    kept = [line for line in manifest.read_text().splitlines(keepends=True) if "jw09999002002_02101_00001" not in line]
    manifest.write_text("".join(kept))
    later = {f"simulate_exposure jw09999002002_{rest}_nis" for rest in ("02101_00002", "04101_00001")}
    found = jobs(copied)
    assert AFFECTED <= found
    # the simulated visit is another without it; the third filter and the first visit stay
    assert later <= found
    assert not [job for job in found if "F115W" in job or "F200W" in job]

"""An exposure more: only what depends on it is done again."""

import re

MANIFEST = "config/fields/sim-niriss.tsv"
NEW = "jw09999002003_02101_00001_nis\tniriss_image\tF150W\t\tNIS\t5\t2024-07-25T16:20:00\n"


def test_a_new_exposure_redoes_no_count_rates_but_those_of_its_chunk(copied, run_in):
    with (copied / MANIFEST).open("a") as file:
        file.write(NEW)
    done = run_in("default", "python", "-m", "pureparallel.launch", "-n", cwd=copied)
    text = done.stdout + done.stderr
    found = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    wildcards: field=(\S+?)(?:, \w+=(\S+))?$", text, re.M)
    # every job is one of this field
    assert {field for _, field, _ in found} == {"sim-niriss"}
    assert {rule for rule, *_ in found} == set(re.findall(r"^rule (\w+):$", text, re.M)) - {"all"}
    jobs = {(rule, job) for rule, _, job in found}
    assert ("mosaic", "F150W") in jobs
    assert {job for rule, job in jobs if rule == "simulate_exposure"} == {NEW.split()[0]}
    assert {job for rule, job in jobs if rule == "detector1"} == {"F150W-image-0001"}
    assert not {"simulate_sky", "simulate_references"} & {rule for rule, _ in jobs}

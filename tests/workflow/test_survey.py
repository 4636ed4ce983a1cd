"""A survey of many fields: planned as it is projected, and read by a cluster's job no further than it needs."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest
from pureparallel import config, progress, projection, schemas

SNAKEMAKE = [sys.executable, "-m", "snakemake"]


@pytest.fixture(scope="module")
def generator(root):
    """The module that writes surveys without data."""
    spec = importlib.util.spec_from_file_location("survey", root / "benchmarks" / "survey.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def survey(generator, tmp_path_factory):
    """Working folder of a survey without data: four fields, sixty exposures, three of them per process."""
    folder = tmp_path_factory.mktemp("survey")
    generator.write(folder, fields=4, exposures=60, chunk=3)
    return folder


def run(root, folder, *arguments, command=SNAKEMAKE):
    words = [*command, "--snakefile", str(root / "workflow" / "Snakefile"), *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def counts(done):
    found = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.M)}
    return {name: n for name, n in found.items() if name not in ("total", "all")}


def projected(folder, fields=None):
    content = schemas.read_yaml(folder / "config" / "config.yaml")
    known = projection.of_survey(config.load(content, folder / "config" / "fields"))
    found = {}
    for name, costs in known.items():
        for rule, one in costs.items() if fields is None or name in fields else ():
            found[rule] = found.get(rule, 0) + one.jobs
    return found


def test_the_generated_survey_is_one_that_the_archive_could_give(survey):
    fields = config.load(schemas.read_yaml(survey / "config" / "config.yaml"), survey / "config" / "fields")
    assert len(fields) == 4
    assert sum(len(field.exposures) for field in fields.values()) == 60
    assert all(field.is_placed for field in fields.values())
    modes = [row["mode"] for field in fields.values() for row in field.manifest]
    assert 0.4 < modes.count("niriss_wfss") / len(modes) < 0.7


def test_the_survey_is_planned_as_it_is_projected(root, survey):
    done = run(root, survey, "-n", "--quiet", "host")
    assert done.returncode == 0, done.stderr
    assert counts(done) == projected(survey)


def test_the_demonstration_is_planned_as_it_is_projected(root, tmp_path):
    home = tmp_path / "config"
    home.mkdir()
    (home / "config.yaml").write_text("fields: [sim-niriss, ceers-msa]\n")
    (home / "fields").symlink_to(root / "config" / "fields")
    done = run(root, tmp_path, "-n", "--quiet", "host")
    assert done.returncode == 0, done.stderr
    assert counts(done) == projected(tmp_path)


def test_one_field_alone(root, survey):
    field = "survey-0002"
    done = run(root, survey, "-n", "--quiet", "host", "--", f"results/{field}/{field}_photoz.fits")
    assert done.returncode == 0, done.stderr
    found, all_of_it = counts(done), projected(survey, [field])
    assert found["photoz"] == 1
    # the persistence of what was taken just before, in whatever field, belongs to it
    assert all(found[rule] >= all_of_it[rule] for rule in ("detector1", "image2", "mosaic"))
    assert sum(found.values()) < sum(projected(survey).values()) / 2


def test_a_job_on_a_cluster_reads_its_own_field_alone(root, survey, tmp_path):
    """The others are not even there: what submitted the job has checked them."""
    home = tmp_path / "config" / "fields"
    home.mkdir(parents=True)
    (tmp_path / "config" / "config.yaml").write_text((survey / "config" / "config.yaml").read_text())
    for name in ("survey-0003.yaml", "survey-0003.tsv"):
        (home / name).write_text((survey / "config" / "fields" / name).read_text())
    lines = (home / "survey-0003.tsv").read_text().splitlines()
    exposure = lines[1].partition("\t")[0]
    job = f"download:field=survey-0003,exposure={exposure}"
    remote = ["--mode", "remote", "--executor", "dryrun", "--allowed-rules", "download", "--nolock", "--cores", "1"]
    done = run(root, tmp_path, *remote, "--target-jobs", job)
    assert done.returncode == 0, done.stderr
    assert counts(done) == {"download": 1}
    assert run(root, tmp_path, "-n").returncode != 0


def test_what_is_dropped_goes_while_the_survey_runs(root, generator, tmp_path):
    """Jobs that make empty products, in the order of a real run: few of those lie there at once, and none after."""
    generator.write(tmp_path, fields=3, exposures=30, chunk=1)
    found = generator.empty(tmp_path, ("download", "image2"), "--cores", "4", "--resources", "mast=2")
    assert found["jobs"] == sum(projected(tmp_path).values()) + 1  # all
    assert 1 <= found["most"] <= 12
    assert not [*tmp_path.glob("results/*/uncal/*_uncal.fits"), *tmp_path.glob("results/*/image2/*")]
    assert len([*tmp_path.glob("results/*/detector1/*-0*[0-9]")]) == 30
    done = run(root, tmp_path, "-n", "--quiet", command=[sys.executable, "-m", "pureparallel.launch"])
    assert "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.fixture
def broken(root, tmp_path):
    """A survey of one field whose slitlets cannot be had."""
    home = tmp_path / "config" / "fields"
    home.mkdir(parents=True)
    (tmp_path / "config" / "config.yaml").write_text("fields: [ceers-msa]\n")
    for suffix in ("yaml", "tsv"):
        text = (root / "config" / "fields" / f"ceers-msa.{suffix}").read_text()
        (home / f"ceers-msa.{suffix}").write_text(text.replace("tests/data", "nowhere"))
    return tmp_path


def test_a_run_that_fails_says_so_to_people_and_to_scripts(root, broken):
    launch = [sys.executable, "-m", "pureparallel.launch"]
    done = run(root, broken, "--cores", "1", "--keep-going", "--quiet", command=launch)
    assert done.returncode == 1
    end = done.stderr.partition("3 jobs failed:")[2]
    assert len(re.findall(r"^failed: msa_slitlets ceers-msa jw\S+$", end, re.M)) == 3
    assert end.count("nowhere/jw01345062001_03101_00001_nrs2_phot.138.1345_933.fits: no such file") == 1
    status = subprocess.run(
        [sys.executable, "-m", "pureparallel.progress"], cwd=broken, capture_output=True, text=True, check=False
    )
    assert status.returncode == progress.FAILED
    assert "3 failed" in status.stdout
    assert run(root, broken, "-n", "--quiet", command=launch).returncode == 0  # a look records nothing
    assert progress.read(broken).code == progress.FAILED


def test_a_run_that_makes_everything_ends_with_zero(root, broken):
    launch = [sys.executable, "-m", "pureparallel.launch"]
    quiet = ["--quiet", "rules", "host"]
    done = run(root, broken, "--cores", "1", *quiet, "--", "results/software.html", command=launch)
    assert done.returncode == 0, done.stderr
    assert progress.read(broken).code == progress.FINISHED
    events = [json.loads(line) for line in (broken / progress.EVENTS).read_text().splitlines()]
    assert [key for event in events for key in event if key != "time"] == [
        "begun",
        "planned",
        "job",
        "finished",
        "ended",
    ]

"""The workflow as Snakemake sees it: it parses, plans, lints, and refuses what is wrong in words."""

import inspect
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from pureparallel import cli, schemas

SNAKEMAKE = [sys.executable, "-m", "snakemake"]


@pytest.fixture
def checkout(root, tmp_path):
    """A copy of what Snakemake reads."""
    for part in ("config", "locks", "profiles", "resources", "workflow"):
        shutil.copytree(root / part, tmp_path / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def plan(folder, *arguments):
    return subprocess.run([*SNAKEMAKE, "-n", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_dry_run_of_the_demonstration(checkout):
    done = plan(checkout)
    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.M))
    assert counts == {
        "simulate_references": "1", "simulate_sky": "1", "simulate_exposure": "22",
        "detector1": "6", "persistence": "6", "mask_artifacts": "6", "pointing": "1", "select_exposures": "1",
        "image2": "3", "background_image": "3", "align": "1", "placement": "3", "mosaic": "3", "colour_image": "1",
        "detect": "1", "photometry": "1", "photoz": "1", "validate_rates": "1", "validate_catalogue": "1",
        "grism_wcs": "1", "background_wfss": "3", "spec2": "3", "stack": "1", "fit_redshift": "1",
        "msa_slitlets": "3", "msa_extract": "1", "msa_redshift": "1", "merge_redshifts": "2", "redshift_summary": "2",
        "validate_redshifts": "1",
        "lineage": "2", "software": "1", "all": "1", "total": "86",
    }  # fmt: skip


def test_snakemake_lint_is_clean(checkout):
    done = subprocess.run([*SNAKEMAKE, "--lint"], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_slurm_profile_is_found_by_its_name_and_plans(checkout):
    command = [sys.executable, "-m", "pureparallel.launch", "-n", "--profile", "slurm"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "profiles slurm" in done.stderr


def test_sources_go_through_in_chunks(checkout):
    tsv = checkout / "config" / "fields" / "ceers-msa.tsv"
    header, *rows = tsv.read_text().splitlines()
    more = [row.replace("1345_933", f"1345_{i}") for i in range(900, 945) for row in rows]
    tsv.write_text("\n".join([header, *more]) + "\n")
    done = plan(checkout)
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.M))
    assert (counts["msa_slitlets"], counts["msa_extract"], counts["msa_redshift"]) == ("135", "3", "3")


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("config/config.yaml", "fields:", "feilds:", "unknown key 'feilds'; did you mean 'fields'"),
        ("config/config.yaml", "ceers-msa", "ceers-mas", "nobody defined 'ceers-mas'"),
        ("config/fields/ceers-msa.yaml", "description:", "descripton:", "unknown key 'descripton'"),
        ("config/fields/ceers-msa.tsv", "location", "place", "unknown column 'place'"),
        ("config/fields/ceers-msa.tsv", "_00002_", "_00001_", "stands in line 2 already"),
        ("config/fields/ceers-msa.tsv", "package:msaexp", "../msaexp", "climbs out of its folder"),
    ],
)
def test_mistakes_stop_the_run_with_their_place_and_no_traceback(checkout, file, old, new, expected):
    path = checkout / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    done = plan(checkout)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert expected in text
    assert path.name in text
    assert "Traceback" not in text


def test_a_target_of_a_field_that_is_not_configured(checkout):
    done = plan(checkout, "results/other/other_redshifts.fits")
    assert done.returncode != 0
    assert "'other' is not among the configured fields" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("results/ceers-msa/msa_extract/ceers-msa_0007_spectra.fits", "field ceers-msa has no chunk 0007"),
        (
            "results/ceers-msa/slitlets/jw01345062001_03101_00009_nrs2_phot.138.1345_933.fits",
            "has no slitlet jw01345062001_03101_00009_nrs2_phot.138.1345_933.fits",
        ),
    ],
)
def test_a_target_that_the_manifest_does_not_give(checkout, target, expected):
    done = plan(checkout, target)
    assert done.returncode != 0
    assert expected in done.stdout + done.stderr


def test_options_on_the_command_line_are_checked_and_used(checkout):
    assert plan(checkout, "--config", "msa_extract={chunk: 1, nod_background: false}").returncode == 0
    done = plan(checkout, "--config", "msa_extract={chunk: 0}")
    assert "msa_extract.chunk: 0 is less than the minimum of 1" in done.stdout + done.stderr


def test_a_key_that_stands_twice_in_the_survey(checkout):
    with (checkout / "config" / "config.yaml").open("a") as file:
        file.write("fields: [other]\n")
    done = plan(checkout)
    assert "key 'fields' stands here twice" in done.stdout + done.stderr


def test_a_missing_local_slitlet_stops_the_plan(checkout):
    tsv = checkout / "config" / "fields" / "ceers-msa.tsv"
    tsv.write_text(tsv.read_text().replace("package:msaexp/tests/data/", "nowhere/"))
    done = plan(checkout)
    assert done.returncode != 0
    assert "nowhere/jw01345062001_03101_00001_nrs2_phot.138.1345_933.fits" in done.stdout + done.stderr


def test_fields_stand_beside_the_configuration_that_is_given(checkout, tmp_path):
    mine = tmp_path / "mine"
    (mine / "fields").mkdir(parents=True)
    for suffix in ("yaml", "tsv"):
        shutil.copy(checkout / f"config/fields/ceers-msa.{suffix}", mine / f"fields/own-field.{suffix}")
    (mine / "config.yaml").write_text("fields: [own-field]\n")
    done = plan(checkout, "--configfile", str(mine / "config.yaml"))
    assert done.returncode == 0, done.stderr
    assert "results/own-field/own-field_redshifts.fits" in done.stdout + done.stderr


def test_a_working_folder_without_configuration_uses_the_checkouts(checkout, tmp_path):
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    done = plan(checkout, "--directory", str(elsewhere))
    assert done.returncode == 0, done.stderr
    assert "ceers-msa_redshifts.fits" in done.stdout + done.stderr


def profiles(root):
    return sorted(path for path in (root / "profiles").glob("*/config*.yaml") if path.parent.name != "snakemake")


def rules_named(profile):
    """Rules that a profile's content names."""
    found = set()
    for key in ("set-threads", "set-resources", "groups"):
        named = profile.get(key) or []
        found |= set(named if isinstance(named, dict) else [entry.split("=")[0].split(":")[0] for entry in named])
    return found


def test_every_rule_named_in_a_profile_exists(root):
    rules = set(re.findall(r"^rule (\w+):", "".join(p.read_text() for p in root.glob("workflow/**/*.smk")), re.M))
    assert profiles(root)
    for path in profiles(root):
        assert rules_named(yaml.safe_load(path.read_text())) <= rules, path
    for misspelt in ({"set-resources": {"msa_extrct": {"mem_mb": 1}}}, {"groups": ["msa_extrct=a"]}):
        assert not rules_named(misspelt) <= rules


def test_every_key_of_a_profile_is_an_option_of_snakemake(root):
    text = subprocess.run([*SNAKEMAKE, "--help"], capture_output=True, text=True, check=True).stdout
    for path in profiles(root):
        if path.parent.name in ("googlebatch", "aws-batch", "kubernetes", "local-s3", "slurm-s3"):
            continue  # of plugins that only another environment has: see test_cloud_profiles
        for key in yaml.safe_load(path.read_text()):
            assert f"--{key}" in text, f"{path}: {key}"


def test_reading_the_configuration_imports_nothing_heavy(root):
    code = "import sys, pureparallel.config, pureparallel.names, pureparallel.sources; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    heavy = {"numpy", "astropy", "scipy", "pandas", "matplotlib", "jwst", "msaexp", "snakemake"}
    assert not heavy & set(done.stdout.split())


def test_sizes(root):
    assert len((root / "workflow" / "Snakefile").read_text().splitlines()) < 60
    for path in (root / "workflow" / "rules").glob("*.smk"):
        assert len(path.read_text().splitlines()) <= 150, path
        assert path.name == "common.smk" or "lambda" not in path.read_text()


def test_options_are_those_of_their_steps_with_the_same_defaults():
    """A section's options are passed as flags, all of them: their step must know each, and by itself do the same."""
    compared = 0
    for section, content in schemas.schema("field")["properties"].items():
        if section not in cli.steps() or section == "simulate_exposure":  # that one gets them within its observation
            continue
        parameters = inspect.signature(cli.step(section)).parameters
        for key, rule in content["properties"].items():
            if key in ("chunk", "density"):  # the workflow's own
                continue
            default = parameters[key].default
            if default is not inspect.Parameter.empty and default is not None:
                plain = list(default) if isinstance(default, tuple) else default
                assert plain == rule["default"], f"{section}.{key}"
            compared += 1
    assert compared > 40

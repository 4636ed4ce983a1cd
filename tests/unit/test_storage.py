import os

import pytest
from pureparallel import UserError, storage


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """A folder of profiles that Snakemake finds, and in it one of a cloud and one of a site."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    cloud = "executor: kubernetes\ndefault-storage-provider: s3\ndefault-storage-prefix: $PUREPARALLEL_STORAGE\n"
    for name, text in {"cloud": cloud, "site": "executor: slurm\n"}.items():
        (tmp_path / "snakemake" / name).mkdir(parents=True)
        (tmp_path / "snakemake" / name / "config.yaml").write_text(text)


def test_a_profile_says_what_is_wanted_and_later_ones_and_the_command_line_win(profiles, monkeypatch):
    monkeypatch.setenv("PUREPARALLEL_STORAGE", "s3://bucket/survey")
    expected = {
        "executor": "kubernetes", "default-storage-provider": "s3", "default-storage-prefix": "s3://bucket/survey",
    }  # fmt: skip
    assert storage.wanted(["--profile", "cloud"]) == expected
    assert storage.wanted(["--profile", "cloud", "--profile", "site"]) == expected | {"executor": "slurm"}
    assert storage.wanted(["--profile=cloud", "-e", "local", "-n"]) == expected | {"executor": "local"}
    assert storage.wanted(["--cores", "2", "results/x"]) == {}
    assert storage.wanted(["--profile", "no-such-profile"]) == {}  # Snakemake says so itself


@pytest.mark.parametrize("flag", ["--storage-s3-secret-key", "--storage-s3-access-key=x", "--storage-s3-token"])
def test_keys_on_the_command_line_are_refused(profiles, flag):
    with pytest.raises(UserError, match="others can read a command line; set SNAKEMAKE_STORAGE_S3_"):
        storage.wanted([flag, "x"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"executor": "slurm"}, None),
        ({"executor": "slurm", "default-storage-provider": "s3"}, "cloud"),
        ({"executor": "kubernetes"}, "cloud"),
        ({"executor": "googlebatch", "default-storage-provider": "s3"}, "batch"),
        ({"executor": "aws-batch", "default-storage-provider": "s3"}, "batch"),
    ],
)
def test_a_run_goes_on_where_all_its_plugins_are(settings, expected):
    # this environment has SLURM's plugin and none of the others
    assert storage.environment(settings) == expected


@pytest.mark.parametrize(
    ("prefix", "told"),
    [("$PUREPARALLEL_STORAGE", "is not set"), ("", "is not set"), ("bucket/x", "is bucket/x"), ("s3://", "is s3://")],
)
def test_a_place_that_is_none(prefix, told):
    with pytest.raises(UserError, match=f"PUREPARALLEL_STORAGE: {told.replace('$', '.')}; it must say where"):
        storage.check({"default-storage-provider": "s3", "default-storage-prefix": prefix})


def test_other_storage_and_none_are_not_looked_at():
    storage.check({})
    storage.check({"default-storage-provider": "gcs", "default-storage-prefix": "gs://bucket"})


def test_a_run_that_is_there_already_does_not_start_again(monkeypatch):
    monkeypatch.setenv("PIXI_ENVIRONMENT_NAME", "cloud")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started again, and so on for ever"))
    storage.go_on_in("cloud", [])

"""Profiles for object storage and clouds, as the executors' own parsers read them, and the image that jobs run in."""

import json
import os
import re

import pytest
import yaml

STORED = ("local-s3", "slurm-s3", "kubernetes", "googlebatch", "aws-batch")
CLOUDS = STORED[2:]

PARSE = """
import dataclasses, json, sys
from snakemake.cli import parse_args
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_storage_plugins.registry import StoragePluginRegistry
_, given = parse_args(["--profile", sys.argv[1]])
executor = given.executor or "local"
settings = ExecutorPluginRegistry().get_plugin(executor).get_settings(given)
storage = StoragePluginRegistry().get_plugin("s3").get_settings(given)
told = {"executor": executor, "settings": dataclasses.asdict(settings) if settings else {}}
told |= {"storage": given.default_storage_provider, "prefix": given.default_storage_prefix}
told |= {"shared": sorted(map(str, given.shared_fs_usage)), "image": given.container_image, "retries": given.retries}
told |= {"retries_of_store": storage.get_settings().retries}
print(json.dumps(told, default=str))
"""


def profile(root, name):
    return yaml.safe_load((root / "profiles" / name / "config.yaml").read_text())


@pytest.fixture
def parsed(root, run_in, tmp_path, monkeypatch):
    """What the real parsers of Snakemake and its plugins make of a profile."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(root / "profiles"))
    monkeypatch.setenv("PUREPARALLEL_STORAGE", "s3://bucket/survey")

    def parse(name):
        environment = "batch" if name in ("googlebatch", "aws-batch") else "cloud"
        return json.loads(run_in(environment, "python", "-c", PARSE, name, cwd=tmp_path).stdout.splitlines()[-1])

    return parse


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
def test_a_profile_is_read_by_the_parsers_of_its_plugins(parsed, name):
    told = parsed(name)
    assert told["executor"] == {"local-s3": "local", "slurm-s3": "slurm"}.get(name, name)
    assert (told["storage"], told["prefix"], told["retries_of_store"]) == ("s3", "s3://bucket/survey", 14)
    # what goes through the store is not taken for shared, or else products would stay where they were made
    assert "input-output" not in told["shared"]
    assert (told["shared"] == []) == (name in CLOUDS)
    assert told["retries"] >= 1


@pytest.mark.slow
def test_clouds_get_the_settings_that_their_profiles_give(parsed):
    assert parsed("kubernetes")["settings"]["namespace"] == "default"
    google = parsed("googlebatch")["settings"]
    assert (google["memory"], google["cpu_milli"], google["max_run_duration"]) == (8000, 2000, "14400s")
    amazon = parsed("aws-batch")["settings"]
    assert amazon["task_timeout"] == 14400
    assert amazon["job_queue"].startswith("arn:aws:batch:")


@pytest.mark.parametrize("name", STORED)
def test_a_profile_names_no_key_and_no_unknown_rule(root, name):
    text = (root / "profiles" / name / "config.yaml").read_text()
    keys = profile(root, name)
    assert not [key for key in keys if re.search("access-key|secret-key|token|endpoint", key)]
    rules = set(re.findall(r"^rule (\w+):", "\n".join(p.read_text() for p in root.glob("workflow/rules/*.smk")), re.M))
    named = {group.partition("=")[0] for group in keys.get("groups", ())} | set(keys.get("set-resources", ()))
    assert named <= rules
    assert "SNAKEMAKE_STORAGE_S3_SECRET_KEY" in text  # where it does belong is told


def test_slurm_with_a_store_is_slurm_otherwise(root):
    plain, stored = profile(root, "slurm"), profile(root, "slurm-s3")
    assert {key: value for key, value in stored.items() if key in plain} == plain
    assert not [key for key in set(stored) - set(plain) if "storage" not in key and key != "shared-fs-usage"]


def test_amazon_is_asked_for_memory_of_its_own_sizes_by_every_rule(root):
    asked = profile(root, "aws-batch")["set-resources"]
    blocks = [
        block
        for path in root.glob("workflow/rules/*.smk")
        for block in re.split(r"^(?=rule \w+:)", path.read_text(), flags=re.M)[1:]
    ]
    growing = {block.split()[1].rstrip(":") for block in blocks if "mem_mb=" in block and "localrule" not in block}
    assert set(asked) == growing
    assert {value["mem_mb"] for value in asked.values()} == {8192}  # of 1 and of 2 processors


def test_the_image_is_built_from_the_same_pins_and_has_what_rules_enter(root):
    text = (root / "Containerfile").read_text()
    (container,) = re.findall(r'^container: "docker://(.+)"$', (root / "workflow" / "Snakefile").read_text(), re.M)
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) == {container}
    installed = set(re.findall(r"-e ([a-z]+)", re.search(r"pixiw install (.*)", text)[1]))
    rules = "\n".join(path.read_text() for path in root.glob("workflow/rules/*.smk"))
    assert installed == set(re.findall(r"--as-is -e ([a-z]+)", rules)) | {"cloud"}
    ignored = (root / ".containerignore").read_text().splitlines()
    for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.M):
        for source in words.split()[:-1]:
            assert (root / source).exists()
            assert f"!{source.partition('/')[0]}" in ignored
    assert not re.search("USER (root|0)", text) and re.search(r"^USER \d+", text, re.M)


def test_a_plugin_that_a_profile_needs_is_in_the_environment_it_goes_on_in(root):
    from pureparallel import storage

    for name, environment in storage.ENVIRONMENTS.items():
        kind = "storage" if name == "s3" else "executor"
        pins = (root / "locks" / f"{environment}.txt").read_text()
        assert re.search(rf"^snakemake-{kind}-plugin-{name}==", pins, re.M), name
    assert "SNAKEMAKE_PROFILE" not in os.environ  # these tests would mean another profile

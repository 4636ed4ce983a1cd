"""What profiles and rules ask of a cluster."""

import collections
import importlib.util
import re
from types import SimpleNamespace

import pytest
import yaml


@pytest.fixture(scope="module")
def resources(root):
    """The benchmark that compares what is asked for with what was taken."""
    spec = importlib.util.spec_from_file_location("resources", root / "benchmarks" / "resources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def slurm(root):
    return yaml.safe_load((root / "profiles" / "slurm" / "config.yaml").read_text())


def test_memory_is_between_once_and_twice_what_was_measured(resources):
    peaks = resources.peaks()
    assert len({rule for rule, *_ in peaks}) >= 15
    assert {"512", "2048"} <= {width for rule, width, _ in peaks if rule == "detector1"}
    off = {key: mem for key, peak in peaks.items() if not 1.2 <= (mem := key[2] / (peak + resources.STARTERS)) <= 2}
    assert off == {}


def test_memory_grows_with_size_and_attempt(resources):
    rules = resources.asked()
    for row in resources.measured():
        first = resources.request(rules[row["rule"]], row)
        assert resources.request(rules[row["rule"]], row, attempt=3) == pytest.approx(3 * first, abs=3)
    rate = next(row for row in resources.measured() if row["rule"] == "image2")
    twice = rate | {key: str(2 * float(rate[key])) for key in ("largest_mb", "total_mb")}
    assert resources.request(rules["image2"], twice) > resources.request(rules["image2"], rate) + 4 * 5


def test_only_profiles_repeat_jobs(root, slurm):
    """In a rule, retries multiply with those of a cluster's job."""
    assert slurm["retries"] == 2
    for path in root.glob("workflow/**/*.smk"):
        assert not re.search(r"^\s*retries:", path.read_text(), re.M), path


def test_jobs_in_a_group_tell_their_size_by_what_is_there_before_it(root, slurm):
    """Snakemake leaves out of a group's memory and time what grows with files that the group itself makes."""
    rules = {}
    for path in root.glob("workflow/rules/*.smk"):
        for block in re.split(r"^rule ", path.read_text(), flags=re.M)[1:]:
            rules[block.partition(":")[0]] = block
    groups = collections.defaultdict(list)
    for rule, _, group in (one.partition("=") for one in slurm["groups"]):
        groups[group].append(rule)
    assert {"masks", "selection"} <= set(groups)
    for members in groups.values():
        parts = {rule: re.split(r"^    (?=\w+:)", rules[rule], flags=re.M) for rule in members}
        made = {path for part in parts.values() for path in re.findall(r'"(<results>[^"]*)"', section(part, "output"))}
        for rule, part in parts.items():
            inputs = dict(re.findall(r"^        (\w+)=(.*)$", section(part, "input"), re.M))
            for call in re.findall(r"growing\((.*?)\)", section(part, "resources")):
                if "per_mb" in call:
                    named = re.search(r'of="([\w ]+)"', call)
                    counted = [inputs[name] for name in (named[1].split() if named else inputs)]
                    assert not [path for path in made for text in counted if f'"{path}"' in text], (rule, call)


def section(parts, name):
    """A section of a rule, by its name."""
    return next((part for part in parts if part.startswith(f"{name}:")), "")


def test_jobs_ask_for_no_tasks(slurm):
    """The jobs of a group that run at once would ask for as many tasks, with the cores of all of them for each."""
    assert "tasks" not in slurm["default-resources"]
    assert any(group.startswith("exposures=") for group in slurm["group-components"])


def test_jobs_are_looked_after_by_squeue(slurm):
    assert slurm["slurm-status-command"] == "squeue"
    assert slurm["slurm-no-requeue"] is True


@pytest.mark.parametrize(
    ("mem_mb", "runtime", "expected"), [(4000, 60, "short"), (4000, 2000, "long"), (400000, 600, "highmem")]
)
def test_the_example_of_partitions_picks_the_one_that_fits(root, mem_mb, runtime, expected):
    partitions = pytest.importorskip("snakemake_executor_plugin_slurm.partitions")
    found = partitions.read_partition_file(root / "profiles" / "slurm" / "partitions.yaml")
    wanted = {"mem_mb": mem_mb, "runtime": runtime, "tasks": 1}
    job = SimpleNamespace(resources=wanted, threads=1, name="job", is_group=lambda: False)
    quiet = SimpleNamespace(warning=print, info=print, debug=print)
    assert partitions.get_best_partition(found, job, quiet) == expected

"""The committed locks are what locks/lock.py writes, belong together, and name no package registry."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from rattler import LockFile

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = tomllib.loads((ROOT / "pixi.toml").read_text())
ENVIRONMENTS = sorted({"default", *MANIFEST["environments"]})
DIGESTS = json.loads((ROOT / "locks" / "digests.json").read_text())
PIN = re.compile(r"^(?P<name>[\w.-]+)(?:\[.*\])?==(?P<version>[^\s;]+)", re.MULTILINE)
TASK_KEYS = {"cmd", "env", "cwd", "depends-on", "default-environment", "description"}


def check_locks(root):
    command = [sys.executable, "locks/lock.py", "--check"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path):
    """A copy of what lock.py reads."""
    names = ["pixi.toml", "pixi.lock", "resources/conda_records.json"]
    names += [path.relative_to(ROOT) for path in (ROOT / "locks").iterdir() if path.is_file()]
    for name in names:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target)
    return tmp_path


def pins(environment):
    text = (ROOT / "locks" / f"{environment}.txt").read_text()
    found: dict[str, list[str]] = {}
    for match in PIN.finditer(text):
        found.setdefault(match["name"].lower(), []).append(match["version"])
    return found


def wishes(name):
    """The requirements in a .in file, those it includes too."""
    for line in (ROOT / "locks" / f"{name}.in").read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            yield from wishes(line[3:].removesuffix(".in"))
        elif line and not line.startswith("-c "):
            yield Requirement(line)


def test_nothing_has_drifted():
    result = check_locks(ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("locks/jwst.in", "jwst==3.0.0", "jwst>=2", "locks/jwst.in changed since the locks were written"),
        ("locks/jwst.txt", "sha256:0", "sha256:1", "locks/jwst.txt changed since the locks were written"),
        ("locks/jwst.txt", "sha256:0", "sha256:1", "environment jwst has another digest"),
        ("pixi.lock", "size: 2", "size: 3", "pixi.lock is not what pixi.toml and resources/conda_records.json give"),
        ("pixi.toml", 'dev = []', 'dev = ["build"]', "pixi.lock is not what pixi.toml"),
        ("pixi.toml", 'dev = []', 'dev = []\nmore = []', "locks/more.in is missing"),
        ("resources/conda_records.json", '"size": 2', '"size": 3', "resources/conda_records.json changed"),
    ],
)  # fmt: skip
def test_every_drift_is_named_with_its_mend(checkout, name, old, new, problem):
    text = (checkout / name).read_text()
    assert old in text
    (checkout / name).write_text(text.replace(old, new, 1))
    result = check_locks(checkout)
    assert result.returncode == 1
    assert problem in result.stderr
    assert "pixi run lock" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_table_of_conda_records_can_be_taken_from_the_lock(checkout):
    code = "import conda_lock, json, pathlib; print(json.dumps(conda_lock.records_of(pathlib.Path('../pixi.lock'))))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=checkout / "locks", capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == json.loads((ROOT / "resources" / "conda_records.json").read_text())["records"]


def test_the_pixi_lock_is_canonical_and_complete(tmp_path):
    lock = LockFile.from_path(ROOT / "pixi.lock")
    lock.to_path(tmp_path / "again.lock")
    assert (tmp_path / "again.lock").read_text() == (ROOT / "pixi.lock").read_text()
    environments = dict(lock.environments())
    assert sorted(environments) == ENVIRONMENTS
    for name, environment in environments.items():
        for platform, records in environment.conda_repodata_records().items():
            names = {record.name.normalized for record in records}
            assert {"python", "uv"} <= names, (name, platform)
            assert ("c-compiler" in names) == (name == "msaexp"), (name, platform)


@pytest.mark.parametrize("name", [*ENVIRONMENTS, "build", "uv"])
def test_pins_fulfil_the_wishes_and_carry_hashes(name):
    pinned = pins(name)
    for wish in wishes(name):
        versions = pinned.get(wish.name.lower())
        assert versions, f"{wish} is not pinned in locks/{name}.txt"
        assert any(wish.specifier.contains(version, prereleases=True) for version in versions), wish
    blocks = re.split(r"\n(?=\S)", (ROOT / "locks" / f"{name}.txt").read_text())
    for block in blocks:
        assert block.startswith("#") or "--hash=sha256:" in block, block


def test_the_development_environment_tests_the_versions_that_default_runs():
    pinned = pins("dev")
    assert {name: pinned.get(name) for name in pins("default")} == pins("default")


def test_every_environment_has_a_digest_of_its_own():
    assert sorted(DIGESTS["environments"]) == ENVIRONMENTS
    assert len(set(DIGESTS["environments"].values())) == len(ENVIRONMENTS)


def test_no_tracked_file_of_the_locks_names_a_registry():
    address = r"pypi[.](org|python)|python[h]osted|registry[.]npmj[s]|debian[.]org|/simple\b"
    registry = re.compile(address, re.IGNORECASE)
    files = [
        ROOT / "pixi.toml",
        ROOT / "pixi.lock",
        ROOT / "pixiw",
        ROOT / "resources" / "conda_records.json",
    ]
    files += [path for path in (ROOT / "locks").iterdir() if path.is_file()]
    assert len(files) > 15
    assert not [path.name for path in files if registry.search(path.read_text())]


def test_the_manifest_keeps_to_what_both_launchers_know():
    allowed = {"workspace", "dependencies", "feature", "environments", "activation", "tasks"}
    assert set(MANIFEST) == allowed
    assert set(MANIFEST["activation"]) == {"env"}
    assert {key for feature in MANIFEST["feature"].values() for key in feature} <= {
        "dependencies",
        "activation",
    }
    for name, task in MANIFEST["tasks"].items():
        assert set(task) <= TASK_KEYS, name
        assert task.get("default-environment", "default") in ENVIRONMENTS, name
        for needed in task.get("depends-on", []):
            assert needed["task"] in MANIFEST["tasks"], name
            assert needed["environment"] in ENVIRONMENTS, name


def test_every_task_but_install_first_installs_the_environment_it_runs_in():
    for name, task in MANIFEST["tasks"].items():
        if name != "install":
            needed = {"task": "install", "environment": task["default-environment"]}
            assert needed in task["depends-on"], name


def test_pixiw_lists_the_tasks_of_the_manifest():
    listing = subprocess.run([ROOT / "pixiw", "run"], capture_output=True, text=True, check=True).stdout.splitlines()
    described = {line.split()[0]: line.split(maxsplit=1)[1] for line in listing}
    assert described == {name: task["description"] for name, task in MANIFEST["tasks"].items()}

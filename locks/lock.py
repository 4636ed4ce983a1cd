"""Write the locks of every environment, or compare them: `pixi run lock [--check] [--upgrade] [--adopt]`.

- locks/<environment>.txt: versions and sha256 of all PyPI packages, from the wishes in <environment>.in.
  Pins stay as they are where they still serve; --upgrade moves them. No file names a registry.
- pixi.lock: the conda half, see conda_lock.py. Where a conda channel is reachable, `pixi lock` does the same
  job; follow it with `pixi run lock --adopt`.
- locks/digests.json: a digest per environment, of its conda packages and its pins, by which the workflow tells
  results of one environment from those of the next; and the sha256 of every input, to see that none has changed.

--check writes nothing and exits with 1 where a file is not what this script would write.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import conda_lock
import yaml

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
PIXI_LOCK = ROOT / "pixi.lock"
RECORDS = ROOT / "resources" / "conda_records.json"
DIGESTS = LOCKS / "digests.json"
TOOLS = ["build", "uv"]  # pins that are no environment: what sources are built with, what pixiw installs with


class LockError(Exception):
    """A condition the user can mend; the message says how."""


def manifest() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pixi.toml").read_text())


def environments() -> list[str]:
    return sorted({"default", *manifest()["environments"]})


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compile_pins(name: str, upgrade: bool) -> None:
    """Resolve <name>.in to <name>.txt for every platform, without this machine's settings for pip and uv."""
    local = (
        "UV_INDEX",
        "UV_DEFAULT_INDEX",
        "UV_EXTRA_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
    )
    env = {k: v for k, v in os.environ.items() if k not in local and not k.startswith("PIP_")}
    env |= {"UV_NO_CONFIG": "1", "UV_CUSTOM_COMPILE_COMMAND": "pixi run lock"}
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.12",
        "--generate-hashes",
    ]
    command += ["--no-emit-index-url", "--no-annotate", *["--upgrade"] * upgrade]
    command += ["--output-file", f"locks/{name}.txt", f"locks/{name}.in"]
    print(f"locks/{name}.txt: resolving", file=sys.stderr, flush=True)
    if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
        raise LockError(f"locks/{name}.in: uv found no solution, see above")


def pixi_lock_text() -> str:
    """pixi.lock as rattler writes it from the manifest and the table of records."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "pixi.lock"
        conda_lock.write_pixi_lock(manifest(), json.loads(RECORDS.read_text()), target)
        return target.read_text()


def adopt_records() -> None:
    """Take the records in pixi.lock, as pixi wrote it, for the table."""
    table = json.loads(RECORDS.read_text())
    table["records"] = conda_lock.records_of(PIXI_LOCK)
    RECORDS.write_text(json.dumps(table, indent=1) + "\n")


def environment_digest(name: str, lock: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits that change with any package of the environment, on any platform."""
    packages = {package["conda"]: package["sha256"] for package in lock["packages"]}
    digest = hashlib.sha256()
    for platform, rows in sorted(lock["environments"][name]["packages"].items()):
        for url in sorted(row["conda"] for row in rows):
            digest.update(f"{platform} {url} {packages[url]}\n".encode())
    for pins in (LOCKS / f"{name}.txt", LOCKS / "build.txt"):
        digest.update(pins.read_bytes())
    return digest.hexdigest()[:16]


def digests_text() -> str:
    lock = yaml.safe_load(PIXI_LOCK.read_text())
    inputs = sorted([*LOCKS.glob("*.in"), *LOCKS.glob("*.txt"), RECORDS, PIXI_LOCK])
    content = {
        "environments": {name: environment_digest(name, lock) for name in environments()},
        "files": {path.relative_to(ROOT).as_posix(): sha256(path) for path in inputs},
    }
    return json.dumps(content, indent=1) + "\n"


def write(upgrade: bool, adopt: bool) -> None:
    for name in [*environments(), *TOOLS]:
        compile_pins(name, upgrade)
    if adopt:
        adopt_records()
    PIXI_LOCK.write_text(pixi_lock_text())
    DIGESTS.write_text(digests_text())
    print("locks written; look at the changes with: git diff --stat", file=sys.stderr)


def drift() -> list[str]:
    """What differs from what this script wrote, and would write: one line per file, with the mend."""
    expected = [LOCKS / f"{name}{end}" for name in [*environments(), *TOOLS] for end in (".in", ".txt")]
    missing = [path for path in [*expected, RECORDS, PIXI_LOCK, DIGESTS] if not path.exists()]
    if missing:
        return [f"{path.relative_to(ROOT)} is missing: add its wishes (.in), run: pixi run lock" for path in missing]
    problems = []
    recorded = json.loads(DIGESTS.read_text())
    now = json.loads(digests_text())
    for path in sorted(recorded["files"] | now["files"]):
        if recorded["files"].get(path) != now["files"].get(path):
            problems.append(f"{path} changed since the locks were written. Run: pixi run lock")
    for name in sorted(recorded["environments"] | now["environments"]):
        if recorded["environments"].get(name) != now["environments"].get(name):
            problems.append(f"locks/digests.json: environment {name} has another digest now. Run: pixi run lock")
    if PIXI_LOCK.read_text() != pixi_lock_text():
        problems.append(
            "pixi.lock is not what pixi.toml and resources/conda_records.json give. Run: pixi run lock "
            "(with --adopt if pixi wrote it)"
        )
    return problems


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pixi run lock", description="Write or compare the locks.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file has drifted")
    parser.add_argument("--upgrade", action="store_true", help="move the PyPI pins to the newest versions")
    parser.add_argument("--adopt", action="store_true", help="keep the conda packages that pixi.lock holds")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            problems = drift()
            print("\n".join(problems) or "locks: as written", file=sys.stderr)
            return 1 if problems else 0
        write(options.upgrade, options.adopt)
    except (LockError, OSError) as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A small project that pixiw and locks/sync.py work on: one real package, a folder with spaces in its name."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "iniconfig"  # pure Python, no dependencies, 7 kB
MANIFEST = """
[workspace]
name = "small"
version = "7.8.9"
channels = ["conda-forge"]
platforms = ["linux-64"]

[dependencies]
python = "3.12.*"

[environments]
other = []

[activation.env]
GREETING = "hello"
WHERE = "$PIXI_PROJECT_ROOT/data"
MPLBACKEND = "Agg"

[tasks]
install = "python locks/sync.py"
show = "python show.py"
shell = "echo $GREETING > said; python show.py"
fail = "python -c 'raise SystemExit(3)'"
first = { cmd = "echo first >> order" }
second = { cmd = "echo second >> order", depends-on = ["first"] }
third = { cmd = "echo third >> order", depends-on = ["first", "second", { task = "install", environment = "other" }] }
after-fail = { cmd = "echo never > never", depends-on = ["fail"] }
elsewhere = { cmd = "python ../show.py", cwd = "data", env = { EXTRA = "$GREETING you" } }

[tasks.in-other]
cmd = "python show.py"
default-environment = "other"
depends-on = [{ task = "install", environment = "other" }]
"""
SHOW = """
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "prefix": sys.prefix, "env": dict(os.environ)}))
"""


def pins_of(package: str) -> str:
    """The lines of a package in the development lock."""
    text = (ROOT / "locks" / "dev.txt").read_text()
    match = re.search(rf"^{package}==.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    assert match, f"locks/dev.txt no longer pins {package}: choose another small package for these tests"
    return match[0]


class Project:
    """A checkout of the small project, and how to run its pixiw with nothing of this machine on PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "locks").mkdir(parents=True)
        (root / "data").mkdir()
        shutil.copy(ROOT / "pixiw", root)
        for name in ("sync.py", "venvs.py", "uv.txt"):
            shutil.copy(ROOT / "locks" / name, root / "locks")
        (root / "pixi.toml").write_text(MANIFEST)
        (root / "show.py").write_text(SHOW)
        for name in ("default", "other"):
            (root / "locks" / f"{name}.txt").write_text(pins_of(PACKAGE))
        self.bin = root.parent / "bin"
        self.bin.mkdir(exist_ok=True)
        tools = {
            "python3.12": sys._base_executable,
            "python3": sys._base_executable,
            "uv": shutil.which("uv"),
        }
        for name, target in tools.items():
            if target and not (self.bin / name).exists():
                (self.bin / name).symlink_to(Path(target).resolve())
        kept = {name: os.environ[name] for name in ("HOME", "SSL_CERT_FILE", "UV_CACHE_DIR") if name in os.environ}
        self.env = kept | {"PATH": f"{self.bin}:/usr/bin:/bin"}

    def command(self, *words: str) -> list[str]:
        return [str(self.root / "pixiw"), *words]

    def pixiw(self, *words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=cwd or self.root,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )

    def uses_package(self, environment: str = "default") -> bool:
        """Whether a command in the environment is allowed, and finds the package whole."""
        code = f"import {PACKAGE}; {PACKAGE}.IniConfig"
        return self.pixiw("run", "-e", environment, "python", "-c", code).returncode == 0

    def change_lock(self, environment: str = "default") -> None:
        with (self.root / "locks" / f"{environment}.txt").open("a") as file:
            file.write("# changed\n")


@pytest.fixture
def pins() -> Callable[[str], str]:
    return pins_of


@pytest.fixture
def make_project() -> type[Project]:
    return Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh checkout, nothing installed."""
    return Project(tmp_path / "a small project")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with its default environment installed; tests leave it so."""
    small = Project(tmp_path_factory.mktemp("installed") / "a small project")
    result = small.pixiw("install")
    assert result.returncode == 0, result.stderr
    return small


@pytest.fixture
def as_nobody() -> list[str]:
    """Words before a command that run it as a user who may read everything and write nothing."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become another user")
    capability = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *capability]

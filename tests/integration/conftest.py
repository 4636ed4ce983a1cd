"""A copy of the checkout, in a folder with a space in its name, on which the demonstration has run."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PARTS = ("config", "locks", "profiles", "resources", "workflow", "pixi.toml", "pixi.lock")


@pytest.fixture(scope="session")
def secret() -> str:
    """The token that the demonstration runs with."""
    return "a-token-that-must-never-be-seen"


@pytest.fixture(scope="session")
def demo(root: Path, secret: str, tmp_path_factory: pytest.TempPathFactory, run_in: Callable) -> Path:
    """Folder of the copy. Its rules run the checkout's own environments, by a launcher that passes on."""
    copy = tmp_path_factory.mktemp("demo") / "a checkout"
    copy.mkdir()
    for part in PARTS:
        if (root / part).is_dir():
            shutil.copytree(root / part, copy / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / part, copy / part)
    launcher = copy / "pixiw"
    launcher.write_text(f'#!/bin/sh\nexec "{root}/pixiw" "$@"\n')
    launcher.chmod(0o755)
    os.environ["MAST_API_TOKEN"] = secret
    try:
        run_in("default", "python", "-m", "pureparallel.demo", cwd=copy)
    finally:
        del os.environ["MAST_API_TOKEN"]
    return copy


@pytest.fixture
def copied(demo: Path, tmp_path: Path) -> Path:
    """A copy of the finished demonstration that a test may change."""
    folder = shutil.copytree(demo, tmp_path / "its own", symlinks=True, ignore=shutil.ignore_patterns("results"))
    # products are replaced and never written to, so that links to them will do
    shutil.copytree(demo / "results", folder / "results", copy_function=os.link)
    return folder


@pytest.fixture(scope="session")
def planned(run_in: Callable) -> Callable[..., set[str]]:
    """Names of the rules that a run would run now."""

    def rules(folder: Path, *arguments: str) -> set[str]:
        done: subprocess.CompletedProcess[str] = run_in(
            "default", "python", "-m", "pureparallel.launch", "-n", *arguments, cwd=folder
        )
        text = done.stdout + done.stderr
        if "Nothing to be done" in text:
            return set()
        table = text.partition("Job stats:")[2].partition("total")[0]
        return set(re.findall(r"^(\w+) +\d+$", table, re.M)) - {"job", "all"}

    return rules

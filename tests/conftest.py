"""What all tests share: the checkout, and its launcher."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def run_in() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in one of the environments, as a rule does."""

    def run(environment: str, *command: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        launcher = [str(ROOT / "pixiw"), "run", "--as-is", "-e", environment]
        done = subprocess.run(
            [*launcher, *map(str, command)], cwd=cwd, capture_output=True, text=True, env=os.environ, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run

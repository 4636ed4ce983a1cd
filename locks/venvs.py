"""Virtual environments for pixiw, where there is no pixi: Python 3.12, uv, an empty environment to sync."""

# Any Python from 3.8 on may import this, to find a newer one.
from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys

import sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_UV = (0, 5, 1)


def output(*command: str) -> str:
    """Standard output of a command, stripped; empty if it fails or does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def is_312(program: str) -> bool:
    return output(program, "-I", "-S", "-c", "import sys; print(*sys.version_info[:2])") == "3 12"


def find_python(root: str) -> str:
    """A Python 3.12: this one, PATH, pyenv's versions, uv's, pixi's."""

    def candidates() -> Iterator[str | None]:
        yield sys.executable
        yield from map(shutil.which, ("python3.12", "python3", "python"))
        pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
        versions = glob.glob(os.path.join(glob.escape(pyenv), "versions", "3.12*", "bin", "python3.12"))
        yield from sorted(versions, reverse=True)
        yield output("uv", "python", "find", "3.12")
        yield os.path.join(root, ".pixi", "envs", "default", "bin", "python")

    for candidate in candidates():
        if candidate and is_312(candidate):
            # Of a version manager's shim or a virtual environment, the interpreter behind it.
            base = output(candidate, "-I", "-c", "import sys; print(sys._base_executable)")
            return os.path.realpath(base or candidate)
    raise sync.Refusal(
        "found no Python 3.12 on PATH, among pyenv's versions or uv's. Install one (pyenv install 3.12, "
        "uv python install 3.12, or your system's python3.12 package), or install pixi"
    )


def record_python(root: str, python: str) -> None:
    """Leave a link to the interpreter, for the first lines of pixiw."""
    link = os.path.join(root, ".pixiw", "python")
    if os.path.realpath(link) != python:
        temporary = f"{link}.{os.getpid()}"
        os.symlink(python, temporary)
        os.replace(temporary, link)


def _uv_version(program: str) -> tuple[int, ...]:
    words = output(program, "--version").split()
    try:
        return tuple(int(part) for part in words[1].split(".")[:3])
    except (IndexError, ValueError):
        return ()


def ensure_uv(root: str, python: str) -> None:
    """See that there is a uv: the one on PATH if it is new enough, or else the pinned one, in .pixiw/uv."""
    folder = os.path.join(root, ".pixiw", "uv")
    own, found = os.path.join(folder, "bin", "uv"), shutil.which("uv")
    if (found and _uv_version(found) >= OLDEST_UV) or _uv_version(own):
        return
    with sync.locked(root, "uv"):
        if _uv_version(own):
            return
        shutil.rmtree(folder, ignore_errors=True)
        if not output(python, "-m", "pip", "--version"):
            raise sync.Refusal(
                f"found neither uv nor pip for {python}. Install one of them: uv, or pip for this Python "
                "(python -m ensurepip, or your system's python3-pip package)"
            )
        sync.say("uv: fetching it with pip, some seconds")
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-user"]
        command += ["--require-hashes", "--no-deps", "--target", folder]
        command += ["-r", os.path.join(root, "locks", "uv.txt")]
        if subprocess.run(command, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}, check=False).returncode:
            space = sync.space_message(folder)[0]
            raise sync.Refusal(f"pip could not fetch uv, see above. Free space: {space}")


def make(root: str, environment: str, python: str) -> None:
    """Make the virtual environment .pixiw/<environment>, also where a broken one is."""
    prefix = os.path.join(root, ".pixiw", environment)
    with sync.locked(root, environment):
        has_settings = os.path.exists(os.path.join(prefix, "pyvenv.cfg"))  # written last but for the links
        if has_settings and is_312(os.path.join(prefix, "bin", "python")):
            return
        command = [python, "-I", "-m", "venv", "--without-pip", "--clear", prefix]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            why = ((result.stderr or result.stdout).strip().splitlines() or ["no reason given"])[-1]
            space = sync.space_message(prefix)[0]
            raise sync.Refusal(f"could not make the virtual environment {prefix}: {why}. Free space: {space}")

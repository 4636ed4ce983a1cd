"""Small fields whose products go to an object store: their folder, their runs, and what must never be seen."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..slurm import field
from .server import SECRET_KEY, Swift

BUCKET = "survey"
THEIRS = {"theirs/thesis.txt": b"ten years of work", "results/theirs.fits": b"theirs as well"}
"""What somebody else keeps in the bucket."""

LAUNCH = [str(field.ROOT / "pixiw"), "run", "--as-is", "-e", "default", "python", "-m", "pureparallel.launch"]
"""As the task `snakemake` starts it."""


def checkout(folder: Path, *fields: str) -> Path:
    """A copy of what the workflow consists of, with fields that come with it, or the tiny one."""
    field.checkout(folder)
    for name in fields:
        for path in (field.ROOT / "config" / "fields").glob(f"{name}.*"):
            shutil.copy(path, folder / "config" / "fields")
    (folder / "config" / "config.yaml").write_text(f"fields: [{', '.join(fields or ('tiny',))}]\n")
    return folder


def start(folder: Path, store: Swift, profile: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a run; what it prints goes to a file in the folder."""
    told = store.environment | {"PUREPARALLEL_STORAGE": f"s3://{BUCKET}/{folder.parent.name}", **environment}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with (folder / "run.log").open("a") as log:
        return subprocess.Popen(
            [*LAUNCH, "--profile", profile, *arguments], cwd=folder, env=os.environ | threads | told,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True,
        )  # fmt: skip


def run(folder: Path, store: Swift, profile: str, *arguments: str, **environment: str) -> str:
    """Run it to its end, which must be a good one; what it printed."""
    process = start(folder, store, profile, *arguments, **environment)
    code, told = process.wait(1800), (folder / "run.log").read_text()
    assert code == 0, told[-8000:]
    return told


def refused(folder: Path, store: Swift, **environment: str) -> str:
    """Run it with something wrong; what it said."""
    process = start(folder, store, "local-s3", **environment)
    assert process.wait(300) != 0
    return (folder / "run.log").read_text()


def fetched(store: Swift, folder: Path, to: Path) -> Path:
    """All products of a folder's run, as files."""
    prefix = f"{folder.parent.name}/"
    for key in store.keys(BUCKET, prefix):
        path = to / key.removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(BUCKET, key))
    return to


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """All command lines that are seen on this machine meanwhile."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def leaks(*places: Path) -> list[str]:
    """Files that the secret key stands in."""
    files = (path for place in places for path in place.rglob("*") if path.is_file())
    return [str(path) for path in files if SECRET_KEY.encode() in path.read_bytes()]


def is_theirs_untouched(store: Swift) -> bool:
    """Whether what somebody else keeps in the bucket is as it was."""
    return {key: store.get(BUCKET, key) for key in THEIRS} == THEIRS


def image(folder: Path, bin_folder: Path) -> Mapping[str, str]:
    """What the container image gives its processes, with the environments of this checkout instead of its own."""
    shim = folder / "bin"
    shim.mkdir(parents=True)
    (shim / "pip").write_text("#!/bin/sh\nexit 0\n")
    (shim / "pip").chmod(0o755)
    path = f"{shim}:{bin_folder}:/usr/bin:/bin"
    return {"PATH": path, "PUREPARALLEL_ROOT": str(field.ROOT), "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}


def wait_for_key(store: Swift, prefix: str, seconds: float = 300) -> None:
    """Wait until something is stored below a prefix."""
    end = time.monotonic() + seconds
    while not store.keys(BUCKET, prefix):
        assert time.monotonic() < end, f"nothing below {prefix} after {seconds} s"
        time.sleep(0.5)

"""Lineage: what a product was made from, by what, with which options. Free of hosts, users and their paths."""

import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import ROOT, __version__

if TYPE_CHECKING:
    from astropy.io.fits import Header

DEPENDENCIES = (
    "numpy", "scipy", "astropy", "photutils", "jwst", "crds", "snowblind", "msaexp", "grizli", "eazy", "astro-sedpy",
)  # fmt: skip
"""Distributions whose versions a product records, where they are installed; the lock's digest covers the rest."""


@cache
def commit() -> str:
    """Commit of the checkout, with ``-dirty`` where files differ from it; ``unknown`` outside a repository.

    A container's checkout is none; its image tells.
    """
    if told := os.environ.get("PUREPARALLEL_COMMIT"):
        return told
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, env=environment, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


@cache
def environment() -> tuple[str, str]:
    """Name and lock digest of the environment that this process runs in."""
    name = os.environ.get("PIXI_ENVIRONMENT_NAME", "unknown")
    digests = json.loads((ROOT / "locks" / "digests.json").read_text())["environments"]
    return name, digests.get(name, "unknown")


@cache
def dependencies() -> dict[str, str]:
    """Versions of the installed `DEPENDENCIES`."""
    found = {}
    for name in DEPENDENCIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: Any) -> str:
    """SHA-256 of a JSON-like value, in a canonical form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def command_line(arguments: Iterable[str] | None = None) -> str:
    """The command of this step, with paths relative to the checkout or the working folder and never absolute."""
    arguments = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["pureparallel", *map(_relative, arguments)])


def _relative(argument: str) -> str:
    path = Path(argument)
    if not path.is_absolute():
        return argument
    for base in (Path.cwd(), ROOT):
        if path.is_relative_to(base):
            return str(path.relative_to(base))
    return path.name


@dataclass(frozen=True)
class Lineage:
    """One record of lineage, shared by all products of one run of a step.

    Attributes
    ----------
    step : str
    inputs : tuple of (name, sha256)
    options : mapping
        The step's options, as it ran with them.
    date : str
        ISO 8601, UTC.
    """

    step: str
    inputs: tuple[tuple[str, str], ...]
    options: Mapping[str, Any]
    date: str

    @classmethod
    def of(cls, step: str, inputs: Iterable[Path], **options: Any) -> "Lineage":
        """Record `step` with its `inputs` (hashed now) and `options`."""
        hashed = tuple((path.name, sha256(path)) for path in inputs)
        options = {key: _relative(value) if isinstance(value, str) else value for key, value in options.items()}
        return cls(step, hashed, options, datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self, *, product: str, digest: str) -> dict[str, Any]:
        """Everything, for the sidecar of `product`, whose SHA-256 is `digest`."""
        return {"product": {"name": product, "sha256": digest}, **self.record()}

    def record(self) -> dict[str, Any]:
        """Everything but the product."""
        name, lock = environment()
        return {
            "step": self.step,
            "date": self.date,
            "command": command_line(),
            "options": dict(self.options),
            "config_sha256": digest(self.options),
            "inputs": [{"name": name, "sha256": value} for name, value in self.inputs],
            "software": {
                "pureparallel": __version__,
                "commit": commit(),
                "python": platform.python_version(),
                **dependencies(),
            },
            "environment": {"name": name, "lock_digest": lock},
        }

    def to_header(self, header: "Header") -> None:
        """Write the record into a FITS header, as ``PP*`` keywords (long values by CONTINUE)."""
        record = self.record()
        header["PPSTEP"] = (record["step"], "pureparallel step")
        header["PPVERS"] = (record["software"]["pureparallel"], "pureparallel version")
        header["PPCOMMIT"] = record["software"]["commit"]
        header["PPDATE"] = (record["date"], "UTC of this step")
        header["PPENV"] = (record["environment"]["name"], "environment")
        header["PPLOCK"] = (record["environment"]["lock_digest"], "digest of the environment's lock")
        header["PPCONFIG"] = record["config_sha256"]
        header["PPCMD"] = record["command"]
        for i, (name, version) in enumerate(sorted(record["software"].items()), start=1):
            header[f"PPSOFT{i:02d}"] = f"{name} {version}"
        for i, (name, value) in enumerate(self.inputs, start=1):
            header[f"PPIN{i:04d}"] = f"{name} sha256:{value}"

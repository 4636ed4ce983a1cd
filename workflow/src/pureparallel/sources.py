"""Which files of this package a step's result depends on, found by following its imports."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def sources(step: str, package: Path) -> list[Path]:
    """The module of a step and all modules of the package that it imports, directly or not, sorted.

    Parameters
    ----------
    step : str
    package : Path
        Folder of the package.
    """
    found: set[Path] = set()
    waiting = [package / "steps" / f"{step}.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return sorted(found)


def stamp(step: str, package: Path, folder: Path) -> Path:
    """A file with the digests of a step's sources, written where one of them differs, with the newest one's time.

    Snakemake gets this one file as an input of every job: all sources, thirty each, would take a gigabyte to plan a
    survey of 60,000 jobs.

    Parameters
    ----------
    step : str
    package : Path
        Folder of the package.
    folder : Path
        Where the file is written.
    """
    files = sources(step, package)
    text = json.dumps({str(p.relative_to(package)): _digest(p) for p in files}, indent=1)
    path = folder / f"{step}.json"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{step}.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        newest = max(p.stat().st_mtime_ns for p in files)
        os.utime(part, ns=(newest, newest))
        part.replace(path)
    return path


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Remote jobs ask this again: the text is searched, because parsing the whole package would cost them a second.
_IMPORT = re.compile(r"^[ \t]*from (\.+)([\w.]*) import (?:\(([^)]*)\)|([^\n#]*))", re.M)


@cache
def imports(path: Path) -> tuple[Path, ...]:
    """Files of the modules that a module of the package imports, at its top or inside functions."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Path]:
    for dots, module, many, one in _IMPORT.findall(path.read_text(encoding="utf-8")):
        base = path.parents[len(dots) - 1].joinpath(*module.split("."))
        candidates = [base.with_suffix(".py")] if module else []
        listed = re.sub("#.*", "", many or one).split(",")
        candidates += [base / f"{name.split()[0]}.py" for name in listed if name.strip()]
        yield from (candidate for candidate in candidates if candidate.is_file())

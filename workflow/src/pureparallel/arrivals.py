"""Fields that have changed since they were last reduced: what all of a field hangs on is then brought up to date first.

A new exposure may need reference files, and moves the alignment's solution. Both belong to the whole field, so that a
single run of Snakemake, which plans before it knows what they leave as it was, does everything again. Made beforehand,
they are the same bytes wherever nothing of consequence changed, and Snakemake leaves alone what depends on them. A run
without this makes the same products, and more of them again.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import ROOT, UserError, config, io, schemas

RECORD = Path(".snakemake") / "pureparallel.fields.json"
"""Digests of the fields' configurations at the last run that left nothing to do."""


def survey(folder: Path, configfiles: list[Path]) -> tuple[dict[str, Any], Path]:
    """The survey's configuration, and the folder of its fields.

    Parameters
    ----------
    folder : Path
        The working folder.
    configfiles : list of Path
        Of the command line.
    """
    files = configfiles or [next(path for path in _usual(folder) if path.is_file())]
    content: dict[str, Any] = {}
    for path in files:
        content = schemas.merge(content, schemas.read_yaml(path))
    folders = [path.parent / "fields" for path in [*reversed(configfiles), *_usual(folder)]]
    return content, next(path for path in folders if path.is_dir())


def _usual(folder: Path) -> list[Path]:
    return [folder / "config" / "config.yaml", ROOT / "config" / "config.yaml"]


def digests(content: dict[str, Any], fields: Path) -> dict[str, str]:
    """A digest of all that a person can change, by field."""
    shared = json.dumps(content, sort_keys=True).encode()
    found = {}
    for name in content["fields"]:
        parts = [path.read_bytes() for path in (fields / f"{name}.yaml", fields / f"{name}.tsv")]
        found[name] = hashlib.sha256(b"\0".join([shared, *parts])).hexdigest()
    return found


def read(folder: Path) -> dict[str, str]:
    """The digests of the last run."""
    path = folder / RECORD
    try:
        return dict(io.read_json(path)) if path.is_file() else {}
    except UserError:
        return {}


def write(folder: Path, found: dict[str, str]) -> None:
    """Remember the digests of a run that left nothing to do."""
    if found != read(folder):
        io.write_json(folder / RECORD, found)


def passes(folder: Path, content: dict[str, Any], fields: Path, changed: list[str]) -> Iterator[list[str]]:
    """Targets to be made one list after the other, before all else; of fields that have been aligned before."""
    known = config.load(content, fields)
    results = Path(content.get("pathvars", {}).get("results", "results"))
    aligned = [name for name in changed if (folder / results / name / f"{name}_align.fits").is_file()]
    records = [
        str(path.relative_to(folder)) for name in aligned
        for path in sorted((folder / results / name).glob(f"{name}_references*.json"))
    ]  # fmt: skip
    places = [
        str(results / name / f"{name}_{filter}_placement.json") for name in aligned
        for filter in known[name].image_filters
    ]  # fmt: skip
    yield from filter(None, (records, places))

"""Configuration: the survey, its fields and their manifests, checked against the schemas, with every default set.

Imports nothing heavier than PyYAML and jsonschema: the workflow reads its configuration at parse time, again in every
job.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import jsonschema

from . import UserError, names
from .schemas import check, coerce, defaults, merge, nearest, read_yaml, schema
from .simulate import schedule

EXPOSURE_MODES = ("niriss_image", "niriss_wfss")
"""Modes whose files are raw exposures."""

NEEDED = {
    "nirspec_msa": ("slitlet", "source", "location"),
    "niriss_image": ("filter", "readpatt", "ngroups", "start"),
    "niriss_wfss": ("filter", "grism", "readpatt", "ngroups", "start"),
}
UNUSED = {
    "nirspec_msa": ("filter", "grism", "readpatt", "ngroups", "start"),
    "niriss_image": ("grism", "slitlet", "source"),
    "niriss_wfss": ("slitlet", "source"),
}
"""Columns of the manifest that a mode must fill, and must not."""


@dataclass(frozen=True, eq=False)  # itself and no other, so that what follows from it can be cached
class Field:
    """One field: its options with all defaults set, and its manifest's rows in order."""

    name: str
    options: Mapping[str, Any]
    manifest: tuple[Mapping[str, str], ...]

    def option(self, path: str) -> Any:
        """Value of an option such as ``msa_redshift.z_range``."""
        value: Any = self.options
        for key in path.split("."):
            value = value[key]
        return value

    def rows(self, mode: str) -> list[Mapping[str, str]]:
        """Rows of the manifest of one mode."""
        return [row for row in self.manifest if row["mode"] == mode]

    @property
    def is_simulated(self) -> bool:
        """Whether the raw exposures are simulated."""
        return bool(self.exposures) and self.option("source") == "simulate"

    @property
    def is_placed(self) -> bool:
        """Whether its manifest tells where every raw exposure looked."""
        return bool(self.exposures) and all(row["footprint"] for row in self.exposures.values())

    @property
    def options_json(self) -> str:
        """All options."""
        return json.dumps(self.options, sort_keys=True)

    @property
    def filters(self) -> list[str]:
        """Filters of the raw exposures, sorted."""
        return sorted({row["filter"] for row in self.exposures.values()})

    @property
    def image_filters(self) -> list[str]:
        """Filters of the direct images, sorted."""
        return sorted({row["filter"] for row in self.rows("niriss_image")})

    @cached_property
    def exposures(self) -> dict[str, Mapping[str, str]]:
        """Rows of the raw exposures by name, in the manifest's order."""
        return {row["exposure"]: row for row in self.manifest if row["mode"] in EXPOSURE_MODES}

    @cached_property
    def exposure_chunks(self) -> dict[str, list[str]]:
        """Exposures by chunk, those of one batch, mode and filter together and in the order of time.

        So what arrives later, as a batch of its own, leaves all chunks as they were.
        """
        kinds: dict[str, list[str]] = {}
        for name, row in sorted(self.exposures.items(), key=lambda item: (item[1]["start"], item[0])):
            kind = f"{row['filter']}-{row['mode'].removeprefix('niriss_')}"
            later = f"-{row['batch']}" if row["batch"] not in ("", "1") else ""
            kinds.setdefault(kind + later, []).append(name)
        size = self.option("detector1.chunk")
        return {
            f"{kind}-{number}": chunk
            for kind, members in sorted(kinds.items())
            for number, chunk in names.chunks(members, size).items()
        }

    @cached_property
    def image_chunks(self) -> dict[str, list[str]]:
        """Those of direct images."""
        return {name: chunk for name, chunk in self.exposure_chunks.items() if "-image-" in name}

    @cached_property
    def wfss_chunks(self) -> dict[str, list[str]]:
        """Those of dispersed exposures."""
        return {name: chunk for name, chunk in self.exposure_chunks.items() if "-wfss-" in name}

    @cached_property
    def slitlet(self) -> dict[str, Mapping[str, str]]:
        """Rows of the slitlets by file name."""
        return {names.slitlet_file(row): row for row in self.rows("nirspec_msa")}

    @cached_property
    def slitlets(self) -> dict[str, list[str]]:
        """File names of the slitlets by source, in the manifest's order."""
        found: dict[str, list[str]] = {}
        for file, row in self.slitlet.items():
            found.setdefault(row["source"], []).append(file)
        return found

    @cached_property
    def chunks(self) -> dict[str, list[str]]:
        """Sources with slitlets, by chunk."""
        return names.chunks(list(self.slitlets), self.option("msa_extract.chunk"))


class Fields(Mapping[str, Field]):
    """A survey's fields by name, each read when it is first asked for."""

    def __init__(self, listed: list[str], read: Callable[[str], Field]) -> None:
        self._read, self._known = read, dict.fromkeys(listed)
        self._found: dict[str, Field] = {}

    def __getitem__(self, name: str) -> Field:
        if name not in self._found:
            if name not in self._known:
                raise KeyError(name)
            self._found[name] = self._read(name)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def load(
    survey: dict[str, Any], folder: Path, *, where: str = "config/config.yaml", trusted: bool = False
) -> Mapping[str, Field]:
    """Check a survey's configuration and read its fields.

    Parameters
    ----------
    survey : dict
        Content of config.yaml, with what the command line added.
    folder : Path
        Holds <field>.yaml and <field>.tsv.
    where : str
        Name of the survey's file, for messages.
    trusted : bool
        Whether this was checked before, as in a cluster's job, by what submitted it: a field is then read without
        checks of its rows, and only when it is asked for.

    Returns
    -------
    mapping of str to Field

    Raises
    ------
    UserError
        For an unknown key, a value out of bounds, a field that nobody defined, a manifest that is not right.
    """
    survey = coerce(survey, schema("config"))
    if not trusted:
        check(survey, schema("config"), where)
    fields = Fields(survey["fields"], lambda name: load_field(name, survey, folder, where=where, trusted=trusted))
    if not trusted:
        dict(fields)
    return fields


def load_field(name: str, survey: Mapping[str, Any], folder: Path, *, where: str, trusted: bool = False) -> Field:
    """Read one field: schema defaults, overridden by the survey's, overridden by the field's own."""
    names.check("field", name, where=f"{where}: fields")
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise UserError(
            f"{where}: fields: nobody defined {name!r}: {path} does not exist{nearest(name, known)}; "
            f"fields defined: {', '.join(known) or 'none'}"
        )
    own = coerce(read_yaml(path), schema("field"))
    check(own, schema("field"), str(path))
    options = defaults(schema("field"))
    for layer in ({key: survey[key] for key in survey if key in options}, own):
        options = merge(options, layer)
    for step in ("fit_redshift", "msa_redshift"):
        low, high = options[step]["z_range"]
        if low >= high:
            raise UserError(f"{path} or {where}: {step}.z_range: {[low, high]} is empty; give low, high")
    field = Field(name, options, read_manifest(folder / f"{name}.tsv", trusted=trusted))
    if not trusted:
        _check_exposures(field, path)
    return field


def _check_exposures(field: Field, path: Path) -> None:
    """Check the raw exposures against the source that the field takes them from."""
    manifest = path.with_suffix(".tsv")
    if field.options["source"] == "simulate":
        schedule.check(list(field.exposures.values()), field.options, str(path))
        return
    if field.exposures and not field.option("crds.context"):
        raise UserError(f"{path}: crds.context: is empty; name the context of the reference files, as jwst_1413.pmap")
    for exposure, row in field.exposures.items():
        if not row["location"] and field.options["source"] == "files":
            raise UserError(
                f"{manifest}: location: of {exposure} is empty; give its file, or set source: simulate in {path}"
            )


def read_manifest(path: Path, *, trusted: bool = False) -> tuple[dict[str, str], ...]:
    """Read and check a field's manifest; the values of its rows are not checked where they are trusted.

    Returns
    -------
    tuple of dict
        A row per file, in order; absent optional columns are empty.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; every field has one beside its .yaml{_merged(path)}")
    columns = schema("manifest")["properties"]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not text in UTF-8: {error}") from error
    reader = csv.DictReader(text.splitlines(), delimiter="\t", restkey="", restval=None)
    header = reader.fieldnames or []
    for column in header:
        if column not in columns:
            raise UserError(f"{path}: unknown column {column!r}{nearest(column, list(columns))}")
    for column in schema("manifest")["required"]:
        if column not in header:
            raise UserError(f"{path}: column {column!r} is missing ({columns[column]['description']})")
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], int] = {}
    for read in reader:
        where = f"{path}:{reader.line_num}"
        if "" in read or None in read.values():
            raise UserError(f"{where}: expected {len(header)} columns separated by tabs")
        row = dict.fromkeys(columns, "") | read
        if not trusted:
            _check_row(row, where)
        key = (row["exposure"], row["slitlet"], row["source"])
        if key in seen:
            raise UserError(f"{where}: {' '.join(filter(None, key))} stands in line {seen[key]} already")
        seen[key] = reader.line_num
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: has no rows; list the field's exposures")
    return tuple(rows)


def _merged(manifest: Path) -> str:
    """``; exposures found later joined it to x: ...`` where the record of names says so."""
    record = manifest.with_name("fields.ecsv")
    lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    into = [row["field"] for row in rows if manifest.stem in (row.get("aliases") or "").split()]
    return f"; exposures found later joined it to {into[0]!r}: reduce that, and drop {manifest.stem!r}" if into else ""


def _check_row(row: Mapping[str, str], where: str) -> None:
    """Check one row against the schema, and what the schema cannot say."""
    for column, value in row.items():
        if value and not is_valid(column, value):
            rule = schema("manifest")["properties"][column]
            raise UserError(f"{where}: {column}: {value!r} is not valid ({rule['description']})")
    mode = row["mode"]
    for column in (*schema("manifest")["required"], *NEEDED.get(mode, ())):
        if not row[column]:
            raise UserError(f"{where}: {column}: is empty" + (f"; mode {mode} needs it" if mode else ""))
    for column in UNUSED.get(mode, ()):
        if row[column]:
            raise UserError(f"{where}: {column}: is {row[column]!r}; mode {mode} has none")
    if ".." in Path(row["location"]).parts:
        raise UserError(f"{where}: location: {row['location']!r} climbs out of its folder with '..'")
    expected = names.slitlet_file(row) if mode == "nirspec_msa" else f"{row['exposure']}_uncal.fits"
    if row["location"] and Path(row["location"]).name != expected:
        raise UserError(f"{where}: location: {row['location']!r} must end in {expected}")


@cache
def is_valid(column: str, value: str) -> bool:
    """Whether a column of the manifest may hold a value."""
    return value.isprintable() and _validator(column).is_valid(value)


@cache
def _validator(column: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema("manifest")["properties"][column])

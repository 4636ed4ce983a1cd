"""Names of fields, given once: constellation and index, as ``leo-03``.

``fields.ecsv`` records them in the order in which they were given: a row higher up is older. No name is given twice,
also not one that a merger has ended; it then stands among the aliases of the field that it went into.
"""

import csv
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import UserError, io, names

REGISTRY = "fields.ecsv"


@dataclass(frozen=True)
class Named:
    """One field's record.

    Attributes
    ----------
    name : str
    ra, dec : float
        Its centre when it was named, degrees; never changed.
    named : str
        Date, UTC.
    aliases : tuple of str
        Names that were merged into it.
    facts : mapping
        What the record tells beside: see `FACTS`.
    """

    name: str
    ra: float
    dec: float
    named: str
    aliases: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


FACTS: dict[str, tuple[str | None, str, type]] = {
    "exposures": (None, "exposures in its manifest", int),
    "area": ("arcmin2", "sky that they cover", float),
    "ecliptic_latitude": ("deg", "of its centre", float),
    "galactic_latitude": ("deg", "of its centre", float),
    "background": ("MJy / sr", "expected zodiacal light at 2 um, roughly", float),
    "bright_stars": (None, "stars of the user's catalogue in it that are brighter than the limit; -1 without one", int),
    "advice": (None, "what its type seems to be; field.yaml decides", str),
}
"""Columns of the record that are written anew by every run: unit, description, type."""


def read(folder: Path) -> list[Named]:
    """The record in a folder of fields, oldest first; empty where there is none."""
    path = folder / REGISTRY
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        try:
            facts = {key: kind(row[key]) for key, (_, _, kind) in FACTS.items() if row.get(key)}
            one = Named(row["field"], float(row["ra"]), float(row["dec"]), row["named"], _words(row["aliases"]), facts)
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{path}: field {row.get('field')}: not as it was written ({error!r}); restore it"
            ) from error
        for name in (one.name, *one.aliases):
            names.check("field", name, where=str(path))
        found.append(one)
    every = [name for one in found for name in (one.name, *one.aliases)]
    twice = sorted({name for name in every if every.count(name) > 1})
    if twice:
        raise UserError(f"{path}: {', '.join(twice)} stands there twice; a name is given once: restore the file")
    return found


def write(folder: Path, fields: Sequence[Named]) -> None:
    """Write the record, atomically."""
    io.write_text(folder / REGISTRY, text(fields))


def text(fields: Sequence[Named]) -> str:
    """The record in ECSV (comma separated), which astropy's tables read."""
    columns: dict[str, tuple[str | None, str, type]] = {
        "field": (None, "name, given once", str),
        "ra": ("deg", "centre when it was named, ICRS", float),
        "dec": ("deg", "centre when it was named, ICRS", float),
        "named": (None, "date, UTC", str),
        "aliases": (None, "names that were merged into it", str),
        **FACTS,
    }
    kinds = {str: "string", float: "float64", int: "int64"}
    lines = ["%ECSV 1.0", "---", "delimiter: ','", "datatype:"]
    for name, (unit, description, kind) in columns.items():
        middle = f"unit: {unit}, " if unit else ""
        lines.append(f"- {{name: {name}, {middle}datatype: {kinds[kind]}, description: {json.dumps(description)}}}")
    rows = [",".join(columns)]
    for one in fields:
        own = {"field": one.name, "ra": f"{one.ra:.5f}", "dec": f"{one.dec:.5f}", "named": one.named}
        cells = own | {"aliases": " ".join(one.aliases)} | {key: _cell(one.facts.get(key)) for key in FACTS}
        rows.append(",".join(cells[key] for key in columns))
    return "\n".join([f"# {line}" for line in lines] + rows) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(value: str) -> tuple[str, ...]:
    return tuple(value.split())


@dataclass(frozen=True)
class Group:
    """Exposures that belong together.

    Attributes
    ----------
    exposures : collection of str
    ra, dec : float
        Centre, degrees.
    start : str
        Of the first exposure.
    """

    exposures: Collection[str]
    ra: float
    dec: float
    start: str


@dataclass(frozen=True)
class Merger:
    """Fields that new exposures joined: `names` went into `into`."""

    into: str
    names: tuple[str, ...]


def assign(
    groups: Sequence[Group], fields: Sequence[Named], owner: Mapping[str, str], today: str
) -> tuple[list[str], list[Named], list[Merger]]:
    """Name groups: an old field's name stays, the oldest of several wins, the others become its aliases.

    Parameters
    ----------
    groups : sequence of Group
    fields : sequence of Named
        Oldest first.
    owner : mapping of str to str
        Field of each exposure that is in one already.
    today : str
        Date for new names.

    Returns
    -------
    list of str
        Name of each group.
    list of Named
        The record, oldest first.
    list of Merger
    """
    age = {one.name: i for i, one in enumerate(fields)}
    record = {one.name: one for one in fields}
    found: dict[int, str] = {}
    mergers = []
    for i, group in enumerate(groups):
        mine = sorted({owner[name] for name in group.exposures if name in owner}, key=age.__getitem__)
        if not mine:
            continue
        found[i], ended = mine[0], mine[1:]
        for name in ended:
            record = {one.name: one for one in merged(list(record.values()), name, mine[0])}
        if ended:
            mergers.append(Merger(mine[0], tuple(ended)))
    taken = [name for one in record.values() for name in (one.name, *one.aliases)]
    new = sorted(set(range(len(groups))) - set(found), key=lambda i: (groups[i].start, min(groups[i].exposures)))
    where = constellations([(groups[i].ra, groups[i].dec) for i in new])
    for i, constellation in zip(new, where, strict=True):
        found[i] = _next(constellation, taken)
        taken.append(found[i])
        record[found[i]] = Named(found[i], groups[i].ra, groups[i].dec, today)
    return [found[i] for i in range(len(groups))], list(record.values()), sorted(mergers, key=lambda one: one.into)


def merged(fields: Sequence[Named], name: str, into: str) -> list[Named]:
    """The record after a field went into another, whose aliases then tell of it."""
    more = next((one.name, *one.aliases) for one in fields if one.name == name)
    rest = [one for one in fields if one.name != name]
    return [replace(one, aliases=(*one.aliases, *more)) if one.name == into else one for one in rest]


def _next(constellation: str, taken: Collection[str]) -> str:
    """The name after the last that was given in a constellation."""
    numbers = [int(match[1]) for name in taken if (match := re.fullmatch(rf"{constellation}-([0-9]+)", name))]
    return f"{constellation}-{max(numbers, default=0) + 1:02d}"


def constellations(centres: Sequence[tuple[float, float]]) -> list[str]:
    """IAU abbreviations, lower case, of the constellations at positions in degrees."""
    if not centres:
        return []
    from astropy import units
    from astropy.coordinates import SkyCoord, get_constellation

    ra, dec = zip(*centres, strict=True)
    found = get_constellation(SkyCoord(ra * units.deg, dec * units.deg), short_name=True)
    return [str(name).lower() for name in found]
